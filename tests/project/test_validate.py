"""The validation runs, writes what it found, and judges it."""

import json
from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import validate
from validation import calibration
from validation.figure import figure

FIGURES = Path(__file__).parents[2] / "figures"


@pytest.mark.slow
def test_a_tiny_run_writes_the_result_and_the_figure(tmp_path, monkeypatch, agg):
    """Chains, exact draws and nodes; the other settings differ in their data."""
    few = ("pooled", "correlated", "integrated: known errors")
    monkeypatch.setattr(validate, "SETTINGS", {name: validate.SETTINGS[name] for name in few})
    monkeypatch.setattr("sys.argv", ["validate.py", "--quick", "--out", str(tmp_path)])
    status = validate.main()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["validation.json", "validation.png"]
    result = json.loads((tmp_path / "validation.json").read_text())
    assert status == (0 if result["ok"] else 1)
    models = result["calibration"]["models"]
    assert {name: len(model["quantities"]) for name, model in models.items()} == {
        "pooled": 4,
        "correlated": 29,
        "integrated: known errors": 17,
    }
    for model in models.values():
        assert len(model["points"]) == len(model["lower"]) == calibration.RANKS
        assert "log likelihood" in model["quantities"]
    methods = result["reference"]["methods"]
    assert list(methods) == ["marginal", "noncentered", "centered"]
    assert methods["marginal"]["agrees"]
    assert not methods["centered"]["mixes"]


def test_in_the_figure_of_the_whole_run_no_title_runs_into_another(agg):
    result = json.loads((FIGURES / "validation.json").read_text())
    models = result["calibration"]["models"]
    assert list(models) == list(validate.SETTINGS)
    made = figure(result)
    made.canvas.draw()
    titles = [
        next(text for text in ax.findobj(plt.Text) if text.get_text() == ax.get_title(loc="left"))
        for ax in made.axes[: len(models)]
    ]
    words = [" ".join(title.get_text().split("\n")[:-2]) for title in titles]
    assert words == list(models)
    for row in (titles[:5], titles[5:]):
        boxes = [title.get_window_extent() for title in row]
        assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
        assert boxes[-1].x1 <= made.bbox.x1
    assert len(made.legends[0].get_texts()) == 3


def test_ranks_that_are_not_uniform_are_named(monkeypatch):
    """Draws pulled to their mean rank the truth at the ends too often."""
    real = calibration.ranks

    def narrowed(setting, num_data_sets, seed):
        def pull(sites):
            return sites | {
                "eps": sites["eps"].mean(0) + 0.2 * (sites["eps"] - sites["eps"].mean(0))
            }

        return real(setting, num_data_sets, seed, distort=pull)

    monkeypatch.setattr(validate, "ranks", narrowed)
    result = validate.calibrate("pooled", 200, seed=1)
    assert "eps[0]" in result["outside"]
    monkeypatch.setattr(validate, "ranks", real)
    assert validate.calibrate("pooled", 200, seed=1)["outside"] == []


def test_the_figure_marks_what_is_outside(agg):
    points = np.linspace(0.1, 0.9, 9)
    quantity = {"difference": np.zeros(9).tolist(), "inside": True}
    model = {
        "data_sets": 7,
        "points": points.tolist(),
        "lower": (-0.1 * np.ones(9)).tolist(),
        "upper": (0.1 * np.ones(9)).tolist(),
        "quantities": {"a": quantity, "b": {"difference": [0.3] * 9, "inside": False}},
    }
    site = {"mean_off": 0.01, "mean_error": 0.005}
    method = {"sites": {"eps": site}, "max_rhat": 1.001, "divergences": 3}
    made = figure(
        {
            "calibration": {"models": {"pooled": model}},
            "reference": {
                "exact": {"eps": {"mean": 1.0, "sd": 0.1}},
                "methods": {"marginal": method, "centered": method},
            },
        }
    )
    inside, outside = made.axes[0].lines
    assert inside.get_linewidth() < outside.get_linewidth()
    assert inside.get_color() != outside.get_color()
    low, high = made.axes[0].get_ylim()
    assert low < -0.3 < 0.3 < high
    texts = [text.get_text() for text in made.legends[0].get_texts()]
    assert texts[1] == "centred, as published: R-hat 1.001, 3 divergences"
    plt.close(made)
