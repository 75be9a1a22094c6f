"""The pooled model without some rows, against integrals over dense Gaussians and least squares."""

from dataclasses import replace

import numpy as np
import pytest
from dense import columns_of
from designs import priors_of, simulated, with_design
from scipy import stats
from scipy.special import logsumexp

from radon_numpyro import Flat, HalfNormal, Normal
from radon_numpyro.comparison.cross_validation import kfold, leave_one_group_out
from radon_numpyro.comparison.held_out import population_identified
from radon_numpyro.comparison.pooled import pooled_leave_one_out, refit_pooled
from radon_numpyro.data.design import Design
from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.gaussian.triangles import population_columns
from radon_numpyro.statistics.group_statistics import GroupStatistics

DESIGNS = {
    "all vary": {"fixed": ()},
    "fixed columns": {},
    "a slope about 0": {"slopes": ("dose", "week"), "without_mean": ("week",)},
    "fixed intercept": {"intercept": "fixed"},
    "no intercept": {"intercept": "none"},
    "intercepts about 0": {"intercept": "varying"},
    "intercepts alone": {"slopes": (), "fixed": ()},
}


class Brute:
    """Coefficients integrated out densely, eps over a fine grid: no algebra of the package."""

    def __init__(self, data, priors):
        self.x = columns_of(data, population_columns(data.labels.design))
        self.y, design = data.y, data.labels.design
        loc, sd = [], []
        for prior, size in (
            (priors.alpha, int(design.has_mean_intercept)),
            (priors.beta, len(design.means)),
            (priors.gamma, len(design.fixed)),
        ):
            if size:
                loc += [prior.loc * np.ones(size)]
                sd += [prior.scale * np.ones(size)]
        self.loc, self.cov = np.concatenate(loc), np.diag(np.concatenate(sd) ** 2)
        self.eps_scale = priors.eps.scale

    def predict(self, train, i, low=-6.0, high=4.0):
        """Mean and log score of another row like row i given the rows in ``train``."""
        log_eps = np.linspace(low, high, 500)
        log_weight, means, scores = [], [], []
        for u in log_eps:
            eps = np.exp(u)
            of_lines = self.x @ self.cov @ self.x.T
            off = self.y - self.x @ self.loc
            own = of_lines[np.ix_(train, train)] + eps**2 * np.eye(len(train))
            gain = np.linalg.solve(own, of_lines[train, i])
            mean = self.x[i] @ self.loc + gain @ off[train]
            variance = of_lines[i, i] + eps**2 - gain @ of_lines[train, i]
            _, log_det = np.linalg.slogdet(own)
            squares = off[train] @ np.linalg.solve(own, off[train])
            log_weight += [-0.5 * (log_det + squares + (eps / self.eps_scale) ** 2) + u]
            means += [mean]
            scores += [stats.norm.logpdf(self.y[i], mean, np.sqrt(variance))]
        log_weight = np.array(log_weight) - logsumexp(log_weight)
        return np.exp(log_weight) @ means, logsumexp(log_weight + scores)


@pytest.mark.parametrize("name", DESIGNS)
def test_each_row_left_out_is_predicted_as_by_brute_force(name):
    """Reweighted nodes: else rows are scored by a posterior that saw them, or that of others."""
    data = simulated(num_groups=4, rows=5, seed=3, **DESIGNS[name])
    priors = priors_of(data.labels.design)
    mean, score, known, seen = pooled_leave_one_out(data, priors)
    brute = Brute(data, priors)
    for i in (0, 7, 19):
        others = np.flatnonzero(np.arange(data.num_rows) != i)
        expected = brute.predict(others, i)
        assert (mean[i], score[i]) == pytest.approx(expected, abs=1e-6), i
        assert seen[i] == pytest.approx(brute.predict(np.arange(20), i)[1], abs=1e-6)
    assert known.all()


@pytest.mark.parametrize("name", DESIGNS)
def test_folds_and_groups_left_out_are_predicted_as_by_brute_force(name):
    """A refit takes the columns that do not vary and their priors as the fit does."""
    data = simulated(num_groups=4, rows=5, seed=4, **DESIGNS[name])
    priors = priors_of(data.labels.design)
    brute = Brute(data, priors)
    models = {"pooled": ("pooled", priors)}
    held = kfold(data, models, folds=4, seed=9)["pooled"]
    fold = np.random.default_rng(9).permutation(np.arange(20) % 4)
    groups = leave_one_group_out(data, models)["pooled"]
    for i in (2, 11):
        for found, part in ((held, fold), (groups, data.group)):
            train = np.flatnonzero(part != part[i])
            expected = brute.predict(train, i)
            assert (found.mean[i], found.log_score[i]) == pytest.approx(expected, abs=1e-6)


def test_a_row_far_out_is_predicted_by_rows_that_do_not_know_of_it():
    """Nodes of the posterior of all rows do not reach the small eps of the others."""
    data = simulated(num_groups=4, rows=5, seed=5)
    y = data.y.copy()
    y[3] += 30.0
    far = replace(data, y=y)
    priors = replace(priors_of(data.labels.design), eps=HalfNormal(100.0))
    mean, score, known, _ = pooled_leave_one_out(far, priors)
    expected = Brute(far, priors).predict(np.flatnonzero(np.arange(20) != 3), 3, high=6.0)
    assert (mean[3], score[3]) == pytest.approx(expected, rel=1e-7)
    assert score[3] < -30
    assert known.all()


def test_a_level_that_one_row_has_rests_on_its_prior():
    """Nothing else says what the level does: the prediction is finite, and flagged."""
    data = simulated(num_groups=4, rows=5, fixed=("level",), seed=6)
    x = data.x.copy()
    x[:, 1] = np.arange(20) == 8
    data = replace(data, x=x)
    priors = priors_of(data.labels.design)
    brute = Brute(data, priors)
    others = np.flatnonzero(np.arange(20) != 8)
    mean, score, known, _ = pooled_leave_one_out(data, priors)
    assert (mean[8], score[8]) == pytest.approx(brute.predict(others, 8), abs=1e-6)
    assert np.flatnonzero(~known).tolist() == [8]
    held = kfold(data, {"pooled": ("pooled", priors)}, folds=5, seed=1)["pooled"]
    assert np.flatnonzero(~held.identified).tolist() == [8]
    fold = np.random.default_rng(1).permutation(np.arange(20) % 5)
    expected = brute.predict(np.flatnonzero(fold != fold[8]), 8)
    assert (held.mean[8], held.log_score[8]) == pytest.approx(expected, abs=1e-6)


def test_under_a_flat_prior_an_undetermined_level_has_no_prediction():
    """A number there would be rounding; the other rows have theirs."""
    data = simulated(num_groups=4, rows=5, fixed=("level",), seed=6)
    x = data.x.copy()
    x[:, 1] = np.arange(20) == 8
    data = replace(data, x=x)
    priors = replace(priors_of(data.labels.design), alpha=Flat(), beta=Flat(), gamma=Flat())
    mean, score, known, _ = pooled_leave_one_out(data, priors)
    assert np.flatnonzero(~known).tolist() == [8]
    assert np.isfinite(score).tolist() == known.tolist()
    assert np.isfinite(mean).tolist() == known.tolist()
    train = np.arange(20) != 8
    refitted = refit_pooled(data.take(train), data.take([8]), priors=priors)
    assert np.isnan(refitted[0]).all()
    assert np.isnan(refitted[1]).all()
    assert not refitted[2].any()


def test_leverage_of_flat_priors_is_that_of_least_squares():
    """Flat priors of the coefficients: the row left out lies on the line of the others."""
    data = simulated(num_groups=6, rows=5, seed=7)
    priors = replace(priors_of(data.labels.design), alpha=Flat(), beta=Flat(), gamma=Flat())
    mean = pooled_leave_one_out(data, priors)[0]
    columns = columns_of(data, population_columns(data.labels.design))
    for i in range(data.num_rows):
        rest = np.arange(data.num_rows) != i
        fitted = columns[i] @ np.linalg.lstsq(columns[rest], data.y[rest])[0]
        assert mean[i] == pytest.approx(fitted, abs=1e-7)


def test_exactly_fitted_rows_give_a_mean_but_no_score():
    """Their eps has no posterior; the line that they lie on is known all the same."""
    x = np.array([0.0, 1.0, 2.0, 5.0, 4.0])
    data = GroupedData.from_arrays(2.0 + 3.0 * x + [0, 0, 0, 0, 9.0], x, list("ababa"))
    priors = replace(priors_of(data.labels.design), alpha=Normal(0, 1e4), beta=Normal(0, 1e4))
    mean, score, known = refit_pooled(data.take(range(4)), data.take([4]), priors=priors)
    assert mean == pytest.approx([14.0], abs=1e-6)
    assert np.isnan(score).all()
    assert not known.any()
    left = pooled_leave_one_out(data, priors)
    assert left[0][4] == pytest.approx(14.0, abs=1e-6)
    assert np.isnan(left[1]).tolist() == [False] * 4 + [True]
    assert left[2].tolist() == [True] * 4 + [False]


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e6])
def test_what_rows_determine_of_the_population_is_no_matter_of_units(unit):
    """A combination within the rows, which a new row keeps or breaks."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 30))
    x = np.column_stack([a, b, a - 2 * b, np.zeros(30)]) * unit
    data = GroupedData.from_arrays(rng.normal(size=30), x, np.arange(30) % 3)
    design = Design(("Intercept", "x1", "x2", "x3", "x4"), ("Intercept",))
    equations = NormalEquations.from_statistics(
        GroupStatistics.from_data(with_design(data, design))
    )
    new = unit * np.array([[1, 1, -1, 0], [1, 1, 0, 0], [3, -1, 5, 0], [3, -1, 5, 1e-2]])
    found = population_identified(equations.pooled(), new)
    assert found.tolist() == [True, False, True, False]


def test_forty_columns_take_no_time():
    """Each row by a refit of its own would take minutes."""
    names = tuple(f"f{j}" for j in range(40))
    data = simulated(num_groups=20, rows=10, fixed=names, seed=8)
    priors = priors_of(data.labels.design)
    mean, score, known, _ = pooled_leave_one_out(data, priors)
    i = 77
    train = np.arange(data.num_rows) != i
    refitted = refit_pooled(data.take(train), data.take([i]), priors=priors)
    assert mean[i] == pytest.approx(refitted[0][0], abs=1e-7)
    assert score[i] == pytest.approx(refitted[1][0], abs=1e-7)
    assert known.all()
