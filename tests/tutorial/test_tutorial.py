"""The tutorial end to end: its files, its numbers, its conclusions, its exit status."""

import json
import os
import subprocess
import sys
from pathlib import Path

import arviz as az
import matplotlib
import numpy as np
import pytest
from typer.testing import CliRunner

from radon_numpyro.cli import app as cli
from radon_numpyro.data.radon import load_radon
from radon_numpyro.tutorial import reproduction as tutorial

matplotlib.use("Agg")
pytestmark = pytest.mark.slow

SEED = "4"
FIGURES = ("elbo", "advi_vs_nuts", "trace", "county_lines")
FILES = {"hierarchical.nc", "individual.nc", "summary.json", *(f"{f}.png" for f in FIGURES)}
# Exact posterior of the population: mean and sd.
EXACT = {
    "mu_alpha": (1.4920, 0.0511),
    "mu_beta[floor]": (-0.6485, 0.0822),
    "sigma_alpha": (0.3250, 0.0454),
    "sigma_beta[floor]": (0.2595, 0.1290),
    "eps": (0.7206, 0.0181),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One run of the command, as a user types it."""
    out = tmp_path_factory.mktemp("run") / "made by it"
    result = CliRunner().invoke(
        cli.app,
        ["reproduce", "--out", str(out), "--quick", "--draws", "1000", "--seed", SEED],
        env={"COLUMNS": "200"},
    )
    return result, out


def test_it_ends_well_and_writes_every_file(run):
    result, out = run
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert {path.name for path in out.iterdir()} == FILES
    for name in FIGURES:
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert f"{name}.png" in result.output.replace("\n", "")
    assert "mu_beta[floor]" in result.output
    summary = json.loads((out / "summary.json").read_text())
    assert result.exit_code == (0 if summary["ok"] else 3)


def test_the_conclusions_hold_but_for_the_published_rmsd(run):
    summary = json.loads((run[1] / "summary.json").read_text())
    holds = {c["claim"]: c["holds"] for c in summary["conclusions"]}
    assert len(holds) == 7
    assert [claim for claim, held in holds.items() if not held] == [
        "RMSD 0.13 (individual) and 0.08 (hierarchical)."
    ]
    rmsd = summary["rmsd"]["posterior-mean line, houses seen"]
    assert rmsd["individual"] < rmsd["hierarchical"] < rmsd["pooled"]


def test_the_population_agrees_with_the_exact_posterior(run):
    parameters = json.loads((run[1] / "summary.json").read_text())["parameters"]
    for name, (mean, sd) in EXACT.items():
        found = parameters[name]
        assert found["ess_bulk"] > 200
        assert abs(found["mean"] - mean) < 4 * found["mcse_mean"] + 5e-5, name
        assert found["sd"] == pytest.approx(sd, rel=0.15), name


def test_advi_understates_the_scales_and_says_what_it_is_good_for(run):
    summary = json.loads((run[1] / "summary.json").read_text())
    for name in ("sigma_alpha", "sigma_beta[floor]"):
        assert summary["parameters"][name]["advi_sd"] < 0.7 * summary["parameters"][name]["sd"]
    assert summary["diagnoses"]["hierarchical"]["advi"].startswith("only to start NUTS")


def test_the_published_recipe_is_not_trusted(run):
    diagnosis = json.loads((run[1] / "summary.json").read_text())["diagnoses"]
    assert not diagnosis["as published (centred)"]["ok"]
    least = diagnosis["as published (centred)"]["min_ess"]
    assert diagnosis["hierarchical, non-centred"]["min_ess"] > 2 * least
    assert diagnosis["hierarchical"]["min_ess"] > 5 * least


def test_every_method_is_held_against_integration(run):
    """Two routes to one posterior: the run that converged agrees, within what chance allows."""
    result, out = run
    summary = json.loads((out / "summary.json").read_text())
    methods = summary["methods"]
    assert len(methods) == 3
    assert "two_routes" in result.output
    for name in ("hierarchical", "hierarchical, non-centred"):
        assert methods[name]["two_routes"] < 4
        said = f"largest difference {methods[name]['two_routes']:.1f} standard errors"
        assert said in summary["diagnoses"][name]["routes"]


def test_the_saved_fits_load_with_labels(run):
    tree = az.from_netcdf(run[1] / "hierarchical.nc")
    counties = load_radon().labels.groups
    assert tuple(tree["posterior"]["alpha"].coords["county"].values) == counties
    assert tree["posterior"]["beta"].dims == ("chain", "draw", "county", "predictor")
    assert tree.attrs["model"] == "hierarchical"
    assert f"seed={SEED}" in tree.attrs["call"]
    individual = az.from_netcdf(run[1] / "individual.nc")
    assert tuple(individual["posterior"].coords["county"].values) == tutorial.COUNTIES
    assert np.isfinite(individual["posterior"]["alpha"]).all()


def test_a_folder_that_cannot_be_made_is_refused_before_any_work(tmp_path):
    file = tmp_path / "file"
    file.write_text("not a folder")
    result = CliRunner().invoke(cli.app, ["reproduce", "--out", str(file / "sub")])
    assert result.exit_code == 2
    assert "to be in a folder; got the file" in " ".join(result.output.replace("│", " ").split())


def test_the_installed_command_shows_its_help(tmp_path):
    command = Path(sys.executable).with_name("radon-numpyro")
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    shown = subprocess.run(
        [command, "reproduce", "--help"], capture_output=True, text=True, env=environment
    )
    assert shown.returncode == 0
    for option in ("--out", "--seed", "--draws", "--chains", "--quick"):
        assert option in shown.stdout
    assert not (tmp_path / "radon-numpyro").exists(), "asking for help must not write a cache"
