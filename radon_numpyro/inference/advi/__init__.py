"""ADVI: NumPyro's SVI with an ``AutoNormal`` guide, its start, and its windows of steps."""
