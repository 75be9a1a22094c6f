"""What scripts/benchmark.py is made of: a process for each peer, cases, and their report."""
