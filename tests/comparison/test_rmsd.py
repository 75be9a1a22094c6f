"""Deviations from rows that were seen, by hand."""

import arviz as az
import numpy as np
import pytest
from designs import priors_of, simulated
from test_loo import radon_fit

from radon_numpyro import fit
from radon_numpyro.comparison.rmsd import rmsd_in_sample, rmsd_per_draw
from radon_numpyro.data.radon import load_radon


@pytest.fixture
def tree():
    """Two chains of three draws of lines of two towns, for four rows."""
    rng = np.random.default_rng(8)
    contents = {
        "posterior": {
            "alpha": rng.normal(2, 1, (2, 3, 2)),
            "beta": rng.normal(0, 3, (2, 3, 2, 1)),
            "eps": rng.uniform(1, 2, (2, 3, 2)),
        },
        "observed_data": {"y": np.array([1.0, 4.0, 2.0, -3.0])},
        "constant_data": {
            "x": np.array([[0.0], [1.0], [2.0], [0.5]]),
            "group_index": np.array([1, 0, 1, 1]),
            "count": np.array([1.0, 3.0]),
        },
    }
    dims = {
        "alpha": ["town"],
        "eps": ["town"],
        "beta": ["town", "predictor"],
        "y": ["row"],
        "x": ["row", "predictor"],
        "group_index": ["row"],
        "count": ["town"],
    }
    coords = {"town": ["b", "a"], "predictor": ["z"]}
    tree = az.from_dict(contents, dims=dims, coords=coords)
    tree.attrs |= {"predictors": '["z"]', "model": "individual"}
    return tree


def test_per_draw_by_hand(tree):
    posterior, rows = tree["posterior"], tree["constant_data"]
    y, index = tree["observed_data"]["y"].values, rows["group_index"].values
    line = posterior["alpha"].values[..., index]
    line = line + rows["x"].values[:, 0] * posterior["beta"].values[..., index, 0]
    per_draw = np.sqrt(((y - line) ** 2).mean(-1))
    np.testing.assert_allclose(rmsd_per_draw(tree), per_draw)
    one_town = np.sqrt(((y - line)[..., [0, 2, 3]] ** 2).mean(-1))
    np.testing.assert_allclose(rmsd_per_draw(tree, ["a"]), one_town)


def test_per_draw_needs_rows_draws_and_known_groups(tree):
    with pytest.raises(ValueError, match="groups of the fit; got \\['c'\\]"):
        rmsd_per_draw(tree, ["c"])
    without = tree.copy()
    without["posterior"] = tree["posterior"].to_dataset().drop_vars("alpha")
    with pytest.raises(ValueError, match="draws of the coefficients; got a fit without them"):
        rmsd_per_draw(without)
    del tree["observed_data"]
    with pytest.raises(ValueError, match="a fit with rows; got one of statistics only"):
        rmsd_per_draw(tree)


def test_in_sample_deviation_of_the_individual_model_is_that_of_least_squares():
    data = load_radon()
    squares = 0.0
    for c in range(data.num_groups):
        rows = data.group == c
        design = np.column_stack([np.ones(rows.sum()), data.x[rows]])
        fitted = design @ np.linalg.lstsq(design, data.y[rows])[0]
        squares += ((data.y[rows] - fitted) ** 2).sum()
    found = rmsd_in_sample(radon_fit("individual")).value
    assert found == pytest.approx(np.sqrt(squares / data.num_rows), rel=1e-6)


def test_in_sample_deviation_is_that_of_the_drawn_coefficients_on_average():
    data, tree = load_radon(), radon_fit()
    posterior = tree["posterior"].to_dataset().mean(("chain", "draw"))
    line = posterior["alpha"].values[data.group]
    line = line + posterior["beta"].values[data.group, 0] * data.x[:, 0]
    error = data.y - line
    # The mean of 4000 draws has about a hundredth of the scatter of one, 0.2 for the rows.
    assert rmsd_in_sample(tree).value == pytest.approx(np.sqrt((error**2).mean()), abs=2e-4)


@pytest.mark.parametrize("model", ["hierarchical", "pooled"])
@pytest.mark.parametrize(
    "design",
    [
        {"slopes": ("dose", "week"), "without_mean": ("week",)},
        {"intercept": "fixed"},
        {"intercept": "none"},
    ],
    ids=["a slope about 0", "fixed intercept", "no intercept"],
)
def test_the_line_has_the_columns_that_do_not_vary(model, design):
    """Coefficients of each draw by name: a column left out would be taken for scatter."""
    data = simulated(num_groups=5, rows=4, seed=2, **design)
    names = data.labels.design
    tree = fit(data, model=model, priors=priors_of(names), method="integrate", draws=60)
    draws = tree["posterior"].to_dataset()
    columns = dict(zip(data.labels.predictors, data.x.T, strict=True)) | {"Intercept": 1.0}
    line = np.zeros((*draws["eps"].shape, data.num_rows))
    for name in {*names.varying, *names.population}:
        if name in names.fixed:
            value = draws["gamma"].sel(fixed=name).values[..., None]
        elif model == "pooled" and name not in names.population:
            continue
        elif name == "Intercept":
            value = draws["alpha"].values
        else:
            beta = draws["beta"]
            value = beta.sel({beta.dims[-1]: name}).values
        if model == "hierarchical" and name not in names.fixed:
            value = value[..., data.group]
        line += np.reshape(value, (*draws["eps"].shape, -1)) * columns[name]
    expected = np.sqrt(((data.y - line) ** 2).mean(-1))
    np.testing.assert_allclose(rmsd_per_draw(tree), expected)
    in_sample = np.sqrt(((data.y - line.mean((0, 1))) ** 2).mean())
    # 240 draws, whose mean is known to a fifteenth of a posterior standard deviation.
    assert rmsd_in_sample(tree).value == pytest.approx(in_sample, abs=0.03)
