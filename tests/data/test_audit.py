"""The audit: what each group says on its own, what looks wrong, and nothing where nothing is."""

from ast import literal_eval
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from designs import with_design
from hypothesis import given
from hypothesis import strategies as st

import radon_numpyro
from radon_numpyro.data.design import Design
from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.data.labels import Labels
from radon_numpyro.data.miscoding import look_alike_labels, missing_code
from radon_numpyro.data.radon import load_radon
from radon_numpyro.data.simulation import simulate
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.inference.inversion import draw_exact, residual_freedom
from radon_numpyro.statistics.group_statistics import GroupStatistics

CASES = Path(__file__).parents[1] / "cases"
DATASETS = Path(radon_numpyro.__file__).parent / "datasets"


def grouped(sizes, *columns, y=None, seed=0):
    """Rows of groups a, b, ... of these sizes; a column is its values or None for noise."""
    rng = np.random.default_rng(seed)
    n = sum(sizes)
    x = [rng.normal(size=n) if c is None else np.asarray(c, dtype=float) for c in columns]
    y = rng.normal(3.0, 2.0, size=n) if y is None else np.asarray(y, dtype=float)
    group = np.repeat([chr(ord("a") + c) for c in range(len(sizes))], sizes)
    assert all(len(column) == n for column in [*x, y])
    return GroupedData.from_arrays(y, np.column_stack(x) if x else None, group)


def whats(data):
    return [finding.what for finding in data.audit().findings]


# The table


@pytest.fixture
def six_groups():
    """Groups of known rank, the last of which has no rows."""
    frame = pd.DataFrame(
        [
            ("free", 1.0, 0.0, 0.0),
            ("free", 2.5, 1.0, 0.0),
            ("free", 0.5, 0.0, 1.0),
            ("free", 4.0, 2.0, 5.0),
            ("line", 1.0, 0.0, 1.0),
            ("line", 7.0, 1.0, 3.0),
            ("line", 2.0, 2.0, 5.0),
            ("level", 1.0, 4.0, 1.0),
            ("level", 2.0, 4.0, 2.0),
            ("level", 2.0, 4.0, 3.0),
            ("lone", 5.0, 1.0, 1.0),
            ("equal", 3.0, 1.0, 1.0),
            ("equal", 3.0, 1.0, 1.0),
            ("empty", 0.0, 0.0, 0.0),
        ],
        columns=["town", "y", "hours", "depth"],
    )
    data = GroupedData.from_frame(frame, y="y", x=["hours", "depth"], group="town")
    return data.take(np.arange(13))


def test_the_table_says_what_each_group_identifies(six_groups):
    table = six_groups.audit().table
    assert table.index.name == "town"
    assert table.index.tolist() == ["free", "line", "level", "lone", "equal", "empty"]
    assert table["rows"].tolist() == [4, 3, 3, 1, 2, 0]
    assert table["singleton"].tolist() == [False, False, False, True, False, False]
    hours = ["identified", "collinear", "constant", "constant", "constant", "constant"]
    depth = ["identified", "collinear", "identified", "constant", "constant", "constant"]
    assert table["slope[hours]"].tolist() == hours
    assert table["slope[depth]"].tolist() == depth
    assert table["residual_freedom"].tolist() == [1, 1, 1, 0, 1, 0]
    assert table["fitted_exactly"].tolist() == [False, False, False, False, True, False]
    assert table.columns.tolist() == [
        "rows",
        "singleton",
        "slope[hours]",
        "slope[depth]",
        "residual_freedom",
        "fitted_exactly",
    ]


def test_the_paragraph_counts_groups_that_have_rows(six_groups):
    assert six_groups.audit().summary == (
        "13 rows in 5 groups (town), 1 to 4 rows each (median 3), 1 of them with a single row; "
        "1 other group without rows. "
        "'hours' does not vary in 3 of 5 groups, 'depth' in 2: alone, such a group says nothing of "
        "that slope. In 1 of 5 groups predictors vary only together: alone, such a group cannot "
        "tell their slopes apart. In 1 of 5 groups rows are so few that the residual sd of the "
        "individual model is its prior."
    )


def test_a_combination_leaves_other_slopes_alone():
    """Within a group x3 = x1 - x2: only x4 has a slope."""
    x1, x2, x4 = np.random.default_rng(1).normal(5.0, [[1.0], [30.0], [0.1]], size=(3, 12))
    columns = [x1, x2, x1 - x2, x4]
    columns[2][6:] += np.random.default_rng(2).normal(size=6)
    table = grouped([6, 6], *columns).audit().table
    slopes = table.filter(like="slope[")
    assert slopes.loc["a"].tolist() == ["collinear"] * 3 + ["identified"]
    assert slopes.loc["b"].tolist() == ["identified"] * 4
    assert table["residual_freedom"].tolist() == [6 - 4, 6 - 5]


@pytest.mark.parametrize("unit", [1e-100, 1e-6, 1.0, 1e100])
@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_units_and_the_place_of_zero_do_not_matter(unit, offset):
    noise = np.random.default_rng(3).integers(-512, 512, size=(3, 20)) / 512
    noise[1, :10] = 2 * noise[0, :10] + 0.5
    noise[0, 16:] = 0.25
    plain = grouped([10, 6, 4], noise[0], noise[1], y=noise[2]).audit().table
    other = grouped([10, 6, 4], *((noise[:2] + offset) * unit), y=(noise[2] + offset) * unit)
    assert plain["slope[x1]"].tolist() == ["collinear", "identified", "constant"]
    assert plain["residual_freedom"].tolist() == [8, 3, 2]
    pd.testing.assert_frame_equal(other.audit().table, plain)


def test_rounding_is_no_variation():
    """0.1 + 0.2 is not 0.3, but nobody measured the difference."""
    x = [0.1 + 0.2, 0.3, 0.3, 1.0, 2.0, 3.0]
    data = grouped([3, 3], x, y=[*x[:3], 5.0, 7.0, 1.0])
    table = data.audit().table
    assert len(set(x[:3])) == 2
    assert table["slope[x1]"].tolist() == ["constant", "identified"]
    assert table["residual_freedom"].tolist() == [2, 1]
    assert table["fitted_exactly"].tolist() == [True, False]


def test_without_predictors_the_intercept_alone_is_identified():
    audit = grouped([3, 1, 2]).audit()
    assert audit.table.columns.tolist() == [
        "rows",
        "singleton",
        "residual_freedom",
        "fitted_exactly",
    ]
    assert audit.table["residual_freedom"].tolist() == [2, 0, 1]
    assert str(audit) == (
        "6 rows in 3 groups (group), 1 to 3 rows each (median 2), 1 of them with a single row. In "
        "1 of 3 groups rows are so few that the residual sd of the individual model is its prior. "
        "Nothing else to report."
    )


@st.composite
def small_data(draw):
    """Few rows of small whole numbers, among which every kind of degenerate group turns up."""
    num_predictors = draw(st.integers(0, 3))
    row = st.tuples(st.integers(0, 3), *[st.integers(-2, 2)] * (num_predictors + 1))
    group, y, *x = np.array(draw(st.lists(row, min_size=1, max_size=20))).T
    return GroupedData.from_arrays(y, np.array(x).T if x else None, group)


@given(small_data())
def test_the_exact_posterior_counts_as_the_audit_does(data):
    freedom, rss = residual_freedom(
        NormalEquations.from_statistics(GroupStatistics.from_data(data))
    )
    table = data.audit().table
    np.testing.assert_array_equal(table["residual_freedom"], freedom)
    np.testing.assert_array_equal(table["fitted_exactly"], (freedom > 0) & (rss == 0.0))


@given(small_data())
def test_slopes_are_identified_where_leaving_them_out_lowers_the_rank(data):
    table = data.audit().table
    for c in range(data.num_groups):
        x = data.x[data.group == c]
        design = np.column_stack([np.ones(len(x)), x])
        rank = np.linalg.matrix_rank(design)
        for k, name in enumerate(data.labels.predictors):
            without = np.linalg.matrix_rank(np.delete(design, k + 1, axis=1))
            constant = len(np.unique(x[:, k])) == 1
            expected = "identified" if without < rank else "constant" if constant else "collinear"
            assert table[f"slope[{name}]"].iloc[c] == expected


@given(small_data(), st.randoms(use_true_random=False))
def test_order_of_rows_and_names_of_groups_change_nothing_else(data, random):
    before = data.audit()
    order = random.sample(range(data.num_rows), data.num_rows)
    new_names = {label: f"town {label}" for label in data.labels.groups}
    frame = data.to_frame().iloc[order]
    frame["group"] = frame["group"].map(new_names).astype(str)
    after = GroupedData.from_frame(frame, y="y", x=data.labels.predictors, group="group").audit()
    expected = before.table.rename(index=new_names)
    # A column index of strings, whatever the labels were.
    expected.index = expected.index.astype(after.table.index.dtype)
    pd.testing.assert_frame_equal(after.table.loc[expected.index], expected)
    assert after.summary == before.summary
    assert len(after.findings) == len(before.findings)


def test_a_hundred_thousand_groups():
    rng = np.random.default_rng(4)
    n, num_groups = 500_000, 100_000
    group, x = rng.integers(0, num_groups, n), rng.integers(0, 2, n)
    frame = pd.DataFrame({"y": rng.normal(size=n), "x": x, "group": group})
    table = GroupedData.from_frame(frame, y="y", x="x", group="group").audit().table
    by_group = frame.groupby("group")["x"]
    expected = by_group.size().loc[table.index]
    np.testing.assert_array_equal(table["rows"], expected)
    varies = by_group.nunique().loc[table.index] > 1
    np.testing.assert_array_equal(table["slope[x]"] == "identified", varies)
    np.testing.assert_array_equal(table["residual_freedom"], expected - 1 - varies)


MIXED = [("a", 1), frozenset({1}), 7, "7b", 2.5, pd.Timestamp("2020-01-01"), b"x"]


@pytest.mark.parametrize(
    "labels",
    [MIXED, [("MN", "CASS"), ("MN", "COOK")], [1, 2, 3], [True, False]],
    ids=["mixed", "tuples", "numbers", "booleans"],
)
def test_labels_of_any_hashable_type_name_the_rows(labels):
    group = np.empty(2 * len(labels), dtype=object)
    group[:] = labels * 2
    rng = np.random.default_rng(5)
    data = GroupedData.from_arrays(rng.normal(size=len(group)), None, pd.Series(group))
    audit = data.audit()
    assert audit.table.index.tolist() == labels
    assert audit.table["rows"].tolist() == [2] * len(labels)
    assert audit.ok


# The radon files


def test_minnesota_has_25_counties_without_a_slope_and_6_without_a_residual():
    audit = load_radon().audit()
    table = audit.table
    assert (table["slope[floor]"] == "constant").sum() == 25
    assert table.loc["CASS"].tolist() == [5, False, "constant", 4, False]
    assert table.index[table["singleton"]].tolist() == ["MAHNOMEN", "MURRAY", "WILKIN"]
    # Two houses are enough for a residual where both are in the basement, and else they are not.
    assert table.index[table["residual_freedom"] == 0].tolist() == [
        "FILLMORE",
        "LAC QUI PARLE",
        "MAHNOMEN",
        "MILLE LACS",
        "MURRAY",
        "WILKIN",
    ]
    assert (table["rows"] <= 2).sum() == 11
    assert str(audit) == (
        "919 rows in 85 groups (county), 1 to 116 rows each (median 5), 3 of them with a single "
        "row. 'floor' does not vary in 25 of 85 groups: alone, such a group says nothing of that "
        "slope. In 6 of 85 groups rows are so few that the residual sd of the individual model is "
        "its prior. Nothing else to report."
    )


def test_the_national_file_has_a_code_for_floors_that_nobody_noted():
    frame = pd.read_csv(DATASETS / "radon_us.csv", dtype={"fips": str})
    frame["log_radon"] = np.log(frame["activity"] + 0.1)
    names = {"y": "log_radon", "x": "floor", "group": "fips"}
    (finding,) = GroupedData.from_frame(frame, **names).audit().findings
    assert finding.what == (
        "'floor' is 9 in 287 of 12777 rows, apart from the other values, 0 to 3: it looks like a "
        "code for a missing value."
    )
    assert finding.advice.endswith("GroupedData.from_frame(..., missing={'floor': [9]})")
    assert finding.command.endswith("leave these rows out: --missing floor=9")
    recorded = frame[~frame["floor"].isin([9])]
    assert GroupedData.from_frame(recorded, **names).audit().ok
    assert load_radon("us").audit().ok


def test_uranium_is_a_property_of_the_county():
    frame = pd.read_csv(DATASETS / "radon_minnesota.csv")
    data = GroupedData.from_frame(frame, y="log_radon", x=["floor", "uppm"], group="county")
    assert whats(data) == [
        "Within every group of 'county' 'uppm' is constant: no group shows a slope of its own, "
        "only the groups together do."
    ]
    assert "'uppm'" not in data.audit().summary


# Codes for missing values

COUNTS = np.repeat(np.arange(4), [800, 150, 40, 10])
AGES = np.arange(18.0, 96.0).repeat(3)
LOGS = np.random.default_rng(6).normal(1.2, 0.8, size=300)


@pytest.mark.parametrize(
    ("rest", "codes"),
    [
        (COUNTS, [9] * 20),
        (COUNTS, [-9] * 2),
        (COUNTS, [8, 8, 9, 9]),
        (COUNTS, [99]),
        (COUNTS, [-99, 99]),
        (COUNTS, [77] * 5),
        ([0, 1] * 10, [9]),
        ([0, 1] * 10, [-9]),
        ([1, 2, 3, 4, 5] * 9, [9, 9]),
        (np.arange(13).repeat(4), [-9] * 3),
        (AGES, [999]),
        (AGES, [-999, 999]),
        (AGES, [998, 999, 999]),
        (AGES, [888] * 2),
        (1900.0 + AGES, [9999]),
        (1900.0 + AGES, [-9] * 2),
        (np.exp(LOGS), [-9] * 2),
        (np.linspace(0.1, 0.9, 40), [9] * 2),
        (LOGS, [99]),
        (LOGS, [-99.0, -99.0]),
        (LOGS, [99.9, 99.9]),
        (150.0 + LOGS, [99]),
        (150.0 + LOGS, [99, 999]),
    ],
)
def test_codes_for_missing_values_are_found(rest, codes):
    values = np.random.default_rng(7).permutation(np.concatenate([rest, codes]).astype(float))
    finding = missing_code("floor", values)
    named = " or ".join(str(c) for c in sorted(set(codes), key=float)).replace(".0", "")
    assert finding is not None
    assert finding.what.startswith(f"'floor' is {named} in {len(codes)} of {len(values)} rows, ")


@pytest.mark.parametrize(
    "values",
    [
        np.arange(13).repeat(5),
        np.arange(10).repeat(5),
        [*range(10), 7, 8, 9, 9, 9, 9],
        1990 + np.arange(31).repeat(2),
        AGES,
        [*AGES, 97, 98, 99],
        [1, 3, 9] * 10,
        [0, 3, 9] * 10,
        [1, 9] * 10,
        [0, 99] * 10,
        [9] * 10,
        [7, 8, 9] * 10,
        [-9, 0, 9] * 10,
        [-1, 0, 1] * 10,
        [8, 20, 21] * 10,
        [*COUNTS, 9],
        [1, 2, 3, 4, 5] * 9 + [8, 8],
        [*COUNTS, 12, 12],
        LOGS,
        np.exp(3.0 * LOGS),
        [5.0],
    ],
    ids=lambda values: f"{np.min(values):.4g} to {np.max(values):.4g} ({len(values)})",
)
def test_genuine_values_are_not_taken_for_codes(values):
    assert missing_code("floor", np.asarray(values, dtype=float)) is None


def test_codes_are_looked_for_in_outcome_and_predictors():
    rng = np.random.default_rng(8)
    columns = [np.where(np.arange(30) % 7 == 0, c, rng.normal(size=30)) for c in (99, -999)]
    found = whats(grouped([10, 12, 8], columns[0], None, y=columns[1]))
    assert [what.partition(",")[0] for what in found] == [
        "'y' is -999 in 5 of 30 rows",
        "'x1' is 99 in 5 of 30 rows",
    ]


# Labels


@pytest.mark.parametrize(
    "labels",
    [
        ("Cass", "CASS"),
        ("Cass", "Cass "),
        ("ST LOUIS", "St  Louis", "st louis"),
        ("a b", "a\u00a0b"),
        ("Cass", "\ufeffCass"),
        ("STRASSE", "Straße"),
        ("\uff23\uff21\uff33\uff33", "cass"),
        ("ΟΔΟΣ", "οδος"),
        (7, "7"),
        (("MN", "Cass"), ("MN", "CASS")),
    ],
)
def test_labels_that_look_alike_are_named(labels):
    finding = look_alike_labels("county", ("other", *labels, 3, "Cook"))
    assert finding is not None
    named = ", ".join(map(repr, labels))
    assert finding.what.startswith(f"{len(labels)} labels of 'county' ({named}) differ from ")


def test_labels_that_look_the_same_on_paper_are_told_apart():
    finding = look_alike_labels("town", ("Genève", "Gene\u0300ve"))
    assert r"('Gen\xe8ve', 'Gene\u0300ve')" in finding.what


def test_the_first_few_of_many_labels():
    labels = tuple(name for c in "abcdef" for name in (c, c.upper()))
    finding = look_alike_labels("town", labels)
    assert finding.what.startswith(
        "12 labels of 'town' ('a', 'A'; 'b', 'B'; 'c', 'C'; ...) differ from one another only in "
    )


@pytest.mark.parametrize(
    "labels",
    [
        ("Cass", "Cook"),
        (1, 2, 11),
        ("1", "10", "1.5"),
        ("e", "é"),
        ("北京", "東京"),
        ((1, 2), (12,)),
        ("",),
    ],
)
def test_labels_that_differ_are_left_alone(labels):
    assert look_alike_labels("county", labels) is None


def test_labels_are_looked_at_in_an_audit():
    data = GroupedData.from_arrays([1.0, 2.0, 4.0, 5.5], None, ["Cass", "CASS", "Cass", "CASS"])
    (what,) = whats(data)
    assert what.startswith("2 labels of 'group' ('Cass', 'CASS') differ")


@pytest.mark.parametrize("label", ["NA", "N/A", "nan", "NULL", "null", "", "  "])
def test_a_group_that_looks_like_a_missing_value_is_named(label):
    group = [label, "Cass", "Cass", label, "Cook", "Cook"]
    data = GroupedData.from_arrays(np.arange(6.0) ** 1.5, None, group, group_name="site")
    for source in (data, GroupStatistics.from_data(data)):
        (finding,) = source.audit().findings
        assert finding.what == (f"{label!r} is a group of 'site' and looks like a missing value.")
        assert finding.advice == (
            f"if it is one, leave these rows out: missing={{'site': [{label!r}]}}"
        )
        assert source.audit().bearing_on("pooled")[0].caution


def test_a_level_that_looks_like_a_missing_value_is_left_out_as_advised():
    """Nothing is left out by itself: among text NA may be Namibia."""
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"c": rng.choice(["a", "b", "NA"], 60), "g": np.arange(60) % 4})
    frame = frame.assign(y=rng.normal(size=60))
    data = GroupedData.from_formula("y ~ c + (1 | g)", frame)
    assert data.num_rows == 60
    (finding,) = data.audit().findings
    assert finding.what == "'NA' is a level of 'c' and looks like a missing value."
    assert finding.command.endswith("leave these rows out: --missing c=NA")
    kept = GroupedData.from_formula("y ~ c + (1 | g)", frame, missing={"c": ["NA"]})
    assert kept.num_rows == (frame.c != "NA").sum() < 60
    assert kept.audit().findings == ()


def test_labels_that_only_begin_like_missing_values_are_left_alone():
    group = ["Nanaimo", "NAB", "Cook", "0"] * 3
    data = GroupedData.from_arrays(np.arange(12.0) ** 1.5, None, group)
    assert data.audit().findings == ()


# Predictors


def test_good_data_have_no_finding():
    data = simulate(
        num_groups=30,
        rows_per_group=12,
        mu_alpha=2.0,
        mu_beta=[-0.7, 1.5],
        sigma_alpha=0.5,
        sigma_beta=[0.3, 0.1],
        eps=0.8,
        seed=1,
        predictors=["hours", "depth"],
    ).data
    audit = data.audit()
    assert audit.ok
    assert str(audit) == ("360 rows in 30 groups (group), 12 rows each. Nothing else to report.")


def test_a_constant_predictor():
    assert whats(grouped([4, 5, 3], None, [2.0] * 12)) == [
        "'x2' is the same in every row: the data say nothing of its slope."
    ]


def test_predictors_that_are_collinear_over_all_rows():
    x1, x3 = np.random.default_rng(9).normal(size=(2, 12))
    (what,) = whats(grouped([4, 5, 3], x1, 3.0 - 2.0 * x1, x3))
    assert what.startswith("'x1', 'x2' are collinear over all rows")


def test_dummies_of_all_levels_are_collinear():
    level = np.arange(12) % 3
    (what,) = whats(grouped([4, 5, 3], *(level == c for c in range(3))))
    assert what.startswith("'x1', 'x2', 'x3' are collinear over all rows")


def test_predictors_that_only_the_groups_tell_apart():
    """x2 is x1 plus a level of the group: over all rows they differ, in no group do they."""
    x1 = np.random.default_rng(10).normal(size=12)
    level = np.repeat([0.0, 3.0, -1.0], [4, 5, 3])
    data = grouped([4, 5, 3], x1, x1 + level, None)
    assert "In all 3 groups predictors vary only together" in data.audit().summary
    assert whats(data) == [
        "'x1', 'x2' vary in no group of 'group' independently of the other predictors: no group "
        "alone identifies their slopes."
    ]


def test_groups_too_small_for_their_predictors():
    """Two rows carry one slope, not two."""
    data = grouped([2] * 6, None, None)
    assert [what[:21] for what in whats(data)] == ["'x1', 'x2' vary in no"]
    assert (data.audit().table["residual_freedom"] == 0).all()
    assert "In all 6 groups rows are so few" in data.audit().summary


@pytest.mark.parametrize(("mean", "sd"), [(2005.0, 8.0), (-300.0, 2.0), (0.01, 1e-5)])
def test_a_predictor_far_from_zero(mean, sd):
    noise = np.random.default_rng(11).normal(mean, sd, size=60)
    (finding,) = grouped([20, 25, 15], noise).audit().findings
    assert finding.what.startswith("The mean of 'x1' is ")
    sds = float(finding.what.split()[5])
    np.testing.assert_allclose(sds, abs(noise.mean()) / noise.std(), rtol=0.01)
    assert finding.command == "count it from its mean, --center x1"
    assert "center='x1'" in finding.advice
    shift = literal_eval(finding.advice.rpartition("center=")[2].removesuffix(")"))["x1"]
    assert abs(shift - noise.mean()) < noise.std()
    # What is advised helps.
    assert grouped([20, 25, 15], noise - shift).audit().ok


@pytest.mark.parametrize(("sds", "found"), [(4.99, 0), (-4.99, 0), (5.01, 1), (-5.01, 1)])
def test_how_far_is_far(sds, found):
    noise = np.random.default_rng(16).uniform(-1.0, 1.0, size=60)
    standard = (noise - noise.mean()) / noise.std()
    assert len(whats(grouped([20, 25, 15], 3.0 * (standard + sds)))) == found


def test_zero_among_the_values_is_near_whatever_the_mean():
    assert grouped([60, 60, 60], [0.0] * 4 + [1.0] * 176).audit().ok


# Groups


def test_one_group():
    data = grouped([7], None)
    assert str(data.audit()).splitlines() == [
        "7 rows in 1 group (group).",
        "  - All rows are of one group, 'a': how groups differ is left to the priors.",
        "    Try: model='pooled'",
    ]
    apart = grouped([7, 2], None).take(np.arange(7))
    assert apart.audit().findings == data.audit().findings
    assert apart.audit().summary == "7 rows in 1 group (group); 1 other group without rows."


def test_one_row():
    audit = grouped([1]).audit()
    assert audit.summary == (
        "1 row in 1 group (group). In the only group rows are so few that the residual sd of the "
        "individual model is its prior."
    )
    assert len(audit.findings) == 1


def test_groups_of_one_row_each():
    data = grouped([1] * 5, None)
    (what,) = whats(data)
    assert what.startswith("Every group of 'group' has a single row: the spread of the groups")
    assert data.audit().summary == (
        "5 rows in 5 groups (group), 1 row each. In all 5 groups rows are so few that the residual "
        "sd of the individual model is its prior."
    )


def test_many_predictors_are_listed_up_to_five():
    steady = np.r_[np.zeros(3), np.random.default_rng(12).normal(size=20)]
    rng = np.random.default_rng(13)
    columns = [steady * (1 + rng.random(23)) for _ in range(6)]
    summary = grouped([3, 20], *columns).audit().summary
    assert "'x1' does not vary in 1 of 2 groups, 'x2' in 1, " in summary
    assert "'x5' in 1, ...: alone" in summary


# Exact fits


def test_an_outcome_that_never_varies():
    assert whats(grouped([4, 5, 3], None, y=[2.5] * 12)) == [
        "'y' is 2.5 in every row: there is nothing to explain."
    ]


def test_an_outcome_computed_from_a_predictor():
    x = np.random.default_rng(14).normal(size=12)
    assert whats(grouped([4, 5, 3], x, y=2.0 - 0.3 * x)) == [
        "One line fits 'y' in every row without a residual: eps has no proper posterior."
    ]


def test_an_outcome_of_the_group():
    y = np.repeat([1.0, 2.5, -4.0], [4, 5, 3])
    (finding,) = grouped([4, 5, 3], None, y=y).audit().findings
    assert finding.what.startswith("The rows of each group of 'group' lie on its own line")
    assert "'y' is a measurement of the row" in finding.advice


def test_what_the_individual_model_refuses_is_announced():
    rng = np.random.default_rng(15)
    x, y = rng.normal(size=(2, 15))
    y[4:9] = 5.0 - 2.0 * x[4:9]
    data = grouped([4, 5, 6], x, y=y)
    assert whats(data) == [
        "The rows of 1 group ('b') leave no residual about the group's own line: the eps of the "
        "individual model has no proper posterior there."
    ]
    with pytest.raises(ValueError, match="more rows than coefficients; got 1 fitted exactly: 'b'"):
        draw_exact(data)
    kept = data.select(["a", "c"])
    assert kept.audit().ok
    assert np.isfinite(draw_exact(kept, draws=10).draws["eps"]).all()


def test_the_audit_reads_the_data_and_leaves_them_alone():
    data = load_radon()
    before = data.fingerprint()
    data.audit()
    assert data.fingerprint() == before
    assert data.labels == Labels("log_radon", ("floor",), "county", data.labels.groups)


# Designs with other columns


def of_design(*columns, slopes=0, sizes=(4, 5, 3), intercept="both", without_mean=0, y=None):
    """The first columns have slopes that vary, the last of these about 0; the others do not."""
    data = grouped(list(sizes), *columns, y=y)
    names = data.labels.predictors
    constant = ("Intercept",)
    with_mean = names[: slopes - without_mean]
    population = (constant if intercept in ("both", "fixed") else ()) + with_mean + names[slopes:]
    varying = (constant if intercept in ("both", "varying") else ()) + names[:slopes]
    return with_design(data, Design(population, varying))


def test_columns_that_do_not_vary_are_no_matter_of_single_groups():
    """A group need not tell them: neither the table nor the counts have them."""
    level = np.repeat([0.0, 3.0, -1.0], [4, 5, 3])
    data = of_design(None, level, None, slopes=1)
    audit = data.audit()
    assert audit.ok
    assert audit.table.columns.tolist() == [
        "rows",
        "singleton",
        "slope[x1]",
        "residual_freedom",
        "fitted_exactly",
    ]
    assert audit.table["residual_freedom"].tolist() == [2, 3, 1]
    assert audit.summary == (
        "12 rows in 3 groups (group), 3 to 5 rows each (median 4). 'x2' is constant within each "
        "group: the differences between groups tell its slope."
    )


def test_a_slope_that_varies_over_a_column_of_the_group_has_advice():
    """The column of the groups in the example file: fine as a column that does not vary."""
    frame = pd.read_csv(CASES / "group_level.csv")
    names = {"y": "log10_price", "group": "town"}
    (finding,) = GroupedData.from_frame(frame, **names, x="lat_c").audit().findings
    assert finding.what.startswith("Within every group of 'town' 'lat_c' is constant")
    assert "fixed='lat_c'" in finding.advice
    assert GroupedData.from_frame(frame, **names, fixed="lat_c").audit().ok


def test_a_fixed_column_that_never_varies_is_named():
    frame = pd.read_csv(CASES / "zero_column.csv")
    data = GroupedData.from_frame(frame, y="y", x="b", fixed=["a", "c"], group="category")
    (finding,) = data.audit().findings
    assert finding.what == "'a' is the same in every row: the data say nothing of its slope."
    assert finding.command == "leave out --fixed a"
    assert not finding.caution


def test_fixed_columns_that_are_combinations_are_named():
    x1, x2, x4 = np.random.default_rng(9).normal(size=(3, 12))
    (what,) = whats(of_design(x1, x2, 3.0 - 2.0 * x1 + x2, x4, slopes=1))
    assert what.startswith("'x1', 'x2', 'x3' are collinear over all rows")


def test_a_slope_that_varies_about_0_may_be_a_combination():
    """Days beside years: the mean slope is that of the one, the spread that of the other."""
    days = np.random.default_rng(20).normal(size=12)
    assert whats(of_design(days, 2000.0 + days, slopes=1, without_mean=1)) == []
    assert len(whats(of_design(days, 2000.0 + days, slopes=1))) == 1


def test_far_from_zero_matters_beside_intercepts_that_vary_alone():
    far = 2000.0 + np.random.default_rng(20).normal(size=12)
    assert whats(of_design(far, slopes=0)) == []
    assert whats(of_design(far, None, slopes=1, intercept="fixed")) == []
    (what,) = whats(of_design(far, None, slopes=1))
    assert what.startswith("The mean of 'x1' is ")


@pytest.mark.parametrize(("columns", "found"), [(1, 0), (2, 1), (3, 1)])
def test_as_many_columns_of_the_group_as_groups_leave_no_spread(columns, found):
    """Three levels are fitted by three coefficients, whatever the spread."""
    rng = np.random.default_rng(2)
    levels = [np.repeat(rng.normal(size=3), [4, 5, 3]) for _ in range(columns)]
    audit = of_design(*levels, slopes=0).audit()
    about = [f for f in audit.findings if "how groups differ is left to the priors" in f.what]
    assert len(about) == found
    assert [f in audit.bearing_on("hierarchical") for f in about] == [True] * found
    assert not any(f in audit.bearing_on("pooled") for f in about)


def test_without_intercepts_of_groups_a_steady_predictor_tells_its_slope():
    """With a common intercept, rows at one value of x lie on one slope; at 0 they say nothing."""
    x = np.r_[np.full(4, 2.0), np.zeros(5), [1.0, 2.0, 3.0]]
    audit = of_design(x, slopes=1, intercept="fixed").audit()
    assert audit.table["slope[x1]"].tolist() == ["identified", "constant", "identified"]
    assert audit.table["residual_freedom"].tolist() == [3, 5, 2]
    assert "'x1' is 0 in 1 of 3 groups" in audit.summary
    assert audit.ok


@given(small_data(), st.sampled_from(["both", "fixed", "varying", "none"]), st.integers(0, 3))
def test_of_any_design_the_slopes_of_groups_are_those_that_lower_the_rank(data, intercept, slopes):
    names = data.labels.predictors
    slopes = min(slopes, len(names))
    first = ("Intercept",)
    design = Design(
        (first if intercept in ("both", "fixed") else ()) + names,
        (first if intercept in ("both", "varying") else ()) + names[:slopes],
    )
    data = with_design(data, design)
    from_rows = data.audit()
    table = from_rows.table
    for c in range(data.num_groups):
        x = data.x[data.group == c, :slopes]
        if design.intercept_varies:
            x = np.column_stack([x, np.ones(len(x))])
        rank = np.linalg.matrix_rank(x) if x.size else 0
        assert table["residual_freedom"].iloc[c] == len(x) - rank
        for k, name in enumerate(names[:slopes]):
            found = table[f"slope[{name}]"].iloc[c] == "identified"
            assert found == (np.linalg.matrix_rank(np.delete(x, k, axis=1)) < rank)
    of_sums = GroupStatistics.from_data(data).audit()
    pd.testing.assert_frame_equal(of_sums.table, table)
    kinds = ("collinear", "the same in every row", "Within every", "varies in no group")
    for kind in (*kinds, "left to the priors"):
        assert [f.what for f in of_sums.findings if kind in f.what] == [
            f.what for f in from_rows.findings if kind in f.what
        ]


def test_a_level_of_each_group_is_fitted_exactly_beside_any_column():
    y = np.repeat([1.0, 2.5, -4.0], [4, 5, 3])
    (what,) = whats(of_design(None, slopes=0, y=y))
    assert what.startswith("The rows of each group of 'group' lie on its own line")
    # One such group is a matter of the individual model, which is none of this design.
    y = np.random.default_rng(1).normal(size=12)
    y[:4] = 2.0
    assert whats(of_design(None, slopes=0, y=y)) == []


def test_levels_beside_an_intercept_have_one_finding_together():
    """Of ``(1 | g) + (0 + c || g)`` no group tells the parts apart, whose means there are not."""
    rng = np.random.default_rng(4)
    frame = pd.DataFrame({"c": rng.choice(list("pqr"), 90), "g": np.arange(90) % 6})
    frame["y"] = rng.normal(size=90)
    data = GroupedData.from_formula("y ~ 1 + (1 | g) + (0 + c || g)", frame)
    assert data.notes[-1].startswith("'c[r]' varies by group although the columns before determine")
    (finding,) = data.audit().findings
    assert finding.what == (
        "'c[p]', 'c[q]', 'c[r]' vary in no group of 'g' independently of the other predictors: no "
        "group alone identifies their slopes."
    )
    assert finding.advice.startswith("fewer predictors, or read predictions rather than")
    assert data.audit().bearing_on("hierarchical")[0].caution
