"""Make data and fits that several tests use. Each fit is made once in a process."""

from functools import cache

import arviz as az
import numpy as np
import pandas as pd
import xarray as xr
from conftest import draw_unequal_data

from radon_numpyro import (
    GroupedData,
    GroupStatistics,
    Priors,
    fit,
    fit_advi,
    load_radon,
    sample_nuts,
)

TUTORIAL = Priors.tutorial()
THREE_COUNTIES = ("CASS", "CROW WING", "FREEBORN")


@cache
def radon():
    return GroupStatistics.from_data(load_radon())


@cache
def three_counties():
    """Return data of CASS, which has no upstairs measurement, and two counties that have some."""
    return load_radon().select(THREE_COUNTIES)


@cache
def line(num_rows=200):
    """Simulate rows about one line, in three groups, with a centred predictor."""
    rng = np.random.default_rng(4)
    x = rng.normal(0.0, 3.0, size=num_rows)
    y = 2.0 - 0.5 * (x - x.mean()) + rng.normal(0.0, 0.7, size=num_rows)
    return GroupedData.from_arrays(y, x - x.mean(), rng.choice(["a", "b", "c"], size=num_rows))


@cache
def radon_advi(seed=0):
    return fit_advi(radon(), priors=TUTORIAL, seed=seed, progress_bar=False)


@cache
def three_counties_advi(seed=0):
    return fit_advi(three_counties(), "individual", priors=TUTORIAL, seed=seed, progress_bar=False)


@cache
def line_advi():
    return fit_advi(line(), "pooled", progress_bar=False)


@cache
def line_nuts():
    return sample_nuts(line(), line_advi(), draws=500, num_warmup=150, progress_bar=False)


@cache
def radon_nuts(method):
    return sample_nuts(
        radon(), radon_advi(), method=method, priors=TUTORIAL, draws=2000, progress_bar=False
    )


@cache
def radon_tree(model):
    return fit(load_radon(), model=model, priors=TUTORIAL, progress_bar=False)


@cache
def radon_nodes(model):
    return fit(load_radon(), model=model, priors=TUTORIAL, method="integrate")


@cache
def three_counties_nuts():
    return sample_nuts(
        three_counties(), three_counties_advi(), priors=TUTORIAL, draws=2000, progress_bar=False
    )


@cache
def towns(num_predictors=1):
    """Draw unequal groups, of which one has a single row and one has no rows."""
    return draw_unequal_data(num_predictors, sizes=(5, 1, 9, 0, 3))


@cache
def towns_guide():
    """Fit the closed-form guide to :func:`towns`."""
    return fit_advi(towns(), priors=TUTORIAL, num_steps=0, progress_bar=False)


@cache
def towns_fit(model="hierarchical", num_predictors=1, *, statistics_only=False, **options):
    """Fit :func:`towns` from the closed-form start, which takes a second or two."""
    data = towns(num_predictors)
    data = GroupStatistics.from_data(data) if statistics_only else data
    options = {"draws": 400, "num_warmup": 200} | options
    return fit(data, model=model, num_advi_steps=0, progress_bar=False, **options)


def fit_of_size(model, num_predictors):
    """Fit :func:`towns`: of the hierarchical model NUTS draws for one predictor, else integration.

    So both kinds of fit are tested, and only one is compiled.
    """
    by_nodes = model == "hierarchical" and num_predictors != 1
    return towns_fit(model, num_predictors, **({"method": "integrate"} if by_nodes else {}))


@cache
def sites():
    """Simulate sites with strongly correlated coefficients in two blocks, and a category."""
    rng = np.random.default_rng(4)
    site = np.repeat(np.arange(30), 8)
    a, b, c = rng.normal(size=(3, len(site)))
    level = rng.integers(0, 3, len(site))
    normal = rng.multivariate_normal
    intercept, slope = normal([10.0, 2.0], [[4.0, 1.6], [1.6, 1.0]], 30).T
    of_b, of_c = normal([0.5, 0.0], [[1.0, -0.7], [-0.7, 1.0]], 30).T
    of_level = normal([0.0, 1.0, 2.0], 0.3 * np.eye(3) + 0.5, 30)
    y = intercept[site] + slope[site] * a + of_b[site] * b + of_c[site] * c
    columns = {
        "y": y + 0.8 * rng.normal(size=len(site)),
        "z": of_level[site, level] + 0.5 * rng.normal(size=len(site)),
        "a": a,
        "b": b,
        "c": c,
        "level": np.array(["high", "low", "mid"])[level],
        "site": [f"site {k}" for k in site],
    }
    return pd.DataFrame(columns)


CORRELATED = {
    "pair": "y ~ a + b + c + (1 + a | site)",
    "blocks": "y ~ a + b + c + (1 + a | site) + (0 + b + c | site)",
    "three": "y ~ a + b + c + (1 + a + b | site)",
    "levels": "z ~ 0 + level + (0 + level | site)",
    "reference": "z ~ level + (0 + level | site)",
}


@cache
def correlated_fit(name="blocks", method="integrate"):
    """Fit a model with correlated coefficients to :func:`sites`, with 800 draws."""
    chains = {} if method == "integrate" else {"num_warmup": 200, "num_advi_steps": 0}
    brief = {"draws": 400, "chains": 2, "progress_bar": False}
    return fit(CORRELATED[name], sites(), method=method, **brief, **chains)


# Valid names that look like markup or formulas, or have other scripts, other writing directions,
# control characters or excessive length.
STRANGE_COLUMNS = ("$y$ <b>&amp;", "</title><script>document.title = 'x'</script>", "a/b \"'>")
STRANGE_LABELS = (
    "<script>document.title = 'label'</script>",
    '"><img src=x onerror="document.title = 1">',
    r"$\frac$ & $x_{1}^{$",
    "שלום עולם",
    "東京都千代田区",
    "long" * 60,
    "long" * 60 + "er",
    "two\nlines\x00\x0b",
    "]]> --> <!-- &amp;",
    "\N{RIGHT-TO-LEFT OVERRIDE}turned",
)
TAME_COLUMNS = ("height", "age", "village")
TAME_LABELS = tuple(f"village {c}" for c in range(len(STRANGE_LABELS)))


@cache
def labelled_fit(columns=TAME_COLUMNS, labels=TAME_LABELS):
    """Fit the same numbers under given names, with a few draws."""
    rng = np.random.default_rng(7)
    code = np.repeat(np.arange(len(labels)), np.arange(2, len(labels) + 2))
    x = rng.normal(5.0, 2.0, size=len(code))
    y = 3.0 + rng.normal(0.0, 1.0, len(labels))[code] - 0.6 * x + rng.normal(0.0, 0.5, len(code))
    outcome, predictor, group = columns
    data = GroupedData.from_arrays(
        y, x, [labels[c] for c in code], outcome=outcome, predictors=predictor, group_name=group
    )
    tree = fit(data, num_advi_steps=0, draws=100, num_warmup=200, progress_bar=False)
    tree.attrs["command"] = f"radon-numpyro fit rows.csv --y '{outcome}'"
    return tree


def assert_same_tree(a, b):
    """Assert that trees agree bit for bit, attributes included.

    Attributes about durations, the time of creation and resumption may differ.
    """
    assert set(a.groups) == set(b.groups)
    for group in a.groups:
        x, y = a[group].to_dataset(), b[group].to_dataset()
        xr.testing.assert_equal(x, y)
        assert {n: v.dtype for n, v in x.variables.items()} == {
            n: v.dtype for n, v in y.variables.items()
        }
        aside = {"timings", "resumed", "created_at"}
        attrs = [
            {n: np.asarray(v).tolist() for n, v in z.attrs.items() if n not in aside}
            for z in (x, y)
        ]
        assert attrs[0] == attrs[1], f"{group}: {attrs[0].items() ^ attrs[1].items()}"


def assert_moments(draws, mean, sd, rounding=0.0):
    """Assert that mean and sd of draws (chain, draw) are within 4.5 Monte Carlo standard errors.

    The effective sample size is checked first, because standard errors are reliable only if the
    chains mix.
    """
    draws = np.asarray(draws, dtype=float)
    ess = min(az.ess(draws, method="bulk"), az.ess(draws, method="tail", prob=(0.05, 0.95)))
    assert ess > 200, f"effective sample size {ess:.0f}"
    for got, expected, method in ((draws.mean(), mean, "mean"), (draws.std(ddof=1), sd, "sd")):
        allowed = 4.5 * az.mcse(draws, method=method) + rounding
        assert abs(got - expected) < allowed, f"{method} {got:.6g}, not {expected} +- {allowed:.2g}"
