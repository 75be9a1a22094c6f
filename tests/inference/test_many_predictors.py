"""More slopes than the marginal method samples in reasonable time: another method, said."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from radon_numpyro import Flat, compare, diagnose, fit, fit_advi, resume, sample_nuts, simulate
from radon_numpyro.cli import app as cli
from radon_numpyro.data.design import Design
from radon_numpyro.inference.settings import MAX_MARGINAL_SLOPES, choose_method
from radon_numpyro.report.document import html_report
from radon_numpyro.results.fit_files import load_fit, save_fit

FEW = {"draws": 4, "num_warmup": 60, "num_advi_steps": 0, "chains": 1, "max_tree_depth": 6}
FEW["progress_bar"] = False
REASON = "the marginal method takes at most 20 slopes that vary by group, and here there are 21"
REFUSED = (
    r"Expected method='noncentered' for 21 slopes that vary by group, or at most 20 such slopes, "
    r".*; got method='marginal'"
)


def rows_of(num_predictors, rows_per_group=8):
    return simulate(
        num_groups=4,
        rows_per_group=rows_per_group,
        mu_alpha=1.0,
        mu_beta=np.linspace(-1.0, 1.0, num_predictors),
        sigma_alpha=0.5,
        sigma_beta=np.full(num_predictors, 0.3),
        eps=0.8,
        seed=1,
    ).data


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("many") / "kept"


@pytest.fixture(scope="module")
def fitted(kept):
    """A hierarchical fit of 21 slopes, whose method was left open."""
    return fit(rows_of(21), checkpoint=kept, **FEW)


def test_many_slopes_take_the_noncentered_method_and_say_so(fitted, kept):
    """By the marginal method a step would take time like their number cubed."""
    assert fitted.attrs["method"] == "noncentered"
    assert fitted.attrs["method_reason"] == REASON
    assert resume(kept, progress_bar=False).attrs["method_reason"] == REASON
    again = fit(rows_of(21), checkpoint=kept, **FEW)
    assert (again.attrs["resumed"], again.attrs["method_reason"]) == (1, REASON)


def test_the_reason_is_in_the_file_and_in_the_report(fitted, tmp_path):
    tree = load_fit(save_fit(fitted, tmp_path / "fit.nc"))
    assert tree.attrs["method_reason"] == REASON
    assert f"noncentered ({REASON})" in html_report(tree)


def test_the_marginal_method_is_not_advised_where_it_is_refused(fitted):
    """Advice that ends in a refusal is worse than none."""
    diagnosis = diagnose(fitted)
    assert diagnosis.findings
    assert not any("marginal" in finding.advice for finding in diagnosis.findings)


def design_of(number):
    return Design.all_varying(tuple(f"x{k}" for k in range(number)))


@pytest.mark.parametrize(
    ("model", "method", "number", "expected"),
    [
        ("hierarchical", None, 20, ("marginal", "")),
        ("hierarchical", None, 21, ("noncentered", REASON)),
        ("hierarchical", "marginal", 20, ("marginal", "")),
        ("hierarchical", "noncentered", 21, ("noncentered", "")),
        ("hierarchical", "centered", 45, ("centered", "")),
        # Their draws are exact, and no chain runs.
        ("individual", None, 45, ("marginal", "")),
        ("pooled", "marginal", 45, ("marginal", "")),
    ],
)
def test_the_method_goes_by_the_number_of_slopes(model, method, number, expected):
    assert MAX_MARGINAL_SLOPES == 20
    assert choose_method(model, method, design_of(number)) == expected


def test_a_model_that_there_is_not_has_no_method():
    with pytest.raises(ValueError, match=r"^Expected model to be one of .*pooled; got 'nested'"):
        choose_method("nested", None, design_of(9))


def test_the_marginal_method_is_refused_before_any_work(monkeypatch):
    """Else the refusal would come after ADVI, or a run would last for hours."""
    guide = fit_advi(rows_of(21), num_steps=0, progress_bar=False)
    for work in (
        "inference.compute.device_choice.choose_device",
        "inference.sampling.fit_guide",
        "inference.nuts.sampler.draw_nuts",
    ):
        monkeypatch.setattr(f"radon_numpyro.{work}", None)
    with pytest.raises(ValueError, match=REFUSED):
        fit(rows_of(21), method="marginal", **FEW)
    with pytest.raises(ValueError, match=REFUSED):
        sample_nuts(rows_of(21), guide, method="marginal", draws=4)


def test_nuts_alone_takes_the_same_method():
    guide = fit_advi(rows_of(21), num_steps=0, progress_bar=False)
    few = {name: value for name, value in FEW.items() if name != "num_advi_steps"}
    assert sample_nuts(rows_of(21), guide, **few).method == "noncentered"


@pytest.mark.parametrize("model", [pytest.param("individual", marks=pytest.mark.slow), "pooled"])
def test_the_exact_models_take_any_number(model):
    tree = fit(rows_of(45, rows_per_group=60), model=model, **FEW | {"draws": 500})
    assert tree.attrs["method"] == "marginal"
    assert "method_reason" not in tree.attrs
    beta = tree["posterior"].to_dataset()["beta"].mean(("chain", "draw")).values.reshape(-1, 45)
    assert np.abs(beta.mean(0) - np.linspace(-1.0, 1.0, 45)).max() < 1.0


def test_the_command_says_which_method_it_took(tmp_path):
    frame = rows_of(21).to_frame()
    frame.to_csv(tmp_path / "rows.csv", index=False)
    options = [word for k in range(21) for word in ("--x", f"x{k + 1}")]
    options += ["--y", "y", "--group", "group", "--out", str(tmp_path), "--advi-steps", "0"]
    command = ["fit", str(tmp_path / "rows.csv"), *options, "--draws", "4", "--chains", "1"]
    refused = CliRunner().invoke(cli.app, [*command, "--method", "marginal"])
    assert refused.exit_code == 2
    assert "Error: Expected --method noncentered for 21 slopes that vary by group" in refused.stderr
    assert not (tmp_path / "fit.nc").exists()
    done = CliRunner().invoke(cli.app, [*command, "--json"])
    assert f"Method: noncentered ({REASON})." in done.stderr
    assert "mu_beta[x21]" in json.loads(done.stdout)["parameters"]


@pytest.mark.slow
def test_fits_of_many_predictors_are_compared():
    """Left-out rows are predicted from the scales, whatever method drew them."""
    data = rows_of(21, rows_per_group=25)
    # Under a flat prior there is no evidence, whose integral over 23 scales takes very long.
    settings = FEW | {"draws": 60, "priors": {"Intercept": Flat()}}
    fits = {model: fit(data, model=model, **settings) for model in ("pooled", "hierarchical")}
    table = compare(fits, folds=2).table
    assert table.index[0] == "hierarchical"
    assert np.isfinite(table[["elpd_loo", "elpd_kfold"]]).all(axis=None)
