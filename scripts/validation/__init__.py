"""Modules of scripts/validate.py: simulation-based calibration, hard cases, and a figure."""
