"""What must hold of any data: symmetries of the model, and results under the right labels.

Where priors transform along with the data, so does the posterior: to rounding, in all that is
deterministic or drawn exactly; within Monte Carlo error, in what a chain draws.
"""

from dataclasses import replace

import arviz as az
import numpy as np
import pandas as pd
import pytest
from conftest import draw_unequal_data
from dense import equations_of, log_density
from fits import assert_moments, towns
from hypothesis import given, settings
from hypothesis import strategies as st

from radon_numpyro import GroupedData, GroupStatistics, Priors, fit, predict
from radon_numpyro.data.labels import stored
from radon_numpyro.gaussian.marginal import individual_log_density
from radon_numpyro.gaussian.predictive import individual_prior
from radon_numpyro.inference.advi.closed_form_start import mean_field_start
from radon_numpyro.inference.inversion import draw_exact
from radon_numpyro.results.fit_files import load_fit, save_fit

SIZES = (5, 1, 9, 3)
MODELS = ("hierarchical", "individual", "pooled")
PREDICTORS = st.integers(0, 3)
SEEDS = st.integers(0, 10**6)
UNITS = st.floats(-9.0, 9.0).map(lambda power: 10.0**power)


@pytest.fixture(scope="module")
def tmp_path_module(tmp_path_factory):
    return tmp_path_factory.mktemp("properties")


def close(found, expected, tolerance=1e-9):
    """Equal within a share of the largest number."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def densities(data, priors, scale, eps):
    """Log marginal likelihoods of the hierarchical and of the individual model."""
    equations = equations_of(data)
    prior = individual_prior(equations, priors)
    each = individual_log_density(equations, np.full(data.num_groups, eps), *prior)
    return float(log_density(equations, scale, eps, priors)), each


def scales(data, seed):
    """Standard deviations of intercepts, slopes and residuals, of the size that data have."""
    rng = np.random.default_rng(seed)
    spread = np.append(1.0, 1.0 / data.x.std(0)) * data.y.std()
    *scale, eps = np.append(spread, data.y.std()) * rng.uniform(0.1, 1.0, data.num_predictors + 2)
    return np.array(scale), eps


# Symmetries


@given(PREDICTORS, SEEDS)
def test_the_order_of_rows_does_not_matter(num_predictors, seed):
    data = draw_unequal_data(num_predictors, sizes=SIZES, seed=seed)
    mixed = data.take(np.random.default_rng(seed).permutation(data.num_rows))
    before, after = (GroupStatistics.from_data(d) for d in (data, mixed))
    for name in ("count", "mean_x", "mean_y", "sxx", "sxy", "syy"):
        expected = getattr(before, name)
        if expected.size:
            close(getattr(after, name), expected, 1e-12)
    priors, (scale, eps) = Priors.weakly_informative(data), scales(data, seed)
    for found, expected in zip(
        densities(mixed, priors, scale, eps), densities(data, priors, scale, eps), strict=True
    ):
        close(found, expected)


@given(PREDICTORS, SEEDS)
@settings(max_examples=40)
def test_the_order_of_groups_orders_results_and_nothing_else(num_predictors, seed):
    data = draw_unequal_data(num_predictors, sizes=SIZES, seed=seed)
    order = np.random.default_rng(seed).permutation(4)
    other = data.select([data.labels.groups[c] for c in order])
    priors, (scale, eps) = Priors.weakly_informative(data), scales(data, seed)
    one, each = densities(data, priors, scale, eps)
    other_one, other_each = densities(other, priors, scale, eps)
    close(other_one, one, 1e-12)
    close(other_each, each[order], 1e-12)
    for model in MODELS:
        before, after = (
            mean_field_start(GroupStatistics.from_data(d), model, priors) for d in (data, other)
        )
        for site, start in before.items():
            of_group = site in ("alpha", "beta") or (site, model) == ("eps", "individual")
            of_group &= model != "pooled"
            close(after[site].mean, start.mean[order] if of_group else start.mean)


@pytest.mark.parametrize(
    ("model", "method", "num_predictors"),
    [
        ("hierarchical", "marginal", 1),
        ("hierarchical", "integrate", 2),
        ("individual", None, 2),
        ("pooled", None, 2),
    ],
)
def test_names_do_not_matter(model, method, num_predictors):
    """Of groups and of columns: the same draws, bit for bit."""
    data, columns = towns(num_predictors), ("b", "a")[:num_predictors]
    names = {"outcome": "radón", "predictors": columns, "group": "x", "design": None}
    names["groups"] = (4, "", "🙂", 1, "a")
    renamed = replace(data, labels=replace(data.labels, **names))
    chains = {} if method == "integrate" else {"num_warmup": 200, "num_advi_steps": 0}
    options = {"model": model, "method": method, "draws": 20, "progress_bar": False}
    one, other = (fit(d, **options, **chains)["posterior"] for d in (data, renamed))
    for site in one:
        np.testing.assert_array_equal(other[site].values, one[site].values)


@given(PREDICTORS, SEEDS, UNITS, UNITS, st.floats(-1e3, 1e3))
@settings(max_examples=40)
def test_units_and_a_new_zero_of_the_outcome_transform_what_is_deterministic(
    num_predictors, seed, unit_y, unit_x, zero
):
    data = draw_unequal_data(num_predictors, sizes=SIZES, seed=seed)
    moved = replace(data, y=unit_y * (data.y + zero), x=unit_x * data.x)
    priors, moved_priors = Priors.weakly_informative(data), Priors.weakly_informative(moved)
    scale, eps = scales(data, seed)
    units = unit_y / np.append(1.0, np.full(num_predictors, unit_x))
    one, each = densities(data, priors, scale, eps)
    moved_one, moved_each = densities(moved, moved_priors, units * scale, unit_y * eps)
    size = data.num_rows * max(1.0, abs(np.log(unit_y)))
    assert moved_one == pytest.approx(one - data.num_rows * np.log(unit_y), abs=1e-9 * size)
    expected = each - data.group_sizes * np.log(unit_y)
    np.testing.assert_allclose(moved_each, expected, atol=1e-9 * size)

    for model in MODELS:
        before = mean_field_start(GroupStatistics.from_data(data), model, priors)
        after = mean_field_start(GroupStatistics.from_data(moved), model, moved_priors)
        for site, start in before.items():
            unit = unit_y / unit_x if "beta" in site else unit_y
            # Only what has a zero is shifted: not slopes, not scales.
            shift = zero if site in ("alpha", "mu_alpha") else 0.0
            close(after[site].mean / unit - shift, start.mean, 1e-7)
            close(after[site].sd / unit, start.sd, 1e-7)


@given(PREDICTORS, SEEDS, UNITS, UNITS, st.floats(-1e3, 1e3), st.sampled_from(MODELS[1:]))
@settings(max_examples=30)
def test_units_and_a_new_zero_of_the_outcome_transform_exact_draws(
    num_predictors, seed, unit_y, unit_x, zero, model
):
    data = draw_unequal_data(num_predictors, sizes=SIZES, seed=seed)
    moved = replace(data, y=unit_y * (data.y + zero), x=unit_x * data.x)
    before, after = (draw_exact(d, model, draws=20, seed=seed).draws for d in (data, moved))
    for site, draws in before.items():
        unit = unit_y / unit_x if site == "beta" else unit_y
        shift = zero if site == "alpha" else 0.0
        close(after[site] / unit - shift, draws, 1e-8)


@pytest.mark.slow
@pytest.mark.parametrize(("unit_y", "unit_x"), [(1e9, 1e-9), (1e-9, 1e3)])
def test_units_transform_the_draws_of_a_chain(unit_y, unit_x):
    data = draw_unequal_data(1, sizes=(5, 9, 3, 12, 7))
    moved = replace(data, y=unit_y * data.y, x=unit_x * data.x)
    options = {"draws": 2000, "num_warmup": 200, "num_advi_steps": 0, "progress_bar": False}
    one, other = (fit(d, seed=s, **options)["posterior"] for d, s in ((data, 1), (moved, 2)))
    for site in ("mu_alpha", "sigma_alpha", "mu_beta", "sigma_beta", "eps"):
        unit = unit_y / unit_x if "beta" in site else unit_y
        expected = one[site].values.reshape(4, -1)
        found = other[site].values.reshape(4, -1) / unit
        error = 4.5 * max(float(az.mcse(expected, method=m)) for m in ("mean", "sd"))
        assert_moments(found, expected.mean(), expected.std(ddof=1), error)


# Any frame

text = st.text(max_size=6) | st.sampled_from(
    ["", " ", "a\0b", "\ud800", "São", "東京", "🙂", "NaN"]
)
label = st.one_of(text, st.integers(-(2**70), 2**70), st.booleans(), st.floats(allow_nan=False))
numbers = st.floats(-1e9, 1e9, width=32) | st.sampled_from([0.0, 1.0, -0.0, 1e-30, 1e30])


@st.composite
def frames(draw):
    """Three groups of one to four rows and one predictor, under any names."""
    labels = draw(st.lists(label, min_size=3, max_size=3, unique_by=lambda v: (type(v), v)))
    # Surrogates are no column names to pandas.
    names = draw(st.lists(text.filter(str.isprintable), min_size=3, max_size=3, unique=True))
    rows = [g for g in labels for _ in range(draw(st.integers(1, 4)))]
    rows = draw(st.permutations(rows))
    columns = [draw(st.lists(numbers, min_size=len(rows), max_size=len(rows))) for _ in range(2)]
    group = pd.Series(rows, dtype=object)
    return pd.DataFrame(dict(zip(names, (*columns, group), strict=True))), names


@pytest.mark.slow
@given(frames(), st.sampled_from(MODELS))
@settings(max_examples=30)
def test_any_frame_that_passes_the_checks_gives_finite_results_under_its_labels(
    tmp_path_module, made, model
):
    frame, (y, x, group) = made
    options = {"draws": 20, "num_warmup": 20, "chains": 2, "num_advi_steps": 0}
    refused = ""
    try:
        data = GroupedData.from_frame(frame, y=y, x=[x], group=group)
        tree = fit(data, model=model, progress_bar=False, **options)
    except (TypeError, ValueError) as error:
        refused = str(error)
    assert list(frame.columns) == [y, x, group]
    if refused:
        assert refused.startswith("Expected ")
        return
    labels = stored(data.labels.groups).tolist()
    for site, draws in tree["posterior"].items():
        assert np.isfinite(draws.values).all(), site
        if model != "pooled" and site in ("alpha", "beta"):
            assert draws[draws.dims[2]].values.tolist() == labels
    assert len(set(labels)) < 3 or len(predict(tree, frame)) == len(frame)
    loaded = load_fit(save_fit(tree, tmp_path_module / "fit.nc"))
    assert loaded.identical(tree)
