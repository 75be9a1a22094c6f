"""Examples of README and docs run as printed, and their commands, files and links exist."""

import json
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import fit_gpu
import numpy as np
import pandas as pd
import pytest

from radon_numpyro.results.estimates import Numbers

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = {p.name: p.read_text() for p in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
FORMULAS = PAGES["formulas.md"]


@pytest.mark.parametrize(
    "page", [p for p in PAGES if "```python" in PAGES[p] and p != "formulas.md"]
)
def test_the_python_examples_run_as_printed(page, monkeypatch, tmp_path):
    """One after another, as a reader types them."""
    monkeypatch.chdir(tmp_path)
    names = {"__name__": page}
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        for block in re.findall(r"```python\n(.*?)```", PAGES[page], flags=re.S):
            exec(compile(block, page, "exec"), names)
    assert names["tree"].attrs["complete"]
    if page == "large-data.md":
        assert names["statistics"].num_rows == len(names["frame"])


def test_the_readme_can_be_read_in_a_few_minutes():
    assert len(README.encode()) <= 7_000


def test_it_opens_with_the_two_commands_and_a_figure():
    commands = re.search(r"```console\n(.*?)```", README, flags=re.S).group(1)
    assert [line.split()[1] for line in commands.splitlines()] == [
        "./scripts/reproduce",
        "./scripts/test",
    ]
    assert README.index("./scripts/test") < README.index("![") < README.index("## ")


@pytest.mark.slow
def test_the_commands_lead_from_a_file_to_an_answer(tmp_path):
    """All but the installation, in a folder where the package lies, as in a checkout."""
    block = re.findall(r"```console\n(.*?)```", README, flags=re.S)[1]
    install, *commands = [line.removeprefix("$ ") for line in block.splitlines()]
    assert install.startswith("pip install")
    assert sum(command.startswith("radon-numpyro") for command in commands) == 4
    (tmp_path / "radon_numpyro").symlink_to(ROOT / "radon_numpyro")
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    for command in commands:
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    predictions = pd.read_csv(tmp_path / "predictions.csv")
    assert predictions["county"].tolist() == ["CASS", "HENNEPIN", "ELSEWHERE"]
    assert predictions["new_group"].tolist() == [False, False, True]
    assert "can be trusted" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("page", PAGES)
def test_files_it_names_exist(page):
    # Not those that a run makes.
    made = ("figures/summary.json",)
    for path in set(re.findall(r"(?<!/)\b(?:figures|scripts)/[\w./]*\w", PAGES[page])) - {*made}:
        assert (ROOT / path).exists(), path


def test_the_table_of_the_gpu_is_what_was_measured():
    """In float64; the status of the run was that all posteriors agreed."""
    measured = json.loads((ROOT / "figures" / "fit_gpu.json").read_text())
    rows = [row for row in measured["fits"] if row["dtype"] == "float64"]
    assert {row["device"] for row in rows} == {"cpu", "gpu"}
    assert all(row.get("agrees", True) for row in measured["fits"])
    limit = measured["settings"]["limit"]
    table = [f"| {' | '.join(fit_gpu.HEADINGS)} |", "| --- | --- | --- " + "| ---: " * 5 + "|"]
    assert "\n".join([*table, *(fit_gpu.line(row, limit) for row in rows)]) in PAGES["gpu.md"]


@pytest.fixture(scope="module")
def formulas():
    """Names of the examples of docs/formulas.md after they ran, one after another."""
    names = {"__name__": "formulas"}
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.chdir(ROOT)
        for block in re.findall(r"```python\n(.*?)```", FORMULAS, flags=re.S):
            exec(compile(block, "formulas.md", "exec"), names)
    return names


@pytest.mark.slow
@pytest.mark.parametrize(
    ("heading", "tree"),
    [("A worked example", "tree"), ("A worked example with a correlation", "correlated")],
)
def test_the_fits_of_the_examples_are_what_the_page_says(formulas, heading, tree):
    """Within a fifth of a posterior sd, for draws differ between processors."""
    (section,) = re.findall(rf"^## {heading}\n(.*?)^## ", FORMULAS, flags=re.M | re.S)
    rows = re.findall(r"^\| `(\S.*)` \| (\S+) \| (\S+) \| (\S+) to (\S+) \|", section, flags=re.M)
    parameters = Numbers(formulas[tree], 0.9).parameters()
    assert {name for name, *_ in rows} == set(parameters)
    for name, *printed in rows:
        draws = parameters[name]
        found = [draws.mean(), draws.std(), *np.quantile(draws, (0.05, 0.95))]
        allowed = 0.005 + 0.2 * draws.std()
        np.testing.assert_allclose(np.array(printed, float), found, atol=allowed, err_msg=name)


@pytest.mark.slow
def test_the_correlated_and_the_independent_fit_differ_as_the_page_says(formulas):
    fits = {name: formulas[name] for name in ("correlated", "independent")}
    table = formulas["compare"](fits, folds=0).table
    assert "differ by less than 1" in FORMULAS
    assert -1 < table["elpd_diff"].iloc[1] < 0


@pytest.mark.slow
def test_the_fits_with_uranium_are_what_the_page_says(formulas):
    sds = [float(fit["posterior"]["sigma_alpha"].mean()) for fit in formulas["fits"].values()]
    assert f"falls from {sds[0]:.2f} to {sds[1]:.2f}" in FORMULAS
    table = formulas["compare"](formulas["fits"], folds=0).table
    difference, error = -table["elpd_diff"].iloc[1], table["elpd_diff_se"].iloc[1]
    assert f"rises by {difference:.0f} (standard error {error:.0f})" in " ".join(FORMULAS.split())


def test_the_links_between_the_pages_lead_somewhere():
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for link, _, anchor in re.findall(r"\]\(([^)#:]+)(#([\w-]+))?\)", page.read_text()):
            target = page.parent / link
            assert target.exists(), f"{page.name}: {link}"
            if anchor:
                heads = re.findall(r"^#+ (.*)$", target.read_text(), flags=re.M)
                slugs = [re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in heads]
                assert anchor in slugs, f"{page.name}: {link}#{anchor}"
