"""Closed forms given the scales: no sampling, no files."""
