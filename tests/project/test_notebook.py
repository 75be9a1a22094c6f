"""The notebook is the script, ran clean, and names no machine."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jupytext
import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
SCRIPT, NOTEBOOK = SCRIPTS / "compare_pooling.py", SCRIPTS / "compare_pooling.ipynb"
FIGURES = ("shrinkage", "forest", "comparison", "ppc", "uranium", "prior_posterior")


@pytest.fixture(scope="module")
def cells():
    return json.loads(NOTEBOOK.read_text())["cells"]


def test_the_notebook_was_made_from_the_script(cells):
    """Else scripts/notebook has not been run since the script changed."""
    script = [(cell.cell_type, cell.source) for cell in jupytext.read(SCRIPT).cells]
    notebook = [(cell["cell_type"], "".join(cell["source"])) for cell in cells]
    assert notebook == script


def test_every_cell_ran_in_order_and_none_failed(cells):
    counts = [cell["execution_count"] for cell in cells if cell["cell_type"] == "code"]
    assert counts == list(range(1, len(counts) + 1))
    for cell in cells:
        for output in cell.get("outputs", []):
            assert output["output_type"] != "error"
            assert output.get("name") != "stderr", output


def test_it_names_no_folder_of_a_machine(cells):
    text = json.dumps([{**cell, "outputs": _texts(cell)} for cell in cells])
    assert not re.search(r"/(home|root|tmp|work|Users|site-packages)/", text)


def _texts(cell):
    """Outputs without the pictures."""
    return [
        {k: v for k, v in (output.get("data") or output).items() if not k.startswith("image/")}
        for output in cell.get("outputs", [])
    ]


@pytest.mark.slow
def test_the_script_runs_from_top_to_bottom(tmp_path):
    """With fewer draws and folds than the notebook, whose outputs show that the whole ran."""
    (tmp_path / "figures").mkdir()
    text = SCRIPT.read_text()
    for written, fewer in (('"draws": 1000', '"draws": 400'), ("folds=10", "folds=2")):
        assert text.count(written) == 1
        text = text.replace(written, fewer)
    (tmp_path / SCRIPT.name).write_text(text)
    done = subprocess.run(
        [sys.executable, SCRIPT.name],
        cwd=tmp_path,
        env={**os.environ, "MPLBACKEND": "Agg", "PYTHONPATH": str(SCRIPTS.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for name in FIGURES:
        assert (tmp_path / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "the draws can be trusted" in done.stdout
