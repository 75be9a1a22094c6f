"""What a fit assumes: models and their sites, priors, and the NumPyro model functions."""
