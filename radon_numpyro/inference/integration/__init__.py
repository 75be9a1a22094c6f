"""Numerical integration over the scales with NumPy: nodes, weights, evidence and draws."""
