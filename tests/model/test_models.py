"""The model functions: the density that the formulas say, on rows and on statistics alike."""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import handlers
from numpyro.infer import MCMC, NUTS, SVI, Predictive, Trace_ELBO
from numpyro.infer.autoguide import AutoNormal
from numpyro.infer.util import log_density, potential_energy, unconstrain_fn
from numpyro.optim import Adam
from row_density import row_log_density

from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.model.priors import HalfNormal, Normal, Priors, Uniform
from radon_numpyro.model.regressions import FUNCTIONS, hierarchical, individual, pooled
from radon_numpyro.statistics.group_statistics import GroupStatistics

SIZES = (5, 1, 9, 0, 3)
NUM_GROUPS, NUM_ROWS = 5, 18

each_model = pytest.mark.parametrize("name", list(FUNCTIONS))
each_number = pytest.mark.parametrize("num_predictors", [0, 1, 2, 3])
each_prior = pytest.mark.parametrize("kind", ["tutorial", "weakly informative", "by predictor"])


def make_priors(kind, data):
    """Priors of each kind; the last has a location and a scale of its own for each slope."""
    if kind == "tutorial":
        return Priors.tutorial()
    if kind == "weakly informative":
        return Priors.weakly_informative(data)
    unit = 1.0 + np.arange(data.num_predictors)
    return Priors(
        mu_alpha=Normal(-2.0, 30.0),
        mu_beta=Normal(0.5 * unit, 2 / unit),
        sigma_alpha=Uniform(20.0),
        sigma_beta=Uniform(8.0 * unit),
        alpha=Normal(4.0, 15.0),
        beta=Normal(-unit, 3 * unit),
        eps=HalfNormal(2.0),
    )


def draw_values(name, num_predictors, seed=5):
    """A value for each site, none of them at a centre of symmetry."""
    rng = np.random.default_rng(seed)
    by_group = () if name == "pooled" else (NUM_GROUPS,)
    values = {
        "alpha": rng.normal(9.0, 2.0, size=by_group),
        "beta": rng.normal(-0.5, 0.7, size=(*by_group, num_predictors)),
        "eps": rng.uniform(0.5, 2.5, size=by_group if name == "individual" else ()),
    }
    if name == "hierarchical":
        values |= {
            "mu_alpha": np.float64(8.0),
            "sigma_alpha": np.float64(1.7),
            "mu_beta": rng.normal(1.0, 0.5, size=num_predictors),
            "sigma_beta": rng.uniform(0.2, 3.0, size=num_predictors),
        }
    if num_predictors == 0:
        values = {site: value for site, value in values.items() if "beta" not in site}
    return values


# Density


@each_prior
@each_number
@each_model
def test_log_density_is_that_of_the_formulas(unequal_data, x64, name, num_predictors, kind):
    data = unequal_data(num_predictors, sizes=SIZES)
    priors, values = make_priors(kind, data), draw_values(name, num_predictors)
    expected = row_log_density(name, data, priors, values)
    assert np.isfinite(expected)
    for argument in (data, GroupStatistics.from_data(data)):
        found, _ = log_density(FUNCTIONS[name], (argument, priors), {}, values)
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize("kind", ["tutorial", "weakly informative"])
@pytest.mark.parametrize("num_predictors", [0, 2])
@each_model
def test_rows_and_statistics_have_one_gradient(unequal_data, x64, name, num_predictors, kind):
    data = unequal_data(num_predictors, sizes=SIZES)
    priors = make_priors(kind, data)
    arguments = (data, GroupStatistics.from_data(data))
    values = jax.tree.map(jnp.asarray, draw_values(name, num_predictors))
    z = unconstrain_fn(FUNCTIONS[name], (data, priors), {}, values)

    @jax.jit
    def energies(z, priors, arguments):
        return [
            jax.value_and_grad(
                lambda z, a=a: potential_energy(FUNCTIONS[name], (a, priors), {}, z)
            )(z)
            for a in arguments
        ]

    energy, gradient = zip(*energies(z, priors, arguments), strict=True)
    np.testing.assert_allclose(energy[1], energy[0], rtol=1e-10)
    assert gradient[0].keys() == gradient[1].keys() == values.keys()
    for site, of_rows in gradient[0].items():
        assert of_rows.shape == values[site].shape
        assert np.abs(of_rows).min() > 0, f"{site} does not matter"
        scale = np.abs(of_rows).max()
        np.testing.assert_allclose(gradient[1][site], of_rows, rtol=1e-10, atol=1e-10 * scale)


@pytest.mark.parametrize("num_predictors", [0, 2])
def test_pooled_is_individual_with_all_rows_in_one_group(unequal_data, x64, num_predictors):
    data = unequal_data(num_predictors, sizes=SIZES)
    together = GroupedData.from_arrays(data.y, data.x, np.zeros(NUM_ROWS))
    priors, values = make_priors("by predictor", data), draw_values("pooled", num_predictors)
    in_one_group = {site: value[None] for site, value in values.items()}
    for reduce in (lambda rows: rows, GroupStatistics.from_data):
        found, _ = log_density(pooled, (reduce(data), priors), {}, values)
        expected, _ = log_density(individual, (reduce(together), priors), {}, in_one_group)
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@each_model
def test_the_tutorial_priors_are_the_default(unequal_data, x64, name):
    data, values = unequal_data(1, sizes=SIZES), draw_values(name, 1)
    default, _ = log_density(FUNCTIONS[name], (data,), {}, values)
    tutorial, _ = log_density(FUNCTIONS[name], (data, Priors.tutorial()), {}, values)
    assert default == tutorial


def test_outside_float64_the_models_run_in_float32(unequal_data):
    """The package sets nothing for the process: JAX's own default holds where no one asks."""
    data = unequal_data(1, sizes=SIZES)
    statistics = GroupStatistics.from_data(data)
    priors, values = Priors.weakly_informative(statistics), draw_values("hierarchical", 1)
    assert not jax.config.jax_enable_x64
    for argument in (data, statistics):
        found, _ = log_density(hierarchical, (argument, priors), {}, values)
        assert found.dtype == np.float32
        expected = row_log_density("hierarchical", data, priors, values)
        np.testing.assert_allclose(found, expected, rtol=1e-4)


# Sites


def expected_sites(name, num_predictors):
    """Shape of each latent site, as the table in `model/regressions.py` has them."""
    k, c = num_predictors, NUM_GROUPS
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


class Site(NamedTuple):
    shape: tuple
    plates: list
    is_observed: bool


def traced(name, *arguments):
    """The sites of a model, traced without a computation."""
    sites = {}

    def trace():
        with handlers.seed(rng_seed=0):
            for site, message in handlers.trace(FUNCTIONS[name]).get_trace(*arguments).items():
                if message["type"] == "sample":
                    plates = [(frame.name, frame.size) for frame in message["cond_indep_stack"]]
                    sites[site] = Site(message["value"].shape, plates, message["is_observed"])

    jax.eval_shape(trace)
    return sites


@pytest.mark.parametrize("kind", ["tutorial", "by predictor"])
@pytest.mark.parametrize("num_predictors", [0, 1, 3])
@each_model
def test_site_names_and_shapes(unequal_data, name, num_predictors, kind):
    data = unequal_data(num_predictors, sizes=SIZES)
    for argument in (data, GroupStatistics.from_data(data)):
        sites = traced(name, argument, make_priors(kind, data))
        latent = {site: of.shape for site, of in sites.items() if not of.is_observed}
        assert latent == expected_sites(name, num_predictors)
        assert sites["y"].is_observed


@each_model
def test_plates_name_the_dimensions(unequal_data, name):
    data = unequal_data(2, sizes=SIZES)
    plates = {site: of.plates for site, of in traced(name, data).items()}
    group, predictor = [("group", NUM_GROUPS)], [("predictor", 2)]
    expected = {
        "hierarchical": {
            "mu_alpha": [],
            "sigma_alpha": [],
            "mu_beta": predictor,
            "sigma_beta": predictor,
            "alpha": group,
            "beta": group,
            "eps": [],
        },
        "individual": {"alpha": group, "beta": group, "eps": group},
        "pooled": {"alpha": [], "beta": [], "eps": []},
    }[name]
    assert plates == expected | {"y": [("row", NUM_ROWS)]}


# NumPyro's own inference


@pytest.mark.parametrize("num_predictors", [0, 2])
@each_model
def test_rows_without_an_outcome_are_predicted(unequal_data, x64, name, num_predictors):
    data = replace(unequal_data(num_predictors, sizes=SIZES), y=None)
    prior = Predictive(FUNCTIONS[name], num_samples=3)(jax.random.key(0), data)
    assert prior["y"].shape == (3, NUM_ROWS)
    assert prior["alpha"].shape == (3, *expected_sites(name, num_predictors)["alpha"])

    draws = [draw_values(name, num_predictors, seed) for seed in (1, 2)]
    stacked = {site: np.stack([d[site] for d in draws]) for site in draws[0]}
    stacked["eps"] = np.full_like(stacked["eps"], 1e-6)
    predicted = Predictive(FUNCTIONS[name], stacked)(jax.random.key(1), data)["y"]
    assert predicted.shape == (2, NUM_ROWS)
    for row, values in zip(predicted, draws, strict=True):
        alpha, beta = values["alpha"], values.get("beta", np.zeros((*values["alpha"].shape, 0)))
        if name != "pooled":
            alpha, beta = alpha[data.group], beta[data.group]
        error = row - (alpha + (data.x * beta).sum(-1))
        assert np.abs(error).max() < 1e-5, "a row has the coefficients of another group"
        assert error.std() > 1e-7, "no noise"


@pytest.mark.slow
@pytest.mark.parametrize(
    "reduce", [lambda rows: rows, GroupStatistics.from_data], ids=["rows", "statistics"]
)
@each_model
def test_numpyro_mcmc_runs(unequal_data, name, reduce):
    data = reduce(unequal_data(2, sizes=SIZES))
    mcmc = MCMC(NUTS(FUNCTIONS[name]), num_warmup=40, num_samples=20, progress_bar=False)
    mcmc.run(jax.random.key(0), data, Priors.weakly_informative(data))
    draws = mcmc.get_samples()
    shapes = {site: value.shape[1:] for site, value in draws.items()}
    assert shapes == expected_sites(name, 2)
    assert all(np.isfinite(value).all() for value in draws.values())
    assert np.ptp(draws["eps"]) > 0, "the chain does not move"


@pytest.mark.parametrize(
    "reduce", [lambda rows: rows, GroupStatistics.from_data], ids=["rows", "statistics"]
)
@each_model
def test_numpyro_svi_runs(unequal_data, name, reduce):
    data = reduce(unequal_data(2, sizes=SIZES))
    priors = Priors.weakly_informative(data)
    guide = AutoNormal(FUNCTIONS[name])
    svi = SVI(FUNCTIONS[name], guide, Adam(0.05), Trace_ELBO())
    result = svi.run(jax.random.key(0), 200, data, priors, progress_bar=False)
    losses = np.asarray(result.losses)
    assert np.isfinite(losses).all()
    assert losses[-20:].mean() < losses[:20].mean()
    medians = guide.median(result.params)
    shapes = {site: value.shape for site, value in medians.items()}
    assert shapes == expected_sites(name, 2)
