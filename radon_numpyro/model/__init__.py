"""What is assumed: priors, and the NumPyro model functions."""
