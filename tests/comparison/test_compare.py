"""The comparison of models: one table, its order, its definitions, what it refuses."""

import numpy as np
import pytest
from fits import TUTORIAL
from test_loo import radon_fit

from radon_numpyro import GroupStatistics, compare, compare_pooling, fit, load_radon, simulate
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
    assert table["rmsd_in_sample"].to_dict() == pytest.approx(
        # By integration over the scales the last is 0.69603 to 0.69611.
        {"pooled": 0.7892, "individual": 0.6583, "hierarchical": 0.6961},
        abs=2e-4,
    )
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
