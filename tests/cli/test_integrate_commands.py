"""The commands by integration, from a file to a page, as an analyst types them."""

import json

import numpy as np
import pandas as pd
import pytest
from test_formula_commands import run

from radon_numpyro import load_fit, load_radon

FORMULA = "radon ~ floor + (1 + floor || county)"


@pytest.fixture(scope="module")
def houses(tmp_path_factory):
    data = load_radon()
    labels = np.array(data.labels.groups)[data.group]
    frame = pd.DataFrame({"radon": data.y, "floor": data.x[:, 0], "county": labels})
    path = tmp_path_factory.mktemp("houses") / "houses.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def fitted(houses, tmp_path_factory):
    out = tmp_path_factory.mktemp("results") / "out"
    options = ["--method", "integrate", "--seed", "3", "--nodes", "1024", "--out", out]
    return run("fit", houses, FORMULA, *options), out


def test_the_table_has_no_rhat_and_the_verdict_its_nodes(fitted):
    result, out = fitted
    assert result.exit_code == 0, result.stderr
    assert "r_hat" not in result.stdout
    assert "ess" in result.stdout
    assert "weighted nodes, Pareto k-hat" in result.stdout
    assert "Device: CPU (computed in NumPy)." in result.stderr
    assert load_fit(out / "fit.nc")["nodes"].sizes["node"] <= 1024
    assert list(pd.read_csv(out / "parameters.csv", index_col=0)) == [
        "mean",
        "sd",
        "lower",
        "upper",
        "ess_bulk",
        "ess_tail",
    ]
    assert "--method integrate" in load_fit(out / "fit.nc").attrs["command"]


def test_what_comes_after_takes_it(fitted, tmp_path):
    _, out = fitted
    new = tmp_path / "new.csv"
    pd.DataFrame({"county": ["CASS", "ELSEWHERE"], "floor": [1, 0]}).to_csv(new, index=False)
    predicted = run("predict", out / "fit.nc", new, "--new-groups", "population")
    assert predicted.exit_code == 0, predicted.stderr
    assert len(predicted.stdout.splitlines()) == 3
    page = tmp_path / "page.html"
    assert run("report", out / "fit.nc", "--out", page).exit_code == 0
    assert "weighted nodes" in page.read_text(encoding="utf-8")


def test_json_has_what_there_is(houses, tmp_path):
    options = ["--method", "auto", "--out", tmp_path, "--json"]
    record = json.loads(run("fit", houses, FORMULA, *options).stdout)
    diagnosis = record["diagnosis"]
    assert record["ok"]
    assert diagnosis["max_rhat"] is None
    assert diagnosis["advi"] is None
    assert diagnosis["two_routes"] is None
    assert diagnosis["min_ess"] >= 1000
    assert diagnosis["num_draws"] == 4000
    assert record["parameters"]["eps"].keys() == {
        "mean",
        "sd",
        "lower",
        "upper",
        "ess_bulk",
        "ess_tail",
    }


def test_a_checkpoint_is_refused_and_none_is_begun(houses, tmp_path):
    folder = tmp_path / "run"
    options = ["--method", "integrate", "--checkpoint", folder, "--out", tmp_path]
    result = run("fit", houses, FORMULA, *options)
    assert result.exit_code == 2
    assert "Expected no checkpoint with --method integrate" in result.stderr
    assert not folder.exists()


def test_a_verdict_that_fails_is_no_success(tmp_path):
    """Four correlated coefficients in three groups, under priors that say nothing."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"g": np.repeat(["a", "b", "c"], 8)})
    for name in ("u", "v", "w"):
        frame[name] = rng.normal(size=24)
    own = rng.normal(size=(3, 4))[np.repeat([0, 1, 2], 8)]
    frame["y"] = own[:, 0] + (own[:, 1:] * frame[["u", "v", "w"]]).sum(axis=1)
    frame["y"] += rng.normal(size=24)
    frame.to_csv(tmp_path / "few.csv", index=False)
    options = ["--method", "integrate", "--nodes", "256", "--priors", "tutorial"]
    formula = "y ~ u + v + w + (1 + u + v + w | g)"
    result = run("fit", tmp_path / "few.csv", formula, *options, "--out", tmp_path)
    assert result.exit_code == 3, result.stderr
    assert "The integration over the scales is not reliable" in result.stdout
    assert "Try: --method auto, which goes on with NUTS" in result.stdout
