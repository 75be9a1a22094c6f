"""Exact draws of the individual and pooled models against answers known in other ways."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

from radon_numpyro import (
    Exponential,
    HalfCauchy,
    HalfFlat,
    HalfNormal,
    HalfStudentT,
    Normal,
    Priors,
    Uniform,
)
from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.data.radon import load_radon
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.inference.inversion import (
    check_residual,
    draw_eps,
    draw_exact,
    residual_freedom,
)
from radon_numpyro.statistics.group_statistics import GroupStatistics

DRAWS = 20_000


@pytest.fixture(scope="module")
def radon():
    return draw_exact(load_radon(), priors=Priors.tutorial(), draws=DRAWS // 4, seed=1)


def of_county(result, site, county):
    index = load_radon().labels.groups.index(county)
    return result.draws[site][:, :, index].ravel()


@pytest.mark.parametrize(
    ("county", "site", "mean", "sd"),
    [
        ("CROW WING", "alpha", 0.9872, 0.2672),
        ("CROW WING", "beta", 0.0021, 0.5343),
        ("CROW WING", "eps", 0.7734, 0.2101),
        ("FREEBORN", "alpha", 2.1521, 0.3727),
        ("FREEBORN", "beta", -0.8654, 0.7905),
        ("FREEBORN", "eps", 0.9268, 0.3364),
    ],
)
def test_counties_of_the_tutorial_agree_with_the_exact_posterior(radon, county, site, mean, sd):
    draws = of_county(radon, site, county)
    assert draws.shape == (DRAWS,)
    # Rounded references: half a unit of their last digit comes on top of the sampling error.
    assert abs(draws.mean() - mean) < 4 * draws.std() / np.sqrt(DRAWS) + 5e-5
    assert draws.std() == pytest.approx(sd, rel=0.05)


def test_slope_of_a_county_without_upstairs_houses_is_its_prior(radon):
    slope = of_county(radon, "beta", "CASS")
    assert stats.kstest(slope, stats.norm(0, 1e4).cdf).pvalue > 1e-4


def test_eps_of_a_county_with_one_house_is_its_prior(radon):
    data = load_radon()
    single = data.labels.groups[int(np.argmin(data.group_sizes))]
    assert data.select(single).num_rows == 1
    assert stats.kstest(of_county(radon, "eps", single), stats.uniform(0, 100).cdf).pvalue > 1e-4


EPS = {
    "Uniform": (Uniform(100.0), stats.uniform(0, 100)),
    "HalfNormal": (HalfNormal(2.0), stats.halfnorm(0, 2)),
    "HalfStudentT": (HalfStudentT(3.0, 0.5), stats.t(3, 0, 0.5)),
    "HalfCauchy": (HalfCauchy(0.2), stats.halfcauchy(0, 0.2)),
    "Exponential": (Exponential(0.5), stats.expon(0, 2)),
    "HalfFlat": (HalfFlat(), stats.uniform(0, 1e9)),
}


@pytest.mark.parametrize(("prior", "reference"), EPS.values(), ids=EPS)
@pytest.mark.parametrize("rows", [2, 3, 4, 60])
def test_distribution_of_eps_against_adaptive_quadrature(prior, reference, rows):
    """With one degree of freedom the tail falls as 1/eps up to the prior's bound."""
    if prior == HalfFlat() and rows == 2:
        pytest.skip("the posterior is improper, and refused")
    rng = np.random.default_rng(rows)
    y = rng.normal(3.0, 0.7, rows)
    data = GroupedData.from_arrays(y, None, ["a"] * rows)
    location = Normal(0.0, 1e4)
    priors = Priors(location, location, prior, prior, location, location, prior)
    equations = NormalEquations.from_statistics(GroupStatistics.from_data(data))
    draws = draw_eps(np.random.default_rng(0), equations, priors, DRAWS)[:, 0]

    def density(log_eps):
        eps = np.exp(log_eps)
        # Mean and scatter of the rows given eps, the intercept integrated over its prior.
        log_likelihood = (
            -(rows - 1) * np.log(eps)
            - 0.5 * ((y - y.mean()) ** 2).sum() / eps**2
            + stats.norm.logpdf(y.mean(), 0, np.hypot(1e4, eps / np.sqrt(rows)))
        )
        log_prior = reference.logpdf(eps) - reference.logpdf(0.5)
        return np.exp(log_likelihood + log_prior + log_eps + 20)

    low, high = np.log(y.std() / 40), np.log(min(reference.isf(1e-12), 1e6))
    total = quad(density, low, high, limit=200)[0]
    for probability in (0.05, 0.5, 0.95, 0.999):
        quantile = np.log(np.quantile(draws, probability))
        mass = quad(density, low, quantile, limit=200)[0] / total
        error = np.sqrt(probability * (1 - probability) / DRAWS)
        assert mass == pytest.approx(probability, abs=4.5 * error)


def test_a_flat_prior_of_eps_needs_rows_to_be_proper():
    """Else draws would come from a posterior that has none, and end where the grid does."""
    data = GroupedData.from_arrays([1.0, 2.0, 4.0, 1.0, 7.0], None, list("aaabb"))
    with pytest.raises(
        ValueError, match=r"proper prior of eps .*; got HalfFlat\(\) and 1 such group"
    ):
        draw_exact(data, priors=replace(Priors.tutorial(), eps=HalfFlat()))


def test_flat_priors_of_coefficients_are_refused():
    """Else a group whose rows do not determine its line would have draws that are no numbers."""
    priors = replace(Priors.tutorial(), alpha=Priors.flat().alpha)
    with pytest.raises(ValueError, match=r"proper priors of alpha and beta.*got Flat"):
        draw_exact(load_radon(), "individual", priors=priors)


def test_a_flat_prior_of_eps_reaches_as_far_as_a_prior_mean_that_is_far_off():
    """The prior of the intercept alone says 1000, where the rows say 0: eps is about 1000."""
    y = np.random.default_rng(0).normal(0.0, 1.0, 12)
    data = GroupedData.from_arrays(y, None, ["a"] * 12)
    priors = replace(Priors.tutorial(), alpha=Normal(1000.0, 1e-3), eps=HalfFlat())
    eps = draw_exact(data, priors=priors, draws=DRAWS // 4).draws["eps"].ravel()
    # eps^-2 is Gamma with 11 degrees of freedom: 12 rows less one of the flat density.
    squares = ((y - 1000.0) ** 2).sum()
    assert stats.kstest(squares / eps**2, stats.chi2(11).cdf).pvalue > 1e-3


def test_pooled_agrees_with_the_t_posterior_of_least_squares():
    """Flat in the coefficients and in eps, the slope is Student t with N - 3 degrees."""
    data = load_radon()
    draws = draw_exact(data, "pooled", priors=Priors.tutorial(), draws=DRAWS // 4, seed=2).draws
    fit = stats.linregress(data.x[:, 0], data.y)
    freedom = data.num_rows - 3
    scale = fit.stderr * np.sqrt((data.num_rows - 2) / freedom)
    exact = stats.t(freedom, fit.slope, scale)
    assert stats.kstest(draws["beta"].ravel(), exact.cdf).pvalue > 1e-4
    assert draws["alpha"].shape == draws["eps"].shape == (4, DRAWS // 4)
    assert draws["beta"].shape == (4, DRAWS // 4, 1)


@pytest.mark.parametrize("model", ["pooled", "individual"])
def test_eps_of_very_many_rows_is_the_scatter_of_the_residuals(model):
    """The density is narrow there, and far below the bounds that few rows need."""
    rng = np.random.default_rng(2)
    x, group = rng.normal(size=(20_000, 1)), np.repeat([0, 1], 10_000)
    data = GroupedData.from_arrays(1.0 + 0.5 * x[:, 0] + 0.7 * rng.normal(size=20_000), x, group)
    eps = (
        draw_exact(data, model, priors=Priors.tutorial(), draws=500).draws["eps"].reshape(2000, -1)
    )
    for k, rows in enumerate([slice(None)] if model == "pooled" else [group == 0, group == 1]):
        design = np.column_stack([np.ones(len(x)), x])[rows]
        rss = np.linalg.lstsq(design, data.y[rows], rcond=None)[1][0]
        # eps^2 is rss over a chi-square with n - 2 degrees of freedom.
        n = len(design)
        error = 5.0 / np.sqrt(2000)
        sd = np.sqrt(rss / (2.0 * n)) / np.sqrt(n)
        assert abs(eps[:, k].mean() - np.sqrt(rss / n)) < error * sd + 2.0 * sd / np.sqrt(n)
        assert eps[:, k].std() == pytest.approx(sd, rel=error)


def test_individual_of_all_rows_in_one_group_is_pooled():
    rng = np.random.default_rng(3)
    x, y = rng.normal(2, 1, (30, 2)), rng.normal(5, 2, 30)
    one = GroupedData.from_arrays(y, x, ["a"] * 30)
    many = GroupedData.from_arrays(y, x, list("abcde") * 6)
    priors = Priors.weakly_informative(one)
    individual = draw_exact(one, "individual", priors=priors, seed=5).draws
    pooled = draw_exact(many, "pooled", priors=priors, seed=5).draws
    for name, value in pooled.items():
        np.testing.assert_allclose(individual[name][:, :, 0], value, rtol=1e-9)


def test_same_seed_same_draws_and_another_seed_others():
    data = load_radon().select(["CASS", "FREEBORN"])
    first, again, other = (draw_exact(data, seed=s, draws=50).draws["eps"] for s in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_group_without_residual_is_refused_by_name():
    data = GroupedData.from_arrays([1.0, 1.0, 2.0, 3.0, 5.0], None, list("aabbb"))
    with pytest.raises(ValueError, match=r"leave a residual.*1 fitted exactly.*'a'"):
        draw_exact(data)


@pytest.mark.parametrize("slope", [0.0, 1.0])
def test_a_scatter_far_below_the_differences_between_groups_is_not_called_exact(slope):
    """Means of groups differ by 1 and rows of a group by 3e-6: there is a scatter to estimate."""
    rng = np.random.default_rng(0)
    group, x = np.repeat(np.arange(20), 10), rng.normal(size=200)
    scatter = 3e-6 * rng.normal(size=200)
    y = rng.normal(size=20)[group] + slope * rng.normal(size=20)[group] * x
    for residual, exact in ((scatter, False), (0.0, True)):
        statistics = GroupStatistics.from_data(GroupedData.from_arrays(y + residual, x, group))
        freedom, rss = residual_freedom(NormalEquations.from_statistics(statistics))
        assert (freedom == 8).all()
        if exact:
            with pytest.raises(ValueError, match="all rows fitted exactly"):
                check_residual(statistics, "hierarchical")
            continue
        check_residual(statistics, "hierarchical")
        check_residual(statistics, "individual")
        for c, found in enumerate(rss):
            rows = group == c
            lines = np.column_stack([np.ones(10), x[rows]])
            _, (expected,), *_ = np.linalg.lstsq(lines, (y + residual)[rows])
            assert found == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("shift", [0.0, 1e4, 1e6])
def test_freedom_does_not_depend_on_where_zero_is(shift):
    """Two rows and a line: nothing is left for eps, however far the predictor is from zero."""
    rng = np.random.default_rng(4)
    x = rng.normal(shift, 1.0, 13)
    y = 2.0 + 0.5 * (x - shift) + rng.normal(0, 0.3, 13)
    data = GroupedData.from_arrays(y, x, list("aabbbbbcddddd"))
    freedom, rss = residual_freedom(
        NormalEquations.from_statistics(GroupStatistics.from_data(data))
    )
    assert freedom.tolist() == [0, 3, 0, 3]
    for group, c in (("b", 1), ("d", 3)):
        rows = data.group == c
        line = stats.linregress(x[rows] - shift, y[rows])
        expected = ((y[rows] - line.intercept - line.slope * (x[rows] - shift)) ** 2).sum()
        assert rss[c] == pytest.approx(expected, rel=1e-3), group


def test_unknown_model_is_refused():
    with pytest.raises(ValueError, match="individual or pooled; got 'hierarchical'"):
        draw_exact(load_radon(), "hierarchical")
