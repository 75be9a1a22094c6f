"""What scripts/validate.py is made of: simulation-based calibration, and a figure of it."""
