"""Rows reduced to sufficient statistics, in memory and in engines."""
