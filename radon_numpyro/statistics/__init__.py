"""Reduce rows to sufficient statistics, in memory and in engines."""
