"""The parts of scripts/benchmark.py: a process for each peer, the cases, and the report."""
