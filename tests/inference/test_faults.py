"""Faults in data, in units and in the machinery: a fit that is right, or one line that says why.

Six groups and one predictor, most of them, so that one compilation serves the table.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import draw_unequal_data
from fits import assert_moments
from numpyro import infer

from radon_numpyro import GroupedData, GroupStatistics, diagnose, fit, predict, simulate
from radon_numpyro.inference.nuts import blocks as compiled_blocks
from radon_numpyro.model.priors import Priors, Uniform

MODELS = ("hierarchical", "individual", "pooled")
BRIEF = {"draws": 250, "num_warmup": 250, "num_advi_steps": 0, "progress_bar": False}
SIZES = (5, 1, 9, 3, 12, 7)


def plain(num_predictors=1):
    return draw_unequal_data(num_predictors, sizes=SIZES)


def simulated(**truth):
    given = {"mu_alpha": 2.0, "mu_beta": -0.7, "sigma_alpha": 0.5, "sigma_beta": 0.3, "eps": 0.8}
    return simulate(num_groups=6, rows_per_group=15, seed=1, **given | truth).data


def with_y(change):
    data = plain()
    return replace(data, y=change(data.y, data.group))


def with_x(change, num_predictors=1):
    data = plain(num_predictors)
    return replace(data, x=change(data.x))


def very_unequal():
    """Groups of 1 to 100 000 rows, and one of a million, which is merged from statistics."""
    rng = np.random.default_rng(0)
    sizes = np.array([1, 2, 30, 1000, 10**5, 10**5])
    group = np.repeat(np.arange(6), sizes)
    x = rng.normal(2.0, 3.0, len(group))
    y = rng.normal(5.0, 1.0, 6)[group] + rng.normal(1.0, 0.5, 6)[group] * x
    y += rng.normal(0.0, 0.7, len(group))
    statistics = GroupStatistics.from_data(GroupedData.from_arrays(y, x, group))
    tenfold = statistics.labels.groups[-1]
    largest = GroupStatistics.from_data(GroupedData.from_arrays(y, x, group).select(tenfold))
    for _ in range(9):
        statistics = statistics.merge(largest)
    assert statistics.count[-1] == 10**6
    return statistics


EXACT = "more rows than coefficients; got"
UNIT = "standard deviation of .* to lie between 1e-50 and 1e.50"
FITS = {
    "outcome in billionths": lambda: with_y(lambda y, g: 1e-9 * y),
    "outcome in billions": lambda: with_y(lambda y, g: 1e9 * y),
    "predictor in billionths": lambda: with_x(lambda x: 1e-9 * x),
    "predictor in billions": lambda: with_x(lambda x: 1e9 * x),
    "predictor a million sds from zero": lambda: with_x(lambda x: 1e6 + (x - x.mean()) / x.std()),
    "slopes that do not vary": lambda: simulated(sigma_beta=0.0),
    "intercepts that do not vary": lambda: simulated(sigma_alpha=0.0),
    "neither varies": lambda: simulated(sigma_alpha=0.0, sigma_beta=0.0),
    "a constant predictor": lambda: with_x(lambda x: np.full_like(x, 0.1)),
    "a large constant predictor": lambda: with_x(lambda x: np.full_like(x, 1e6 / 3)),
    "groups of one row": lambda: draw_unequal_data(1, sizes=(1,) * 6),
    "one group": lambda: plain().select("town 4"),
    "one row": lambda: plain().select("town 1"),
    "collinear predictors": lambda: with_x(
        lambda x: np.column_stack([x[:, 0], 3.0 - 2.0 * x[:, 0]]), 2
    ),
    "more coefficients than rows": lambda: plain(3).select(["town 1", "town 3"]),
    "groups of 1 to a million rows": very_unequal,
}
REFUSED = {
    "outcome beyond floating point": (
        lambda: with_y(lambda y, g: 1e150 * y), dict.fromkeys(MODELS, UNIT),
    ),
    "outcome below floating point": (
        lambda: with_y(lambda y, g: 1e-150 * y), dict.fromkeys(MODELS, UNIT),
    ),
    "predictor beyond floating point": (
        lambda: with_x(lambda x: 1e150 * x), dict.fromkeys(MODELS, UNIT),
    ),
    "one outcome everywhere": (
        lambda: with_y(lambda y, g: np.full_like(y, 1.5)), dict.fromkeys(MODELS, EXACT),
    ),
    "an outcome of zeros": (
        lambda: with_y(lambda y, g: np.zeros_like(y)), dict.fromkeys(MODELS, EXACT),
    ),
    "one outcome in a group": (
        lambda: with_y(lambda y, g: np.where(g == 2, 1.5, y)),
        {"individual": f"{EXACT} 1 fitted exactly: 'town 2'"},
    ),
    "lines without scatter": (
        lambda: simulated(eps=0.0), {"individual": EXACT, "hierarchical": EXACT},
    ),
}  # fmt: skip


def assert_fits(data, model):
    tree = fit(data, model=model, **BRIEF)
    for site, draws in tree["posterior"].items():
        assert np.isfinite(draws.values).all(), site
        if site.startswith("sigma"):
            assert (draws.values >= 0).all()
    labels = data.labels
    rows = {name: [0.0, 1.0] for name in labels.predictors}
    new = GroupedData.from_arrays([0.0, 0.0], None, [labels.groups[0]] * 2).to_frame()
    new = new.rename(columns={"group": labels.group}).assign(**rows)
    table = predict(tree, new, ci_prob=0.9, ci_kind="eti").select_dtypes("number")
    assert np.isfinite(table.to_numpy(dtype=float)).all()
    assert "R-hat above" not in str(diagnose(tree)) or diagnose(tree).max_rhat < 1.1


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("case", FITS)
def test_what_is_odd_but_sound_is_fitted(case, model):
    assert_fits(FITS[case](), model)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_posterior_is_refused_in_a_line(case, model):
    make, messages = REFUSED[case]
    if model not in messages:
        assert_fits(make(), model)
        return
    with pytest.raises(ValueError, match=messages[model]) as caught:
        fit(make(), model=model, **BRIEF)
    assert "\n" not in str(caught.value)


# The numbers, not only that there are any


@pytest.mark.parametrize("model", ["individual", "pooled"])
@pytest.mark.parametrize(("unit_y", "unit_x"), [(1e9, 1.0), (1e-9, 1.0), (1e9, 1e-9), (1.0, 1e9)])
def test_exact_draws_do_not_depend_on_units(model, unit_y, unit_x):
    data = plain(2)
    scaled = replace(data, y=unit_y * data.y, x=unit_x * data.x)
    expected, found = (fit(d, model=model, **BRIEF)["posterior"] for d in (data, scaled))
    for site in expected:
        unit = unit_y / (unit_x if site == "beta" else 1.0)
        wanted = unit * expected[site].values
        size = np.abs(wanted).max()
        np.testing.assert_allclose(found[site].values / size, wanted / size, atol=1e-11)


@pytest.mark.slow
def test_a_predictor_a_million_sds_from_zero_gives_the_lines_that_a_centred_one_does():
    """Priors so wide that where the zero is does not matter: the slopes are the same."""
    data = simulated(sigma_beta=0.4)
    x = (data.x - data.x.mean()) / data.x.std()
    wide = Uniform(50.0)
    settings = {"draws": 2000, "num_advi_steps": 0, "progress_bar": False}
    slopes = []
    for shift in (0.0, 1e6):
        priors = Priors.weakly_informative(replace(data, x=x + shift))
        # Levels of the groups where the rows are would else be the sum of two large scatters.
        priors = replace(priors, sigma_alpha=wide, sigma_beta=wide, eps=wide)
        tree = fit(replace(data, x=x + shift), model="individual", priors=priors, **settings)
        slopes.append(tree["posterior"]["beta"].values[..., 0])
    for c in range(6):
        reference = slopes[0][..., c]
        error = 4.5 * reference.std() / np.sqrt(reference.size)
        assert_moments(slopes[1][..., c], reference.mean(), reference.std(), 2 * error)


def test_scales_that_are_zero_are_found_to_be_small():
    """The truth is 0 and the posterior reaches it, without a divergence."""
    data = simulate(
        num_groups=40,
        rows_per_group=30,
        mu_alpha=2.0,
        mu_beta=-0.7,
        sigma_alpha=0.0,
        sigma_beta=0.0,
        eps=0.8,
        seed=5,
    ).data
    tree = fit(data, draws=500, num_advi_steps=0, progress_bar=False)
    posterior = tree["posterior"]
    for site in ("sigma_alpha", "sigma_beta"):
        assert float(posterior[site].quantile(0.01)) < 0.02 * 0.8
        assert float(posterior[site].quantile(0.95)) < 0.5 * 0.8
    assert diagnose(tree).num_divergences == 0
    assert diagnose(tree).ok


# Faults put into the machinery


@pytest.fixture
def fresh_programs():
    """Compiled programs would be reused, and the fault not be in them."""
    programs = (compiled_blocks._begin, compiled_blocks._advance)
    for program in programs:
        program.compiled().clear_cache()
    yield
    for program in programs:
        program.compiled().clear_cache()


def test_a_density_that_is_nowhere_finite_is_an_error_at_the_start(monkeypatch, fresh_programs):
    def broken(model, arguments, options, position):
        return jnp.nan * position["eps"]

    monkeypatch.setattr(infer.util, "potential_energy", broken)
    with pytest.raises(FloatingPointError, match="finite log density where each chain starts; got"):
        fit(plain(), **BRIEF)


def test_a_density_that_is_not_finite_in_a_region_is_seen(monkeypatch, fresh_programs):
    """NaN where eps is above 1, in the upper tail of the posterior: it cannot be reached."""
    real = infer.util.potential_energy

    def broken(model, arguments, options, position):
        energy = real(model, arguments, options, position)
        return jnp.where(position["eps"] > 0.0, jnp.nan, energy)

    monkeypatch.setattr(infer.util, "potential_energy", broken)
    diagnosis = diagnose(fit(plain(), **BRIEF))
    assert not diagnosis.ok
    assert diagnosis.num_divergences > 0


def test_a_chain_that_dies_is_named(monkeypatch):
    """NaN in the state of the second chain from the fourth block on."""
    advance, calls = compiled_blocks.advance, []

    def dying(states, *arguments, **settings):
        calls.append(1)
        if len(calls) == 4:
            first, second, *others = states
            second = second._replace(z=jnp.full_like(second.z, jnp.nan))
            states = (first, second, *others)
        return advance(states, *arguments, **settings)

    monkeypatch.setattr(compiled_blocks, "advance", dying)
    with pytest.raises(
        FloatingPointError, match=r"finite draws; got \w+ of chain 1 not finite from"
    ):
        fit(plain(), **BRIEF)


def test_a_start_outside_the_support_is_an_error(monkeypatch):
    """A guide whose eps lies where the prior has no mass has no coordinates."""
    from radon_numpyro.inference.advi import guide as advi
    from radon_numpyro.inference.advi.closed_form_start import Start

    real = advi.mean_field_start

    def outside(*arguments):
        return real(*arguments) | {"eps": Start(np.array(3.0), np.array(0.1))}

    monkeypatch.setattr(advi, "mean_field_start", outside)
    priors = replace(Priors.weakly_informative(plain()), eps=Uniform(2.0))
    with pytest.raises(FloatingPointError, match=r"not finite|finite log density"):
        fit(plain(), priors=priors, **BRIEF)


def test_nothing_of_a_failed_fit_stays_behind():
    with pytest.raises(ValueError, match=UNIT):
        fit(REFUSED["outcome beyond floating point"][0](), **BRIEF)
    assert not jax.config.jax_enable_x64
    assert_fits(plain(), "pooled")
