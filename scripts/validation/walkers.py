"""Independent random walks over a log density; they use no other information about it."""

import numpy as np

# While the chains settle, chains whose log density is lower than the highest by more than this
# start again.
NEAR = 50.0
# Share of accepted steps to which the length of the steps is adapted while the chains settle.
ACCEPTED = 0.3


def walked(log_density, points, steps, rng):
    """Return late positions of independent random-walk Metropolis chains, (times, chains, D)."""
    value, kept = log_density(points), []
    num, dims = points.shape
    scale = 2.0 / np.sqrt(dims)
    for step in range(steps):
        if step % 50 == 0 and step <= steps // 3:
            # Chains far below the highest density start again from other chains. The length of the
            # steps is the spread of the chains.
            near = np.flatnonzero(value > value.max() - NEAR)
            start = np.where(value > value.max() - NEAR, np.arange(num), rng.choice(near, num))
            points, value = points[start], value[start]
            root = np.linalg.cholesky(np.cov(points.T).reshape(dims, dims) + 1e-6 * np.eye(dims))
        length = scale * rng.choice([0.3, 1.0, 2.0])
        proposed = points + length * rng.normal(size=points.shape) @ root.T
        changed = log_density(proposed)
        accepted = np.log(rng.random(num)) < changed - value
        # If chains start again from a few others, their spread is too small at first. Longer steps
        # then spread them.
        if step < steps // 2:
            scale *= np.exp(accepted.mean() - ACCEPTED)
        points = np.where(accepted[:, None], proposed, points)
        value = np.where(accepted, changed, value)
        if step >= steps // 2 and step % 50 == 0:
            kept.append(points)
    return np.array(kept)
