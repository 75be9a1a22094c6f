"""Exact posteriors by quadrature, with algebra that shares no code with the package.

For the hierarchical model of the radon data, the grid uses the means of the houses of each county
and floor, and their joint Normal distribution written out in full. For the regression of one group,
the coefficients are Normal given eps.
"""

import numpy as np

# The posterior mass outside these bounds is below 1e-6.
BOUNDS = {"sigma_alpha": (0.08, 0.65), "sigma_beta": (0.0, 1.3), "eps": (0.62, 0.84)}
NODES = {"sigma_alpha": 20, "sigma_beta": 26, "eps": 16}
PRIOR_SD, MAX_EPS = 1e4, 100.0


def cells(y, floor, group):
    """Return the mean and number of rows of each group and floor, and the scatter within."""
    assert set(floor) == {0, 1}
    shape = (group.max() + 1, 2)
    count, total = np.zeros(shape), np.zeros(shape)
    np.add.at(count, (group, floor), 1)
    np.add.at(total, (group, floor), y)
    mean = total / np.maximum(count, 1)
    return mean, count, ((y - mean[group, floor]) ** 2).sum()


def posterior_given_scales(mean, count, within, sigma_alpha, sigma_beta, eps):
    """Compute the log marginal likelihood up to a constant, and the posterior of the means.

    Cell means are jointly Normal with covariance Z D^2 Z' + diag(eps^2 / n). The means of the
    population are flat (the tutorial's sd is 10 000). The scales have shape (G,).
    """
    information = np.zeros((len(eps), 2, 2))
    score, value = np.zeros((len(eps), 2)), np.zeros(len(eps))
    for floors in ((0, 1), (0,), (1,)):
        z = np.array([[1, floor] for floor in floors])
        here = (count[:, list(floors)] > 0).all(1) & ((count > 0).sum(1) == len(floors))
        n, m = count[here][:, floors], mean[here][:, floors]
        scales = np.stack([sigma_alpha, sigma_beta], axis=1)
        between = np.einsum("ip,gp,jp->gij", z, scales**2, z)
        noise = eps[:, None, None] ** 2 / n
        covariance = between[:, None] + noise[..., None] * np.eye(len(floors))
        precision = np.linalg.inv(covariance)
        information += np.einsum("ip,gcij,jq->gpq", z, precision, z)
        score += np.einsum("ip,gcij,cj->gp", z, precision, m)
        value -= 0.5 * np.linalg.slogdet(covariance)[1].sum(1)
        value -= 0.5 * np.einsum("ci,gcij,cj->g", m, precision, m)
    value -= (count.sum() - (count > 0).sum()) * np.log(eps) + 0.5 * within / eps**2
    centre = np.linalg.solve(information, score[..., None])[..., 0]
    value += 0.5 * (score * centre).sum(1) - 0.5 * np.linalg.slogdet(information)[1]
    return value, centre, np.linalg.inv(information)


def radon_moments(y, floor, group):
    """Compute mean and sd of scales and means of the tutorial's model by Gauss-Legendre nodes."""
    axes = {}
    for name, (low, high) in BOUNDS.items():
        node, weight = np.polynomial.legendre.leggauss(NODES[name])
        axes[name] = (low + (high - low) * (node + 1) / 2, weight)
    grid = np.meshgrid(*(a[0] for a in axes.values()), indexing="ij")
    weights = np.prod(np.meshgrid(*(a[1] for a in axes.values()), indexing="ij"), axis=0)
    points = np.stack([g.ravel() for g in grid], axis=1)
    found = posterior_given_scales(*cells(y, floor, group), *points.T)
    log_density, means, covariances = found
    mass = np.exp(log_density - log_density.max()) * weights.ravel()
    mass /= mass.sum()
    moments = {}
    for k, name in enumerate(BOUNDS):
        mean = mass @ points[:, k]
        moments[name] = (mean, np.sqrt(mass @ (points[:, k] - mean) ** 2))
    for k, name in enumerate(("mu_alpha", "mu_beta")):
        mean = mass @ means[:, k]
        variance = mass @ (covariances[:, k, k] + (means[:, k] - mean) ** 2)
        moments[name] = (mean, np.sqrt(variance))
    return moments


def regression_moments(y, x):
    """Compute mean and sd of alpha, beta and eps of a single group with the tutorial's priors."""
    design = np.column_stack([np.ones(len(y)), x])
    eps = np.geomspace(1e-3, MAX_EPS, 20_001)
    precision = design.T @ design / eps[:, None, None] ** 2 + np.eye(2) / PRIOR_SD**2
    score = (design.T @ y) / eps[:, None] ** 2
    means = np.linalg.solve(precision, score[..., None])[..., 0]
    covariances = np.linalg.inv(precision)
    residual = y - means @ design.T
    quadratic = (residual**2).sum(1) / eps**2 + (means**2).sum(1) / PRIOR_SD**2
    log_density = -len(y) * np.log(eps) - 0.5 * np.linalg.slogdet(precision)[1] - 0.5 * quadratic
    # The grid is evenly spaced in log eps.
    mass = eps * np.exp(log_density - log_density.max())
    mass /= mass.sum()
    mean = mass @ eps
    moments = {"eps": (mean, np.sqrt(mass @ (eps - mean) ** 2))}
    for k, name in enumerate(("alpha", "beta")):
        mean = mass @ means[:, k]
        variance = mass @ (covariances[:, k, k] + (means[:, k] - mean) ** 2)
        moments[name] = (mean, np.sqrt(variance))
    return moments
