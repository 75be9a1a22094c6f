"""Results of correlated coefficients: tables, predictions, further groups, files."""

import json

import numpy as np
import pytest
from fits import CORRELATED, correlated_fit, sites
from scipy import stats

from radon_numpyro import diagnose, load_fit, predict, save_fit, with_groups
from radon_numpyro.data.design import INTERCEPT
from radon_numpyro.results.contraction import prior_only
from radon_numpyro.results.estimates import Numbers
from radon_numpyro.results.fit_reader import read_data, read_design
from radon_numpyro.results.prediction import predictive_draws
from radon_numpyro.results.summary import group_table, parameter_table

LEVELS = ["level[high], level[low]", "level[high], level[mid]", "level[low], level[mid]"]
PAIRS = {
    "pair": ["Intercept, a"],
    "blocks": ["Intercept, a", "b, c"],
    "three": ["Intercept, a", "Intercept, b", "a, b"],
    "levels": LEVELS,
    "reference": LEVELS,
}


def draws_of(tree):
    """Sites of the posterior with all chains in one axis, the first."""
    posterior = tree["posterior"].to_dataset().stack(sample=("chain", "draw"))
    return {name: posterior[name].transpose("sample", ...).values for name in posterior}


def covariances(tree):
    """Covariance of the coefficients that vary, of each draw, shape (S, P, P)."""
    draws = draws_of(tree)
    parts = [draws["sigma_alpha"][:, None]] if "sigma_alpha" in draws else []
    sd = np.concatenate([*parts, draws["sigma_beta"]], axis=1)
    return sd[:, :, None] * draws["correlation"] * sd[:, None, :]


@pytest.mark.parametrize(
    ("name", "method"), [("blocks", "marginal"), *((name, "integrate") for name in CORRELATED)]
)
def test_tables_have_each_correlation_once(name, method):
    """A matrix has each twice, and ones, of which R-hat is not a number."""
    tree = correlated_fit(name, method)
    diagnosis, design = diagnose(tree), read_design(tree)
    table = parameter_table(tree, diagnosis, 0.9)
    kinds = table.index.str.partition("[").get_level_values(0)
    assert list(table.index[kinds == "correlation"]) == [f"correlation[{p}]" for p in PAIRS[name]]
    assert np.isfinite(table).all(axis=None)
    # Locations, then what is said of the spread between groups, then eps.
    assert list(dict.fromkeys(kinds))[-3:] == ["sigma_beta", "correlation", "eps"]
    matrix = tree["posterior"]["correlation"]
    for pair in PAIRS[name]:
        (first, second) = (x for x in design.varying if x in pair.split(", "))
        draws = matrix.sel(coefficient=first, coefficient_other=second).values.ravel()
        row = table.loc[f"correlation[{pair}]"]
        expected = [draws.mean(), draws.std(), *np.quantile(draws, (0.05, 0.95))]
        np.testing.assert_allclose(row[["mean", "sd", "lower", "upper"]], expected, rtol=1e-10)
    assert tuple(group_table(tree, 0.9)["coefficient"].unique()) == tuple(
        "intercept" if name == INTERCEPT else name for name in design.varying
    )


@pytest.mark.parametrize("name", CORRELATED)
def test_lines_of_a_group_not_seen_covary_as_the_formula_says(name):
    """Drawn one coefficient at a time, its lines would be too narrow or too wide everywhere."""
    tree = correlated_fit(name)
    design, frame = read_design(tree), sites().iloc[[0, 1]].assign(site="new")
    frame[["a", "b", "c"]] = [[1.5, 1.0, -1.0], [1.0, 1.2, 0.8]]
    frame["level"] = ["low", "mid"]
    drawn = predictive_draws(tree, frame, kind="mean", new_groups="population", seed=5)
    line = drawn["predictions"]["mean"].values.reshape(-1, 2)
    draws, covariance = draws_of(tree), covariances(tree)
    x = drawn["predictions_constant_data"]["x"].values
    columns = dict(zip(design.predictors, x.T, strict=True)) | {INTERCEPT: np.ones(2)}
    z = np.stack([columns[column] for column in design.varying])
    mean = sum(draws["gamma"][:, [k]] * columns[n] for k, n in enumerate(design.fixed))
    mean = mean + sum(draws["mu_beta"][:, [k]] * columns[n] for k, n in enumerate(design.means))
    mean = mean + (draws["mu_alpha"][:, None] if "mu_alpha" in draws else 0.0)
    deviation = line - mean
    expected = np.einsum("pi,spq,qj->sij", z, covariance, z)
    products = deviation[:, :, None] * deviation[:, None, :]
    error = (products - expected).std(0) / np.sqrt(len(products))
    assert (np.abs((products - expected).mean(0)) < 4 * error).all()
    # The test would see it if the coefficients were drawn one at a time.
    variances = np.einsum("spp->sp", covariance)
    independent = np.einsum("pi,sp,pj->sij", z, variances, z)
    assert (np.abs((products - independent).mean(0)) > 5 * error).any()
    # The table has the spread of the deviations in closed form, and the means integrated out, over
    # all nodes: the draws here are some of these, so that their averages have errors.
    table = predict(tree, frame, kind="mean", new_groups="population")
    between, of_mean = np.einsum("sii->si", expected), mean.var(0)
    assert (np.abs(table["mean"] - mean.mean(0)) < 4 * np.sqrt(of_mean / len(mean))).all()
    error = 4 * between.std(0) + 6 * of_mean
    difference = table["sd"] ** 2 - between.mean(0) - of_mean
    assert (np.abs(difference) < error / np.sqrt(len(mean))).all()


@pytest.mark.parametrize("name", ["blocks", "three"])
def test_a_combination_of_coefficients_in_groups_not_seen(name):
    """The report's sentence of the line at the means has the covariance in it."""
    tree = correlated_fit(name)
    design, draws = read_design(tree), draws_of(tree)
    weights = np.array([1.0, 2.0, -1.0, 0.5])
    columns = dict(zip((INTERCEPT, *design.predictors), weights, strict=True))
    average, new = Numbers(tree, 0.9).of_population(weights)
    mu = draws["mu_alpha"] + sum(
        draws["mu_beta"][:, k] * columns[x] for k, x in enumerate(design.means)
    )
    mu = mu + sum(draws["gamma"][:, k] * columns[x] for k, x in enumerate(design.fixed or ()))
    own = np.array([columns[x] for x in design.varying])
    variance = np.einsum("p,spq,q->s", own, covariances(tree), own)
    assert average.mean == pytest.approx(mu.mean(), rel=1e-9)
    assert new.sd == pytest.approx(np.sqrt(variance.mean() + mu.var()), rel=1e-9)
    inside = stats.norm.cdf((new.high - mu) / variance**0.5)
    inside = inside - stats.norm.cdf((new.low - mu) / variance**0.5)
    assert inside.mean() == pytest.approx(0.9, abs=1e-6)


def test_further_groups_are_those_of_the_sites():
    tree = correlated_fit("levels")
    names = ("prior", "prior_predictive", "posterior_predictive", "log_likelihood", "log_prior")
    more = with_groups(tree, *names, seed=2)
    draws, data, design = draws_of(tree), read_data(tree), read_design(tree)
    line = np.zeros((800, data.num_rows))
    for k, x in enumerate(design.slopes):
        line += draws["beta"][:, data.group, k] * data.x[:, design.predictors.index(x)]
    expected = stats.norm.logpdf(data.y, line, draws["eps"][:, None])
    found = more["log_likelihood"]["y"].values.reshape(expected.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    # A correlation among the outcomes would have no row, and ArviZ's figures would fail.
    assert [*more["posterior_predictive"].data_vars] == ["y"]
    noise = more["posterior_predictive"]["y"].values.reshape(line.shape) - line
    assert (noise / draws["eps"][:, None]).std() == pytest.approx(1.0, abs=0.02)
    # LKJ(2) of three: one correlation alone is 2 Beta(2.5, 2.5) - 1.
    for first, second in ((0, 1), (0, 2), (1, 2)):
        prior = more["prior"]["correlation"].values.reshape(-1, 3, 3)[:, first, second]
        assert stats.kstest((1 + prior) / 2, stats.beta(2.5, 2.5).cdf).pvalue > 1e-4
    determinant = np.linalg.slogdet(draws["correlation"])[1]
    log_prior = more["log_prior"]["correlation"].values.ravel()
    np.testing.assert_allclose(np.diff(log_prior), np.diff(determinant), atol=1e-8)


def test_a_correlation_of_which_the_data_say_nothing_is_found():
    """Quantiles of the prior stand in for a posterior that has learnt nothing."""
    tree = correlated_fit("blocks").copy(deep=True)
    checks = diagnose(tree).table
    assert prior_only(tree, checks) == ()
    prior = (2 * stats.beta(2, 2).ppf((np.arange(800) + 0.5) / 800) - 1).reshape(2, 400)
    for first, second in ((0, 1), (1, 0)):
        tree["posterior"]["correlation"][..., first, second] = prior
    (found,) = prior_only(tree, checks)
    assert "no information about correlation[Intercept, a]" in found.what
    assert "||" in found.advice


def test_a_fit_comes_back_from_its_file(tmp_path):
    for name, method in (("blocks", "marginal"), ("blocks", "integrate"), ("levels", "integrate")):
        tree = correlated_fit(name, method)
        assert load_fit(save_fit(tree, tmp_path / f"{name}_{method}.nc")).identical(tree)


def spoil_one(value):
    def spoil(tree):
        tree["posterior"]["correlation"][0, 3, 0, 1] = value

    return spoil


def spoil_both(value, first=0, second=1):
    def spoil(tree):
        for i, j in ((first, second), (second, first)):
            tree["posterior"]["correlation"][0, 3, i, j] = value

    return spoil


def spoil_design(**changes):
    def spoil(tree):
        tree.attrs["design"] = json.dumps(json.loads(tree.attrs["design"]) | changes)
        tree.attrs["formula"] = ""

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_both(np.nan), r"correlation of .* to be finite; got 2 of"),
        (spoil_one(0.123), r"correlation matrices: symmetric.* got 1 of 800 draws"),
        (spoil_both(1.2), r"positive semidefinite.* got 1 of 800 draws"),
        (spoil_both(0.9, 2, 2), r"ones on the diagonal.* got 1 of 800 draws"),
        (spoil_both(0.1, 0, 3), r"zeros for coefficients that are independent; got 1 of 800"),
        (
            spoil_design(correlated=[["Intercept", "d"]]),
            r"blocks of at least two columns",
        ),
        (spoil_design(correlated="Intercept"), r"blocks of columns that correlate; got"),
        (spoil_design(correlated=[]), r"without correlated coefficients; got one"),
    ],
    ids=["nan", "lopsided", "beyond 1", "diagonal", "across", "unknown", "text", "none"],
)
def test_damaged_correlations_are_refused(tmp_path, spoil, message):
    tree = correlated_fit("blocks").copy(deep=True)
    spoil(tree)
    with pytest.raises(ValueError, match=message):
        save_fit(tree, tmp_path / "fit.nc")
