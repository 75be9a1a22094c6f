"""Simulation-based calibration: ranks of true values among posterior draws must be uniform.

Parameters are drawn from the prior, and data given the parameters. If the posterior is correct, the
rank of the true value among independent posterior draws is uniform (Talts, Betancourt, Simpson,
Vehtari and Gelman 2018, arXiv:1804.06788). The log likelihood is ranked too, because it reveals
errors that no single parameter shows (Modrak et al. 2023, doi:10.1214/23-BA1404).
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from arviz_stats.ecdf_utils import get_pointwise_confidence_band, simulate_confidence_bands
from scipy import stats

from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.inference.advi.guide import fit_advi
from radon_numpyro.inference.integration.resampling import draw_integrated
from radon_numpyro.inference.integration.scale_posterior import integrate_scales
from radon_numpyro.inference.inversion import draw_exact
from radon_numpyro.inference.nuts.sampler import sample_nuts
from radon_numpyro.model.correlations import LKJ
from radon_numpyro.model.priors import HalfNormal, Normal, Priors
from radon_numpyro.statistics.group_statistics import GroupStatistics

SIZES = (1, 2, 3, 5, 8, 12)
NUM_GROUPS = len(SIZES)
GROUP = np.repeat(np.arange(NUM_GROUPS), SIZES)
DESIGN = np.random.default_rng(0)
THREE_PREDICTORS = DESIGN.normal([0.5, -1.0, 0.0], [1.0, 0.6, 2.0], (len(GROUP), 3))
ONE_PREDICTOR = THREE_PREDICTORS[:, :1]
# One column that varies by group, and three that do not: a number, a category, and a group-level
# predictor.
FIXED_COLUMNS = np.column_stack(
    [
        ONE_PREDICTOR,
        DESIGN.normal(size=len(GROUP)),
        DESIGN.integers(0, 2, len(GROUP)),
        DESIGN.normal(size=NUM_GROUPS)[GROUP],
    ]
)
# Weights of the rows, or their known standard errors.
ROW_VALUES = np.random.default_rng(1).uniform(0.4, 2.5, len(GROUP))
# Number of draws that are ranked; and factor by which more are made, so that the ranked ones are
# nearly independent.
RANKS, THIN = 63, 10
PRIORS = Priors(
    mu_alpha=Normal(1.0, 1.5),
    mu_beta=Normal(-0.5, 0.7),
    sigma_alpha=HalfNormal(0.8),
    sigma_beta=HalfNormal(0.5),
    alpha=Normal(1.0, 1.5),
    beta=Normal(-0.5, 0.7),
    eps=HalfNormal(1.2),
    gamma=Normal(0.3, 0.9),
    correlation=LKJ(1.5),
)


def draw_lkj(rng, size, concentration):
    """Draw a correlation matrix from the LKJ prior by the onion method."""
    b = concentration + (size - 2) / 2
    matrix = np.eye(size)
    matrix[0, 1] = matrix[1, 0] = 2 * rng.beta(b, b) - 1
    for k in range(2, size):
        b -= 0.5
        direction = rng.normal(size=k)
        radius = np.sqrt(rng.beta(k / 2, b))
        column = np.linalg.cholesky(matrix[:k, :k]) @ (
            radius * direction / np.linalg.norm(direction)
        )
        matrix[:k, k] = matrix[k, :k] = column
    return matrix


@dataclass(frozen=True)
class Setting:
    """Setting of a calibration: a model, the columns of its rows, and a method for its posterior.

    Attributes
    ----------
    model
        ``"hierarchical"``, ``"individual"`` or ``"pooled"``.
    x
        Predictors of the rows, shape (N, K).
    num_fixed
        Number of predictors, the last ones in ``x``, that do not vary by group.
    correlated
        Whether the coefficients that vary correlate.
    column
        Meaning of ``ROW_VALUES``: ``"weights"``, ``"se"``, or empty if they are not used.
    method
        Method for the hierarchical model: ``"marginal"``, which is NUTS, or ``"integrate"``.
    """

    model: str = "hierarchical"
    x: np.ndarray = field(default_factory=lambda: ONE_PREDICTOR)
    num_fixed: int = 0
    correlated: bool = False
    column: str = ""
    method: str = "marginal"

    def data(self, y):
        names = [f"x{j + 1}" for j in range(self.x.shape[1])]
        first = len(names) - self.num_fixed
        frame = pd.DataFrame(self.x, columns=names).assign(y=y, group=GROUP)
        how = {"x": names[:first], "fixed": names[first:], "correlated": self.correlated}
        if self.column:
            frame["column"] = ROW_VALUES
            how[self.column] = "column"
        return GroupedData.from_frame(frame, y="y", group="group", **how)

    def residual(self, eps):
        """Return the residual standard deviation of each row, given eps of the model."""
        of_rows = of_row(eps)
        if self.column == "weights":
            return of_rows / np.sqrt(ROW_VALUES)
        return ROW_VALUES if self.column == "se" else of_rows


def draw_truth(rng, setting):
    """Draw parameters from the prior, and outcomes given the parameters."""
    x, p = setting.x, PRIORS
    k = x.shape[1] - setting.num_fixed
    if setting.model == "hierarchical":
        truth = {
            "mu_alpha": rng.normal(p.mu_alpha.loc, p.mu_alpha.scale),
            "mu_beta": rng.normal(p.mu_beta.loc, p.mu_beta.scale, k),
            "sigma_alpha": abs(rng.normal(0, p.sigma_alpha.scale)),
            "sigma_beta": abs(rng.normal(0, p.sigma_beta.scale, k)),
            "eps": abs(rng.normal(0, p.eps.scale)),
        }
        alpha = rng.normal(truth["mu_alpha"], truth["sigma_alpha"], NUM_GROUPS)
        beta = rng.normal(truth["mu_beta"], truth["sigma_beta"], (NUM_GROUPS, k))
        if setting.correlated:
            truth["correlation"] = draw_lkj(rng, 1 + k, p.correlation.concentration)
            sds = np.append(truth["sigma_alpha"], truth["sigma_beta"])
            covariance = sds[:, None] * truth["correlation"] * sds
            means = np.append(truth["mu_alpha"], truth["mu_beta"])
            both = rng.multivariate_normal(means, covariance, NUM_GROUPS)
            alpha, beta = both[:, 0], both[:, 1:]
    else:
        shape = () if setting.model == "pooled" else (NUM_GROUPS,)
        alpha = rng.normal(p.alpha.loc, p.alpha.scale, shape)
        beta = rng.normal(p.beta.loc, p.beta.scale, (*shape, k))
        truth = {"eps": np.abs(rng.normal(0, p.eps.scale, shape))}
    truth |= {"alpha": alpha, "beta": beta}
    if setting.num_fixed:
        truth["gamma"] = rng.normal(p.gamma.loc, p.gamma.scale, setting.num_fixed)
    y = rng.normal(line(truth, x), setting.residual(truth["eps"]))
    if setting.column == "se":
        del truth["eps"]
    return truth, y


def of_row(value, event_dims=0):
    """Return the value for each row: that of its group, or one value for all rows.

    The axis of the groups, if there is one, is ``-1 - event_dims``.
    """
    value = np.asarray(value)
    axis = value.ndim - 1 - event_dims
    if axis >= 0 and value.shape[axis] == NUM_GROUPS:
        return np.take(value, GROUP, axis)
    return np.expand_dims(value, axis + 1)


def line(sites, x):
    num_slopes = np.shape(sites["beta"])[-1]
    own = of_row(sites["alpha"]) + (x[:, :num_slopes] * of_row(sites["beta"], 1)).sum(-1)
    if "gamma" not in sites:
        return own
    return own + np.asarray(sites["gamma"]) @ x[:, num_slopes:].T


def quantities(sites, setting, y):
    """Return parameters and log likelihood, one column each, from sites with draws first."""
    sites = dict(sites)
    if "correlation" in sites:
        # A matrix contains each correlation twice; only the upper triangle is ranked.
        matrices = np.asarray(sites["correlation"])
        pairs = np.triu_indices(matrices.shape[-1], 1)
        sites["correlation"] = matrices[:, pairs[0], pairs[1]]
    flat = {n: np.asarray(v).reshape(len(v), -1) for n, v in sites.items()}
    residual = setting.residual(sites.get("eps", 1.0))
    log_likelihood = stats.norm.logpdf(y, line(sites, setting.x), residual).sum(-1, keepdims=True)
    columns = [flat[n] for n in sorted(flat)] + [log_likelihood]
    names = [f"{n}[{k}]" for n in sorted(flat) for k in range(flat[n].shape[1])]
    return np.concatenate(columns, axis=1), [*names, "log likelihood"]


def draws_of(setting, data, seed):
    """Make RANKS nearly independent draws of every site, draws first; None if unreliable."""
    if setting.model != "hierarchical":
        found = draw_exact(data, setting.model, priors=PRIORS, draws=RANKS, chains=1, seed=seed)
        return {n: v[0] for n, v in found.draws.items()}
    statistics = GroupStatistics.from_data(data)
    if setting.method == "integrate":
        equations = NormalEquations.from_statistics(statistics)
        nodes = integrate_scales(equations, PRIORS, seed=seed)
        if not nodes.reliable:
            return None
        # The draws are shuffled, so that the first of many are almost independent.
        found = draw_integrated(nodes, draws=RANKS * THIN, chains=1, seed=seed).draws
        return {n: v[0, :RANKS] for n, v in found.items()}
    guide = fit_advi(statistics, priors=PRIORS, num_steps=0, progress_bar=False)
    found = sample_nuts(
        statistics,
        guide,
        method="marginal",
        priors=PRIORS,
        draws=RANKS * THIN,
        chains=1,
        num_warmup=300,
        seed=seed,
        progress_bar=False,
    ).draws
    return {n: v[0, ::THIN] for n, v in found.items()}


def ranks(setting, num_data_sets, seed, distort=lambda sites: sites):
    """Rank the truth among the draws, by data set and quantity; return ranks and names.

    Data sets for which the integration reports that it is not reliable are left out. This report
    depends only on the data, so that the ranks in the other data sets remain uniform.
    """
    rng = np.random.default_rng(seed)
    out, names = [], []
    for k in range(num_data_sets):
        truth, y = draw_truth(rng, setting)
        draws = draws_of(setting, setting.data(y), k)
        if draws is None:
            continue
        drawn, names = quantities(distort(draws), setting, y)
        true_sites = {n: np.asarray(v)[None] for n, v in truth.items()}
        exact, of_truth = quantities(true_sites, setting, y)
        assert names == of_truth
        out.append((drawn < exact).sum(0))
    return np.array(out), names


def p_values(counts):
    """Test the uniformity of each column by a chi-square test with eight equal bins of ranks."""
    bins = counts * 8 // (RANKS + 1)
    table = np.stack([np.bincount(column, minlength=8) for column in bins.T])
    assert table.shape == (counts.shape[1], 8)
    return stats.chisquare(table, axis=1).pvalue


def ecdf_differences(counts):
    """Return points k / (RANKS + 1), and ECDFs of the ranks minus the uniform one at the points."""
    points = np.arange(1, RANKS + 1) / (RANKS + 1)
    below = np.stack([(counts < k).mean(0) for k in range(1, RANKS + 1)])
    return points, below - points[:, None]


def envelope(num_data_sets, prob, seed=0):
    """Return lower and upper simultaneous limits of the ECDF differences of uniform ranks.

    The differences stay within the limits at all points with probability ``prob``. The limits are
    simulated (Saeilynoja, Buerkner and Vehtari 2022, doi:10.1007/s11222-022-10090-6). A rank out of
    RANKS + 1 is treated as a uniform number whose ECDF is evaluated at the points between ranks.
    """
    points = np.arange(1, RANKS + 1) / (RANKS + 1)
    simulations = int(np.clip(50 / (1 - prob), 1000, 50_000))
    pointwise = simulate_confidence_bands(
        num_data_sets, 1, points, prob, simulations, np.random.default_rng(seed)
    )
    lower, upper = get_pointwise_confidence_band(pointwise, num_data_sets, points)
    return lower - points, upper - points
