"""The comparison of models: one table, its order, its definitions, what it refuses."""

import re

import numpy as np
import pytest
from designs import simulated
from fits import TUTORIAL
from test_loo import radon_fit

from radon_numpyro import (
    GroupedData,
    GroupStatistics,
    Priors,
    compare,
    compare_pooling,
    fit,
    load_radon,
    simulate,
)
from radon_numpyro.comparison.cross_validation import kfold
from radon_numpyro.comparison.table import DEFINITIONS, Comparison
from radon_numpyro.data.digits import number

MODELS = ("pooled", "individual", "hierarchical")


@pytest.fixture(scope="module")
def comparison():
    return compare({model: radon_fit(model) for model in MODELS}, load_radon())


def test_partial_pooling_predicts_best(comparison):
    table = comparison.table
    assert table.index.tolist() == ["hierarchical", "pooled", "individual"]
    assert table["elpd_kfold"].is_monotonic_decreasing
    assert table["rmsd_kfold"].idxmin() == table["rmsd_loo"].idxmin() == "hierarchical"
    for name in ("elpd_diff", "elpd_kfold_diff"):
        assert table.loc["hierarchical", name] == 0
        assert (table[name] < -2 * table[f"{name}_se"])[["pooled", "individual"]].all()
    # On the rows that were seen the order is the reverse: least squares minimises that.
    assert table["rmsd_in_sample"].idxmin() == "individual"
    assert table["p_loo"].between([30, 2, 100], [90, 5, 200]).all()


def test_figures_of_the_radon_data(comparison):
    """Exact for pooled and individual; hierarchical within the noise of its draws."""
    table = comparison.table
    assert table.loc["pooled", "elpd_loo"] == pytest.approx(-1014.25, abs=0.01)
    assert table.loc["individual", "elpd_loo"] == pytest.approx(-1061.33, abs=0.01)
    assert table.loc["hierarchical", "elpd_loo"] == pytest.approx(-965.1, abs=0.5)
    in_sample = table["rmsd_in_sample"]
    assert in_sample[["pooled", "individual"]].to_list() == pytest.approx(
        [0.7892, 0.6583], abs=2e-4
    )
    # By integration over the scales 0.69603 to 0.69611; draws of eight seeds scatter by 0.00016.
    assert in_sample["hierarchical"] == pytest.approx(0.69607, abs=7e-4)
    assert (table["rows_loo"] == 857).all()
    assert table["rows_from_prior"].tolist() == [0, 0, 62]


def test_scores_count_only_rows_that_every_model_can_predict(comparison):
    common = comparison.loo["individual"].identified
    for label, held in comparison.loo.items():
        score = held.log_score[common]
        assert comparison.table.loc[label, "elpd_loo"] == pytest.approx(score.sum())
        assert comparison.table.loc[label, "rmsd_loo_all_rows"] == pytest.approx(
            np.sqrt((held.error**2).mean())
        )


def test_stacking_weights_predict_no_worse_than_the_best_model(comparison):
    weight = comparison.table["weight"]
    assert weight.sum() == pytest.approx(1.0)
    assert weight.idxmax() == "hierarchical"
    common = comparison.loo["individual"].identified
    density = sum(
        weight[label] * np.exp(held.log_score[common]) for label, held in comparison.loo.items()
    )
    assert np.log(density).sum() >= comparison.table["elpd_loo"].max() - 1e-6


def test_every_column_has_its_definition(comparison):
    found = comparison.definitions
    assert list(found) == comparison.table.columns.tolist()
    assert all(len(words) > 20 for words in found.values())
    assert found["elpd_loo_se"] == "standard error over rows, of elpd_loo"
    # And every definition is of a column: those of groups left out were not asked for here.
    assert {name for name in DEFINITIONS if "logo" not in name} <= set(found)


def test_it_prints_the_table_with_errors(comparison):
    text = str(comparison)
    assert text.index("hierarchical") < text.index("pooled") < text.index("individual")
    row = comparison.table.loc["pooled"]
    value, se = number(row["elpd_loo"], row["elpd_loo_se"]), row["elpd_loo_se"]
    assert f"{value} +- {number(se, se)}" in text
    assert "logo" not in text


def test_all_three_models_in_one_call_with_groups_left_out():
    truth = simulate(
        num_groups=9,
        rows_per_group=[6, 9, 15] * 3,
        mu_alpha=3.0,
        mu_beta=-2.0,
        sigma_alpha=1.5,
        sigma_beta=0.4,
        eps=0.6,
        seed=2,
    )
    found = compare_pooling(
        truth.data, folds=0, leave_group_out=True, draws=250, progress_bar=False
    )
    assert isinstance(found, Comparison)
    assert set(found.table.index) == set(found.fits) == set(MODELS)
    assert not any("kfold" in name for name in found.table.columns)
    assert found.kfold == {}
    assert {name for name in DEFINITIONS if "logo" in name} <= set(found.definitions)
    logo = found.table["elpd_logo"]
    # The individual model has nothing to say of a new group, and takes no row from the others.
    assert np.isnan(logo["individual"])
    assert np.isfinite(logo[["pooled", "hierarchical"]]).all()
    assert (found.table["rows_logo"].dropna() == truth.data.num_rows).all()
    assert "-" in str(found)
    assert found.table.loc[found.table["elpd_logo"].idxmax(), "elpd_logo_diff"] == 0


def test_other_priors_are_other_models():
    """The labels are the user's; two fits of one model are compared like any others."""
    data = load_radon().select(["CASS", "CROW WING", "FREEBORN"])
    settings = {"draws": 100, "num_advi_steps": 0, "progress_bar": False}
    fits = {
        "flat": fit(data, model="pooled", priors=TUTORIAL, **settings),
        "scaled": fit(data, model="pooled", **settings),
    }
    table = compare(fits, folds=3).table
    assert set(table.index) == {"flat", "scaled"}
    assert table["elpd_loo"].nunique() == 2
    alone = compare({"flat": fits["flat"]}, folds=0).table
    assert alone.loc["flat", "weight"] == 1.0
    assert alone.loc["flat", "elpd_loo"] == pytest.approx(table.loc["flat", "elpd_loo"])


def test_what_it_refuses():
    tree = radon_fit("pooled")
    with pytest.raises(TypeError, match="a mapping of labels to fits; got DataTree"):
        compare(tree)
    with pytest.raises(ValueError, match="at least one fit; got none"):
        compare({})
    other = load_radon().select(["CASS", "CROW WING"])
    with pytest.raises(ValueError, match="fits of the same rows as 'data'; got others in 'radon'"):
        compare({"radon": tree}, other)
    bare = fit(
        GroupStatistics.from_data(other),
        model="pooled",
        draws=50,
        num_advi_steps=0,
        progress_bar=False,
    )
    with pytest.raises(ValueError, match="Expected fits with rows; got 'bare' of statistics only"):
        compare({"radon": tree, "bare": bare})


# Fits of other columns of the same rows


def crops():
    """Rows of 12 fields, a column that does not vary by field, and one that is noise."""
    data = simulated(num_groups=12, rows=6, fixed=("age", "noise"), seed=11)
    return data.to_frame()


def fit_of(frame, formula, model="hierarchical"):
    settings = {"method": "integrate", "draws": 200}
    return fit(GroupedData.from_formula(formula, frame), model=model, **settings)


@pytest.fixture(scope="module")
def by_formula():
    frame = crops()
    formulas = {
        "full": "y ~ dose + age + (1 + dose || g)",
        "no age": "y ~ dose + (1 + dose || g)",
        "one slope": "y ~ dose + age + (1 | g)",
    }
    fits = {label: fit_of(frame, formula) for label, formula in formulas.items()}
    fits["pooled"] = fit_of(frame, formulas["full"], "pooled")
    return compare(fits, folds=3), formulas


def test_fits_of_other_columns_of_the_same_rows_stand_in_one_table(by_formula):
    """The column that made the outcome is missed, whether a row is left out or a fold."""
    found, formulas = by_formula
    table = found.table
    assert table.loc[list(formulas), "formula"].to_dict() == formulas
    assert table.loc["pooled", "formula"] == formulas["full"]
    assert table["model"].to_dict() == dict.fromkeys(formulas, "hierarchical") | {
        "pooled": "pooled"
    }
    assert table.index[0] == "full"
    for name in ("elpd_loo", "elpd_kfold"):
        assert (table.loc["full", name] > table.loc[["no age", "pooled"], name] + 3).all(), name
    assert (table["rows_loo"] == 72).all()
    assert formulas["no age"] in str(found)


def test_folds_are_the_same_whatever_the_columns(by_formula):
    """Else a difference of scores is one of rows too."""
    found, formulas = by_formula
    data = GroupedData.from_formula(formulas["no age"], crops())
    priors = Priors.weakly_informative(data)
    alone = kfold(data, {"x": ("hierarchical", priors)}, folds=3)["x"]
    np.testing.assert_allclose(found.kfold["no age"].mean, alone.mean, atol=1e-9)


def test_rows_that_are_not_the_same_are_refused_whatever_the_columns():
    frame, formula = crops(), "y ~ dose + age + (1 || g)"
    tree = fit_of(frame, formula, "pooled")
    shuffled = frame.assign(age=np.roll(frame["age"], 1))
    others = {
        "the column 'age' has other values": (shuffled, formula),
        "the outcome 'exp(y)' has other values": (frame, "exp(y) ~ dose + (1 || g)"),
        "71 rows in place of 72": (frame.iloc[1:], "y ~ dose + (1 || g)"),
        "the group column 'g' has other labels": (
            frame.assign(g=np.roll(frame["g"].astype(str), 1)),
            "y ~ dose + (1 || g)",
        ),
    }
    for words, (rows, other) in others.items():
        with pytest.raises(ValueError, match=re.escape(f"got others in 'other': {words}")):
            compare({"one": tree, "other": fit_of(rows, other, "pooled")}, folds=0)


def test_a_column_counted_from_elsewhere_is_the_same_column():
    frame = crops()
    columns = {"y": "y", "x": "dose", "fixed": "age", "group": "g"}
    settings = {"model": "pooled", "draws": 50, "num_advi_steps": 0, "progress_bar": False}
    fits = {
        "centred": fit(GroupedData.from_frame(frame, **columns, center="dose"), **settings),
        "as it is": fit(GroupedData.from_frame(frame, **columns), **settings),
    }
    table = compare(fits, folds=0).table
    # Without a formula: one is made of the columns.
    assert (table["formula"] == "y ~ 1 + dose + age + (1 + dose || g)").all()
    assert table["elpd_loo"].max() == pytest.approx(table["elpd_loo"].min(), abs=0.05)


def test_the_individual_model_is_left_out_where_it_has_no_place_for_the_columns():
    data = GroupedData.from_formula("y ~ dose + age + (1 || g)", crops())
    found = compare_pooling(data, folds=0, draws=100, progress_bar=False)
    assert set(found.fits) == {"pooled", "hierarchical"}
