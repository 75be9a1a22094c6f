"""Simulate any number of rows in chunks, in groups as unequal as the radon counties."""

import numpy as np

TRUTH = {"mu_alpha": 1.5, "sigma_alpha": 0.35, "mu_beta": -0.6, "sigma_beta": 0.25, "eps": 0.7}


class Population:
    """Groups with their own coefficients, from which rows are drawn in chunks.

    The first predictor is 0 or 1, like a floor; the others are standard normal. The largest group
    has about 100 times as many rows as the smallest. The order of the sizes is random.
    """

    def __init__(self, num_groups, num_predictors=1, seed=0):
        rng = np.random.default_rng([seed, num_groups, num_predictors])
        self.alpha = rng.normal(TRUTH["mu_alpha"], TRUTH["sigma_alpha"], num_groups)
        shape = (num_groups, num_predictors)
        self.beta = rng.normal(TRUTH["mu_beta"], TRUTH["sigma_beta"], shape)
        share = rng.permutation(np.geomspace(1.0, 100.0, num_groups))
        self.share = share / share.sum()
        self.seed = seed

    def draw(self, num_rows, chunk=0):
        """Draw rows ``y, x, group`` of a chunk; in the first chunk every group has two rows."""
        rng = np.random.default_rng([self.seed, num_rows, chunk])
        num_groups, num_predictors = self.beta.shape
        first = np.repeat(np.arange(num_groups), 2) if chunk == 0 else np.empty(0, dtype=int)
        group = np.concatenate([first, rng.choice(num_groups, num_rows - len(first), p=self.share)])
        x = rng.standard_normal((num_rows, num_predictors))
        x[:, :1] = rng.integers(2, size=(num_rows, 1))[:, :num_predictors]
        mean = self.alpha[group] + (x * self.beta[group]).sum(axis=1)
        return mean + rng.normal(0.0, TRUTH["eps"], num_rows), x, group
