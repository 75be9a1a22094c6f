"""Simulate any number of rows in chunks, in groups as unequal as the radon counties."""

import numpy as np

TRUTH = {"mu_alpha": 1.5, "sigma_alpha": 0.35, "mu_beta": -0.6, "sigma_beta": 0.25, "eps": 0.7}


# Of many groups: two categorical predictors and a numeric one that do not vary by group.
EFFECTS = {"colour[green]": 0.2, "size[small]": -0.3, "depth": 0.1}


def many_groups(num_groups, num_rows, *, slopes, seed=0):
    """A table of rows in many small groups, each with at least one; some groups share a size.

    Columns y, x, colour, size, depth, group; the slope of x varies by group if ``slopes``.
    """
    rng = np.random.default_rng([seed, num_groups, num_rows])
    group = np.concatenate(
        [np.arange(num_groups), rng.integers(num_groups, size=num_rows - num_groups)]
    )
    x, depth = rng.standard_normal((2, num_rows))
    green, small = rng.integers(2, size=(2, num_rows))
    off = rng.standard_normal((2, num_groups)) * [[TRUTH["sigma_alpha"]], [TRUTH["sigma_beta"]]]
    y = TRUTH["mu_alpha"] + off[0, group] + rng.normal(0.0, TRUTH["eps"], num_rows)
    y += (TRUTH["mu_beta"] + off[1, group]) * x if slopes else 0.0
    for effect, column in zip(EFFECTS.values(), (green, small, depth), strict=True):
        y += effect * column
    return {
        "y": y,
        "x": x,
        "colour": np.array(["blue", "green"])[green],
        "size": np.array(["large", "small"])[small],
        "depth": depth,
        "group": group,
    }


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
