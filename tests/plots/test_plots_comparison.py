"""Comparison: each number of the table where it belongs, in the colour of its model."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from trees import BLUE, GREEN, VERMILION, legend_texts

from radon_numpyro.plots import plot_comparison

pytestmark = pytest.mark.usefixtures("agg")

COLOURS = {"individual": BLUE, "hierarchical": GREEN, "pooled": VERMILION}


@pytest.fixture
def table():
    return pd.DataFrame(
        {
            "elpd_loo": [-1029.0, -1110.0, -985.0],
            "elpd_diff": [-44.0, -125.0, 0.0],
            "elpd_diff_se": [11.0, 22.0, 0.0],
            "elpd_kfold_diff": [-48.0, -106.0, 0.0],
            "elpd_kfold_diff_se": [12.0, 20.0, 0.0],
            "rmsd_in_sample": [0.79, 0.66, 0.70],
            "rmsd_kfold": [0.80, 0.84, 0.75],
            "rmsd_kfold_se": [0.023, 0.031, 0.026],
        },
        index=["pooled", "individual", "hierarchical"],
    )


def segments(ax, colour):
    """Segments of a colour with the width of their line."""
    return [
        (np.asarray(segment), float(lines.get_linewidth()[0]))
        for lines in ax.collections
        if isinstance(lines, LineCollection) and to_hex(lines.get_color()[0]) == colour
        for segment in lines.get_segments()
        if np.isfinite(segment).all() and len(segment)
    ]


def bars(ax, colour):
    """Horizontal bars of a colour: left and right end, height, width of the line."""
    return {(*s[:, 0].round(6), s[0, 1].round(6), width) for s, width in segments(ax, colour)}


def test_differences_stand_with_one_and_two_standard_errors_the_best_on_top(table):
    left, _ = plot_comparison(table)
    assert [t.get_text() for t in left.get_yticklabels()] == [
        "hierarchical",
        "pooled",
        "individual",
    ]
    bottom, top = left.get_ylim()
    assert bottom > 2
    assert top < 0
    for k, model in enumerate(("hierarchical", "pooled", "individual")):
        row, found = table.loc[model], bars(left, COLOURS[model])
        expected = set()
        for y, name in ((k - 0.14, "elpd_diff"), (k + 0.14, "elpd_kfold_diff")):
            for times, width in ((1, 2.4), (2, 0.8)):
                error = times * row[f"{name}_se"]
                expected.add((row[name] - error, row[name] + error, round(y, 6), width))
        assert found == expected
        marks = [line for line in left.lines if to_hex(line.get_color()) == COLOURS[model]]
        assert {(m.get_marker(), m.get_xdata()[0]) for m in marks} == {
            ("o", row["elpd_diff"]),
            ("s", row["elpd_kfold_diff"]),
        }
    assert left.get_xlabel() == "elpd less that of the best (nats)"


def test_rmsd_runs_from_the_rows_seen_to_the_rows_left_out(table):
    _, right = plot_comparison(table, outcome="log radon")
    lines = {line.get_label(): line for line in right.lines}
    for model, colour in COLOURS.items():
        line, row = lines[model], table.loc[model]
        np.testing.assert_allclose(line.get_ydata(), row[["rmsd_in_sample", "rmsd_kfold"]])
        start, end = line.get_xdata()
        assert start == 0
        assert end == pytest.approx(1, abs=0.1)
        assert to_hex(line.get_color()) == colour
        ((bar, _),) = segments(right, colour)
        expected = row["rmsd_kfold"] + row["rmsd_kfold_se"] * np.array((-1, 1))
        np.testing.assert_allclose(bar, np.column_stack([(end, end), expected]))
    assert [t.get_text() for t in right.get_xticklabels()] == [
        "rows seen",
        "rows left out (K-fold)",
    ]
    assert right.get_ylabel() == "RMSD, log radon"
    assert right.get_title(loc="left") == ""
    assert legend_texts(right.figure.legends[0]) == [
        "hierarchical",
        "pooled",
        "individual",
        "LOO, 1 and 2 se",
        "K-fold, 1 and 2 se",
    ]


def test_the_tables_own_order_and_other_columns_do_not_matter(table):
    shuffled = table.iloc[[2, 0, 1]].assign(note="x")
    first, second = (plot_comparison(t)[0] for t in (table, shuffled))
    for colour in COLOURS.values():
        assert bars(first, colour) == bars(second, colour)


def test_models_by_any_name_have_a_colour_of_their_own(table):
    renamed = table.rename(index={"pooled": "wide priors"})
    _, right = plot_comparison(renamed)
    colours = [
        to_hex(line.get_color()) for line in right.lines if line.get_label() in renamed.index
    ]
    assert len(set(colours)) == 3


def test_the_number_of_rows_left_out_is_said(table):
    _, right = plot_comparison(table.assign(rows_kfold=844.0, rows_loo=857.0))
    assert right.get_title(loc="left") == "left out: 844 rows that every model can predict"


def test_without_folds_the_rows_left_out_are_those_of_leave_one_out(table):
    folds = [name for name in table if "kfold" in name]
    alone = table.drop(columns=folds).assign(rmsd_loo=[0.81, 0.85, 0.76], rmsd_loo_se=0.03)
    left, right = plot_comparison(alone)
    assert bars(left, BLUE) == {(-147, -103, 2, 2.4), (-169, -81, 2, 0.8)}
    (line,) = (line for line in right.lines if line.get_label() == "individual")
    np.testing.assert_allclose(line.get_ydata(), (0.66, 0.85))
    assert [tick.get_text() for tick in right.get_xticklabels()][1] == "rows left out (LOO)"
    assert legend_texts(left.figure.legends[0])[3:] == ["LOO, 1 and 2 se"]


def test_a_gap_is_not_drawn(table):
    table.loc["individual", ["elpd_kfold_diff", "elpd_kfold_diff_se", "rmsd_kfold"]] = np.nan
    left, right = plot_comparison(table)
    left.figure.canvas.draw()
    assert bars(left, BLUE) == {(-147, -103, 1.86, 2.4), (-169, -81, 1.86, 0.8)}
    assert np.isfinite(right.get_ylim()).all()


def test_tables_without_meaning_are_refused(table):
    match = r"Expected table with columns elpd_diff, .*, rmsd_kfold_se; got no rmsd_in_sample"
    with pytest.raises(ValueError, match=match):
        plot_comparison(table.drop(columns="rmsd_in_sample"))
    folds = [name for name in table if "kfold" in name]
    with pytest.raises(ValueError, match=r"rmsd_in_sample, rmsd_loo, rmsd_loo_se; got no rmsd_loo"):
        plot_comparison(table.drop(columns=folds))
    with pytest.raises(ValueError, match=r"Expected table with a row for each model; got none"):
        plot_comparison(table.iloc[:0])
