"""Compute a posterior: settings, exact draws, and one folder for each method."""
