"""Where ADVI starts: next to the mean-field optimum, and somewhere sane on any data."""

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mean_field import LOG_2PI, mean_field_optimum, negative_elbo, sums_about_fit
from numpyro.infer.util import log_density, potential_energy
from row_density import row_log_density

from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.data.radon import load_radon
from radon_numpyro.inference.advi import closed_form_start as start
from radon_numpyro.inference.advi.closed_form_start import mean_field_start
from radon_numpyro.inference.compute.programs import unlabelled
from radon_numpyro.model.priors import HalfNormal, Normal, Priors, Uniform
from radon_numpyro.model.regressions import FUNCTIONS, hierarchical
from radon_numpyro.statistics.group_statistics import GroupStatistics

SIZES = (5, 1, 9, 3)


@pytest.fixture(scope="module")
def radon():
    return GroupStatistics.from_data(load_radon())


@pytest.fixture(scope="module")
def optimum(radon):
    found = mean_field_optimum(radon)
    assert found["converged"]
    return found


# The reference itself


@pytest.mark.parametrize("num_predictors", [0, 1])
def test_the_reference_bound_is_the_bound_of_the_model(unequal_data, x64, num_predictors):
    """Quadrature against plain Monte Carlo of log p - log q, at a guide that is not the optimum."""
    high, location_sd, size, num_draws = 30.0, 20.0, num_predictors + 1, 20_000
    statistics = GroupStatistics.from_data(unequal_data(num_predictors, sizes=SIZES))
    sums = sums_about_fit(statistics)
    location, scale = Normal(0.0, location_sd), Uniform(high)
    priors = Priors(location, location, scale, scale, location, location, scale)
    rng = np.random.default_rng(6)
    guide = {
        "theta": (rng.normal(0, 1, (size, 4)), rng.uniform(-2.5, -1.5, (size, 4))),
        "mu": (rng.normal(0, 1, size), rng.uniform(-1.5, -0.5, size)),
        "sigma": (rng.normal(-3, 0.3, size), rng.uniform(-1.5, -0.5, size)),
        "eps": (np.array(-1.0), np.array(-2.0)),
    }
    bound = -float(negative_elbo(guide, *sums, high, location_sd))

    noise = {k: rng.normal(size=(num_draws, *np.shape(loc))) for k, (loc, _) in guide.items()}
    log_q = sum(
        (-0.5 * noise[k] ** 2 - log_sd - 0.5 * LOG_2PI).reshape(num_draws, -1).sum(axis=1)
        for k, (_, log_sd) in guide.items()
    )

    def energy(noise):
        z = {k: loc + jnp.exp(log_sd) * noise[k] for k, (loc, log_sd) in guide.items()}
        theta, mu = z["theta"] + sums.offset[:, None], z["mu"] + sums.offset
        sites = {"alpha": theta[0], "mu_alpha": mu[0], "sigma_alpha": z["sigma"][0]}
        sites["eps"] = z["eps"]
        if num_predictors:
            sites |= {"beta": theta[1:].T, "mu_beta": mu[1:], "sigma_beta": z["sigma"][1:]}
        return potential_energy(hierarchical, (statistics, priors), {}, sites)

    log_ratio = -np.asarray(jax.jit(jax.vmap(energy))(noise)) - log_q
    error = log_ratio.std() / np.sqrt(num_draws)
    assert error < 1e-3 * abs(bound), "too few draws to see a difference"
    assert abs(log_ratio.mean() - bound) < 4 * error


def test_the_reference_optimum_is_a_maximum_of_its_bound(radon, optimum, x64):
    means, sds = optimum["means"], optimum["sds"]
    sums = sums_about_fit(radon)
    offset = sums.offset

    def guide(shift, widen):
        """The guide of the optimum with all coefficients moved, in units of their own sd."""

        def stack(values, relative=0.0):
            first, rest = values["alpha"] - relative * offset[0], values["beta"][:, 0]
            return np.stack([first, rest - relative * offset[1]])

        theta_sd = stack(sds)
        mu = np.append(means["mu_alpha"], means["mu_beta"]) - offset
        mu_sd = np.append(sds["mu_alpha"], sds["mu_beta"])
        sigma = np.append(means["sigma_alpha"], means["sigma_beta"])
        sigma_sd = np.append(sds["sigma_alpha"], sds["sigma_beta"])

        def logit(value):
            return np.log(value / 100) - np.log1p(-value / 100)

        return {
            "theta": (stack(means, 1.0) + shift * theta_sd, np.log(theta_sd) + widen),
            "mu": (mu + shift * mu_sd, np.log(mu_sd) + widen),
            # A narrow log-normal: its median and relative width are nearly mean and sd.
            "sigma": (logit(sigma), np.log(sigma_sd / sigma) + widen),
            "eps": (logit(means["eps"]), np.log(sds["eps"] / means["eps"]) + widen),
        }

    def bound(shift, widen):
        return -float(negative_elbo(guide(shift, widen), *sums, 100.0, 1e4))

    np.testing.assert_allclose(bound(0.0, 0.0), optimum["elbo"], atol=0.05)
    for shift, widen in ((0.3, 0.0), (-0.3, 0.0), (0.0, 0.2), (0.0, -0.2)):
        assert bound(shift, widen) < optimum["elbo"] - 0.5


# Next to the optimum


def assert_next_to_optimum(statistics, optimum, *, within):
    """Compare centres in units of the optimum's sds; sds to 1 %. NumPy alone, in float64."""
    assert not jax.config.jax_enable_x64
    start = mean_field_start(statistics, "hierarchical", Priors.tutorial())
    sites = set(expected_shapes("hierarchical", statistics.num_predictors, statistics.num_groups))
    assert start.keys() == sites
    for site, (mean, sd) in start.items():
        best_mean, best_sd = optimum["means"][site], optimum["sds"][site]
        assert np.asarray(mean).dtype == np.float64
        assert np.shape(mean) == np.shape(best_mean)
        assert np.shape(sd) == np.shape(best_sd)
        assert np.max(np.abs(mean - best_mean) / best_sd) < within, site
        np.testing.assert_allclose(sd, best_sd, rtol=0.01, err_msg=site)


def test_the_start_is_next_to_the_mean_field_optimum_of_the_radon_data(radon, optimum):
    """Centres within 0.05 of the optimum's own sd, sds within 1 %, at each of 175 numbers."""
    assert_next_to_optimum(radon, optimum, within=0.05)


@pytest.mark.parametrize("num_predictors", [0, 1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_the_start_is_next_to_the_optimum_with_any_number_of_predictors(
    unequal_data, num_predictors
):
    """Predictors on different scales, about zero: far from it the bound has several maxima."""
    data = unequal_data(num_predictors, sizes=tuple(2 + np.arange(40) % 7), seed=3)
    statistics = GroupStatistics.from_data(replace(data, x=data.x - data.x.mean(axis=0)))
    assert_next_to_optimum(statistics, mean_field_optimum(statistics), within=0.07)


def test_a_county_without_an_upstairs_house_keeps_its_prior(radon):
    """CASS on its own: a slope that is Normal(0, 10 000), beside an intercept known to 0.3."""
    start = mean_field_start(radon, "individual", Priors.tutorial())
    cass = radon.labels.groups.index("CASS")
    np.testing.assert_allclose(start["beta"].sd[cass], [1e4], rtol=1e-3)
    assert abs(start["beta"].mean[cass, 0]) < 1.0
    assert 0.1 < start["alpha"].sd[cass] < 1.0
    cass_rows = load_radon().select("CASS").y
    np.testing.assert_allclose(start["alpha"].mean[cass], cass_rows.mean(), rtol=1e-6)


@pytest.mark.parametrize("num_predictors", [0, 1, 2])
@pytest.mark.parametrize("name", ["individual", "pooled"])
def test_without_a_population_the_start_is_the_conjugate_posterior(
    unequal_data, name, num_predictors
):
    """Given its own plug-in eps: the exact mean, and 1 / sqrt of the diagonal of the precision."""
    data = unequal_data(num_predictors, sizes=SIZES)
    unit = 1.0 + np.arange(num_predictors)
    priors = replace(
        Priors.tutorial(),
        alpha=Normal(4.0, 6.0),
        beta=Normal(0.5 * unit, 2 / unit),
        eps=HalfNormal(20.0),
    )
    start = mean_field_start(GroupStatistics.from_data(data), name, priors)
    group = data.group if name == "individual" else np.zeros(data.num_rows, dtype=int)
    loc, sd = np.append(4.0, 0.5 * unit), np.append(6.0, 2 / unit)
    for c in np.unique(group):
        x = np.column_stack([np.ones(data.num_rows), data.x])[group == c]
        y, freedom = data.y[group == c], (group == c).sum() - 1

        def entry(value, c=c):
            return value[c] if name == "individual" else value

        eps, eps_sd = entry(start["eps"].mean), entry(start["eps"].sd)
        if freedom == 0:
            # One row says nothing about eps: the size of the prior, as wide as it is large.
            np.testing.assert_allclose([eps, eps_sd], 20.0 * np.exp(0.5), rtol=1e-12)
        else:
            # The guide's median is the plug-in value, moved by the square of its relative width.
            np.testing.assert_allclose(eps_sd / eps, 1 / np.sqrt(2 * freedom), rtol=1e-12)
            eps = eps * np.exp(-1 / (2 * freedom))
            precision = x.T @ x / eps**2 + np.diag(1 / sd**2)
            mean = np.linalg.solve(precision, x.T @ y / eps**2 + loc / sd**2)
            sites = ["alpha", "beta"] if num_predictors else ["alpha"]
            found = np.hstack([entry(start[site].mean) for site in sites])
            found_sd = np.hstack([entry(start[site].sd) for site in sites])
            variance = 1 / np.diag(precision)
            np.testing.assert_allclose(found, mean, rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(found_sd, np.sqrt(variance), rtol=1e-5)
            # The plug-in value: what the residuals and the guide's width leave to each row.
            squares = ((y - x @ mean) ** 2).sum() + np.diag(x.T @ x) @ variance
            np.testing.assert_allclose(eps, np.sqrt(squares / freedom), rtol=1e-4)


# Any data


def expected_shapes(name, num_predictors, num_groups):
    k, c = num_predictors, num_groups
    shapes = {
        "hierarchical": {
            "mu_alpha": (),
            "sigma_alpha": (),
            "mu_beta": (k,),
            "sigma_beta": (k,),
            "alpha": (c,),
            "beta": (c, k),
            "eps": (),
        },
        "individual": {"alpha": (c,), "beta": (c, k), "eps": (c,)},
        "pooled": {"alpha": (), "beta": (k,), "eps": ()},
    }[name]
    return {site: shape for site, shape in shapes.items() if k or "beta" not in site}


def assert_sane(data, name, priors):
    """Finite, positive where it must be, inside the support, and of positive density."""
    start = mean_field_start(GroupStatistics.from_data(data), name, priors)
    expected = expected_shapes(name, data.num_predictors, data.num_groups)
    assert {site: np.shape(s.mean) for site, s in start.items()} == expected
    assert {site: np.shape(s.sd) for site, s in start.items()} == expected
    for site, (mean, sd) in start.items():
        assert np.isfinite(mean).all(), site
        assert np.isfinite(sd).all(), site
        assert np.all(sd > 0), site
        if site.startswith(("sigma", "eps")):
            prior = getattr(priors, site)
            assert np.all(mean > 0), site
            if isinstance(prior, Uniform):
                assert np.all(mean < prior.high), site
    values = {site: s.mean for site, s in start.items()}
    assert np.isfinite(row_log_density(name, data, priors, values))
    return start


def far(data):
    return replace(data, x=data.x + 1e6)


def constant_in_a_group(data):
    return replace(data, y=np.where(data.group == 2, 1.5, data.y))


def exactly_linear(data):
    """One line for all rows: no residual at all."""
    return replace(data, y=1.5 + data.x @ np.arange(1.0, data.num_predictors + 1))


def exactly_linear_by_group(data):
    """One line for each group: scatter between the groups, no residual within."""
    return replace(data, y=data.y.mean() + 3.0 * data.group + data.x.sum(-1))


def constant_outcome(data):
    return replace(data, y=np.full(data.num_rows, 0.1))


def outcome_of_zeros(data):
    return replace(data, y=np.zeros(data.num_rows))


def groups_of_one_row(data):
    return GroupedData.from_arrays(data.y, data.x, np.arange(data.num_rows))


def one_group(data):
    return GroupedData.from_arrays(data.y, data.x, np.zeros(data.num_rows))


def one_row(data):
    return GroupedData.from_arrays(data.y[:1], data.x[:1], data.group[:1])


def an_empty_group(data):
    return data.take(data.group != 1)


def predictor_constant_in_a_group(data):
    return replace(data, x=np.where(data.group[:, None] == 2, 1.0, data.x))


HARD = [
    far,
    constant_in_a_group,
    exactly_linear,
    exactly_linear_by_group,
    constant_outcome,
    outcome_of_zeros,
    groups_of_one_row,
    one_group,
    one_row,
    an_empty_group,
    predictor_constant_in_a_group,
]


@pytest.mark.parametrize("num_predictors", [0, 1, 2])
@pytest.mark.parametrize("hard", HARD)
@pytest.mark.parametrize("kind", ["tutorial", "weakly informative"])
@pytest.mark.parametrize("name", list(FUNCTIONS))
def test_the_start_is_sane_on_hard_data(unequal_data, name, kind, hard, num_predictors):
    data = hard(unequal_data(num_predictors, sizes=SIZES))
    tutorial = kind == "tutorial"
    priors = Priors.tutorial() if tutorial else Priors.weakly_informative(data)
    assert_sane(data, name, priors)


@cache
def compiled_density(name):
    """The density of a model, compiled once for all data of one shape."""
    function = FUNCTIONS[name]
    return jax.jit(lambda values, *arguments: log_density(function, arguments, {}, values)[0])


@pytest.mark.parametrize("hard", HARD)
@pytest.mark.parametrize("name", list(FUNCTIONS))
def test_the_model_has_a_finite_density_at_the_start_on_hard_data(unequal_data, x64, name, hard):
    """On statistics, as NumPyro has it."""
    statistics = GroupStatistics.from_data(hard(unequal_data(1, sizes=SIZES)))
    priors = Priors.weakly_informative(statistics)
    start = mean_field_start(statistics, name, priors)
    values = {site: s.mean for site, s in start.items()}
    assert np.isfinite(compiled_density(name)(values, unlabelled(statistics), priors))


@pytest.mark.parametrize("num_predictors", [0, 1, 2])
@pytest.mark.parametrize("unit", [1e-9, 1e9])
@pytest.mark.parametrize("name", list(FUNCTIONS))
def test_the_start_moves_with_the_unit_of_the_outcome(unequal_data, name, unit, num_predictors):
    data = unequal_data(num_predictors, sizes=SIZES)
    starts = []
    for y in (data.y, unit * data.y):
        moved = replace(data, y=y)
        starts.append(assert_sane(moved, name, Priors.weakly_informative(moved)))
    for site, (mean, sd) in starts[0].items():
        np.testing.assert_allclose(starts[1][site].mean, unit * mean, rtol=1e-6, err_msg=site)
        np.testing.assert_allclose(starts[1][site].sd, unit * sd, rtol=1e-6, err_msg=site)


@pytest.mark.parametrize("high", [1e-3, 0.3, [2e-4]])
def test_the_start_stays_inside_a_narrow_prior(unequal_data, high):
    """Groups that differ by 2 under priors that allow a fraction of that."""
    data = unequal_data(1, sizes=SIZES)
    narrow = Uniform(np.asarray(high))
    priors = replace(
        Priors.tutorial(),
        sigma_alpha=Uniform(float(np.max(high))),
        sigma_beta=narrow,
        eps=Uniform(float(np.max(high))),
    )
    for name in FUNCTIONS:
        assert_sane(data, name, priors)


@pytest.mark.parametrize("num_predictors", [0, 1, 3])
def test_extrapolated_updates_end_where_plain_ones_do(monkeypatch, unequal_data, num_predictors):
    data = GroupStatistics.from_data(unequal_data(num_predictors, sizes=SIZES * 5))
    priors = Priors.weakly_informative(data)
    fast = start.mean_field_start(data, "hierarchical", priors)
    updates = []

    def plain(update, x, least, most, at_most):
        for _ in range(20_000):
            before, x = x, update(x)
            updates.append(x)
            if np.abs(x - before).max() < 1e-12:
                break
        return x

    monkeypatch.setattr(start, "_fixed_point", plain)
    slow = start.mean_field_start(data, "hierarchical", priors)
    assert 1 < len(updates) < 20_000
    for site, value in slow.items():
        np.testing.assert_allclose(fast[site].mean, value.mean, rtol=1e-5, atol=1e-5, err_msg=site)
        np.testing.assert_allclose(fast[site].sd, value.sd, rtol=1e-5, err_msg=site)


# Of the hierarchical model once more, for what its scales lead to.
@pytest.mark.parametrize(("name", "expected"), [("hierarchical", 13), ("individual", 12)])
def test_of_very_many_groups_fewer_updates_are_made(monkeypatch, unequal_data, name, expected):
    data = GroupStatistics.from_data(unequal_data(1, sizes=SIZES * 5))
    calls = []

    def counted(*args):
        calls.append(args)
        return group_terms(*args)

    group_terms = start.group_terms
    monkeypatch.setattr(start, "group_terms", counted)
    priors = Priors.weakly_informative(data)
    start.mean_field_start(data, name, priors)
    assert len(calls) > expected
    calls.clear()
    monkeypatch.setattr(start, "MAX_GROUP_UPDATES", 12 * data.num_groups)
    some = start.mean_field_start(data, name, priors)
    assert len(calls) == expected
    assert all(np.isfinite(site.mean).all() for site in some.values())
