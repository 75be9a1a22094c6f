"""Reproduce the numbers and figures of the radon tutorial."""
