"""Numerical integration over the scales, in NumPy: nodes, weights, evidence and draws."""
