"""The report as text: its structure, its numbers, its words, and that data cannot become markup."""

import re
import zipfile
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from fits import (
    STRANGE_COLUMNS,
    STRANGE_LABELS,
    labelled_fit,
    radon_tree,
    towns_fit,
)
from hatchling.builders.wheel import WheelBuilder
from hypothesis import given
from hypothesis import strategies as st

import radon_numpyro
from radon_numpyro import GroupedData, compare, diagnose, fit, predict
from radon_numpyro.inference.compute.devices import in_words
from radon_numpyro.report.document import html_report, render
from radon_numpyro.report.words import Paragraph, Section, Table, name, number
from radon_numpyro.results.estimates import ALL_GROUPS, CHOSEN_GROUPS, Numbers, display

# Elements without an end.
VOID = ("img", "link", "meta")
# Other fits of the same towns say other things.
TOWNS = {
    "hierarchical": {},
    "no predictor": {"num_predictors": 0, "method": "integrate"},
    "three predictors": {"num_predictors": 3, "method": "integrate"},
    "individual": {"model": "individual"},
    "pooled": {"model": "pooled", "num_predictors": 3},
    "pooled, no predictor": {"model": "pooled", "num_predictors": 0},
    "statistics": {"statistics_only": True},
    "statistics, individual": {"model": "individual", "statistics_only": True},
    "summary": {"coefficients": "summary"},
    "summary, no predictor": {
        "coefficients": "summary",
        "num_predictors": 0,
        "method": "integrate",
    },
}


class Page(HTMLParser):
    """Elements of a page as (tag, attributes, text), in order; refuses what is not closed."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert len({key for key, _ in attrs}) == len(attrs)
        self.elements.append([tag, dict(attrs), "", tuple(self.open)])
        if tag not in VOID:
            self.open.append(len(self.elements) - 1)

    def handle_endtag(self, tag):
        assert self.elements[self.open.pop()][0] == tag

    def handle_data(self, data):
        for at in self.open:
            self.elements[at][2] += data

    def all(self, *tags):
        return [(attrs, text) for tag, attrs, text, _ in self.elements if tag in tags]

    def text(self, key):
        return next(text for _, attrs, text, _ in self.elements if attrs.get("id") == key)

    def rows(self, label):
        """Cells of the table in the region of this name, its heads first."""
        region = next(
            k
            for k, (_, attrs, _, _) in enumerate(self.elements)
            if attrs.get("aria-label") == label
        )
        rows = [k for k, e in enumerate(self.elements) if e[0] == "tr" and region in e[3]]
        return [
            [
                text
                for tag, _, text, around in self.elements
                if tag in ("th", "td") and row in around
            ]
            for row in rows
        ]


def plain(text):
    return text.replace("\N{MINUS SIGN}", "-").replace(",", "")


def assert_shown(text, value):
    """The number is the value, to the last digit shown."""
    text = plain(text)
    places = len(text.partition(".")[2])
    unit = 10.0**-places
    if not places:
        # Two figures: the tens of a wide interval.
        unit = 10.0 ** (len(text) - len(text.rstrip("0"))) if float(text) else 1.0
    assert abs(float(text) - value) <= 0.5000001 * unit, (text, value)


@cache
def report_of(name):
    return html_report(radon_tree("hierarchical") if name == "radon" else towns_fit(**TOWNS[name]))


@cache
def tame_report():
    return html_report(labelled_fit())


@pytest.fixture
def radon():
    return Page(report_of("radon"))


# Structure


@pytest.mark.parametrize("name", TOWNS)
def test_the_page_is_well_made(name):
    text = report_of(name)
    page = Page(text)
    assert text.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert len(text) < 2_000_000
    levels = [int(tag[1]) for tag, *_ in page.elements if re.fullmatch(r"h\d", tag)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    ids = [attrs["id"] for _, attrs, _, _ in page.elements if "id" in attrs]
    assert len(set(ids)) == len(ids)
    for key in ("header", "nav", "main", "footer", "title"):
        assert len(page.all(key)) == 1, key
    for attrs, words_of_link in page.all("a"):
        assert attrs["href"].removeprefix("#") in ids
        assert words_of_link
    for attrs, _ in page.all("img"):
        assert len(attrs["alt"]) > 20
        assert attrs["src"].startswith(("data:image/svg+xml;base64,", "data:image/png;base64,"))
    assert len(page.all("caption")) == len(page.all("table")) > 0
    assert all(attrs["scope"] in ("col", "row") for attrs, _ in page.all("th"))
    assert all(caption.strip() for _, caption in page.all("caption"))
    policy = next(a["content"] for a, _ in page.all("meta") if "http-equiv" in a)
    assert "default-src 'none'" in policy
    assert "script" not in policy


@pytest.mark.parametrize("name", TOWNS)
def test_the_page_asks_for_nothing_and_runs_nothing(name):
    page = Page(report_of(name))
    assert page.all("script", "iframe", "object", "embed", "form", "base") == []
    for tag, attrs, _, _ in page.elements:
        assert not any(key.startswith("on") for key in attrs), (tag, attrs)
        for key in ("src", "href"):
            assert attrs.get(key, "#").startswith(("#", "data:"))
    style = page.all("style")[0][1]
    assert "url(" not in style
    assert "@import" not in style


def test_the_sections_are_those_that_the_fit_can_fill():
    def sections(name):
        page = Page(report_of(name))
        links = [attrs["href"][1:] for attrs, _ in page.all("a")][1:]
        assert links == [attrs["id"] for attrs, _ in page.all("section")]
        return links

    whole = ["verdict", "answer", "data", "model", "results", "groups", "predictions", "made"]
    assert sections("hierarchical") == whole
    assert sections("pooled") == [part for part in whole if part != "groups"]
    assert "advi" in sections("radon")


def test_a_fit_from_a_file_gives_the_same_page(tmp_path):
    tree = towns_fit()
    text = report_of("hierarchical")
    assert html_report(tree) == text
    tree.to_netcdf(tmp_path / "fit.nc", engine="h5netcdf")
    assert html_report(xr.load_datatree(tmp_path / "fit.nc", engine="h5netcdf")) == text


def test_the_tree_and_the_settings_of_matplotlib_stay_as_they_are():
    tree = towns_fit()
    before, settings, figures = tree.copy(deep=True), dict(plt.rcParams), plt.get_fignums()
    html_report(tree)
    xr.testing.assert_identical(tree, before)
    assert dict(plt.rcParams) == settings
    assert plt.get_fignums() == figures


# Verdict


def test_the_verdict_comes_first_and_says_what_was_seen(radon):
    diagnosis = diagnose(radon_tree("hierarchical"))
    assert diagnosis.ok
    verdict = radon.text("verdict")
    assert "The draws can be trusted." in verdict
    assert f"{diagnosis.max_rhat:.4f}" in verdict
    assert f"{diagnosis.num_draws:,} draws" in verdict
    sections = [attrs["id"] for attrs, _ in radon.all("section")]
    assert sections[:2] == ["verdict", "answer"]
    assert [text for tag, a, text, _ in radon.elements if a.get("role") == "status"] == [
        "The draws can be trusted."
    ]


def test_a_bad_run_is_not_to_be_relied_on_and_every_finding_says_what_to_try():
    tree = radon_tree("hierarchical").copy(deep=True)
    tree["sample_stats"]["diverging"].values[0, :7] = True
    tree.attrs["complete"] = 0
    findings = diagnose(tree).findings
    assert len(findings) == 2
    page = Page(html_report(tree))
    verdict = page.text("verdict")
    assert "Do not rely on these numbers yet." in verdict
    assert "can be trusted." not in verdict
    assert "incomplete" in verdict
    for finding in findings:
        assert finding.what in verdict
        assert f"Try: {finding.advice}." in verdict
    assert "Not yet to be relied on" in page.text("answer")


# Numbers


@pytest.mark.parametrize("name", ["hierarchical", "three predictors", "pooled", "summary"])
def test_the_table_of_results_has_the_posterior(name):
    tree = towns_fit(**TOWNS[name])
    checks = diagnose(tree).table
    head, *rows = Page(html_report(tree, ci_prob=0.8)).rows("Parameters")
    assert head[3] == "80\N{NO-BREAK SPACE}% interval"
    expected = Numbers(tree, 0.8).parameters()
    assert len(rows) == len(expected)
    posterior = tree["posterior"].to_dataset()
    for (_, *cells), (key, draws) in zip(rows, expected.items(), strict=True):
        site, _, predictor = key.rstrip("]").partition("[")
        site = posterior[site].sel(predictor=predictor) if predictor else posterior[site]
        np.testing.assert_array_equal(np.sort(draws), np.sort(site.values.ravel()))
        mean, sd, interval, *sizes = cells
        assert_shown(mean, draws.mean())
        assert_shown(sd, draws.std())
        for end, q in zip(interval.split(" to "), (0.1, 0.9), strict=True):
            assert_shown(end, np.quantile(draws, q))
        # A fit by integration has no R-hat.
        columns = [c for c in ("r_hat", "ess_bulk", "ess_tail") if c in checks]
        assert len(columns) == (2 if name == "three predictors" else 3)
        for cell, column in zip(sizes, columns, strict=True):
            assert float(plain(cell)) == pytest.approx(checks.loc[key, column], abs=0.51, rel=1e-4)


@pytest.mark.parametrize("name", ["hierarchical", "three predictors", "individual"])
def test_the_table_of_groups_has_every_group_once(name):
    tree = towns_fit(**TOWNS[name])
    head, *rows = Page(report_of(name)).rows("Groups")
    posterior = tree["posterior"].to_dataset()
    counts = tree["constant_data"]["count"].to_series()
    assert sorted(row[0] for row in rows) == sorted(counts.index)
    means = posterior.mean(("chain", "draw"))
    order = means["alpha"].to_series().sort_values(ascending=False).index
    assert [row[0] for row in rows] == order.tolist()
    predictors = posterior["predictor"].values.tolist()
    assert head[2:] == ["intercept", *(f"slope of {x}" for x in predictors)]
    for label, count, *cells in rows:
        assert float(count) == counts[label]
        sites = [posterior["alpha"], *(posterior["beta"].sel(predictor=x) for x in predictors)]
        for cell, site in zip(cells, sites, strict=True):
            draws = site.sel(town=label).values
            pattern = r"([^\s\N{DAGGER}]+)\N{DAGGER}? \((\S+) to (\S+)\)"
            mean, low, high = re.fullmatch(pattern, cell).groups()
            for text, value in zip(
                (mean, low, high), (draws.mean(), *np.quantile(draws, (0.05, 0.95))), strict=True
            ):
                assert_shown(text, value)


def test_summarised_coefficients_have_the_intervals_of_normals_and_say_so():
    tree = towns_fit(coefficients="summary")
    page = Page(report_of("summary"))
    moments = {k: tree[f"coefficients/{k}"]["alpha"].to_series() for k in ("means", "sds")}
    for label, _, cell, _ in page.rows("Groups")[1:]:
        mean, low, high = re.fullmatch(r"(\S+) \((\S+) to (\S+)\)", cell).groups()
        assert_shown(mean, moments["means"][label])
        for text, sign in ((low, -1), (high, 1)):
            assert_shown(text, moments["means"][label] + sign * 1.6448536 * moments["sds"][label])
    assert "those of Normals" in page.text("groups")


def test_predictions_are_those_of_predict():
    tree = towns_fit()
    head, *rows = Page(report_of("hierarchical")).rows("Predictions")
    assert head == ["group", "x1", "line", "new row"]
    count = tree["constant_data"]["count"].to_series()
    # The largest, the median and the smallest that has rows.
    assert [row[0] for row in rows[2:]] == ["town 2"] * 2 + ["town 4"] * 2 + ["town 1"] * 2
    assert count[["town 2", "town 1"]].tolist() == [9, 1]
    frame = {"town": [None if r[0] == "a new group" else r[0] for r in rows]}
    frame = pd.DataFrame(frame | {"x1": [float(plain(row[1])) for row in rows]})
    for kind, column in (("mean", 2), ("outcome", 3)):
        expected = predict(tree, frame, kind=kind, new_groups="population")
        for row, (_, wanted) in zip(rows, expected.iterrows(), strict=True):
            found = re.fullmatch(r"(\S+) \((\S+) to (\S+)\)", row[column]).groups()
            for text, moment in zip(found, ("mean", "lower", "upper"), strict=True):
                assert_shown(text, wanted[moment])


def test_a_predictor_of_zeros_and_ones_is_predicted_at_both(radon):
    assert [row[1] for row in radon.rows("Predictions")[1:3]] == ["0", "1"]
    answer = radon.text("answer")
    assert "floor 1 instead of 0 goes with" in answer
    assert "One unit more" not in answer


def test_a_predictor_in_a_tiny_unit_is_not_one_of_zeros_and_ones():
    """Else the report would say "1 instead of 0" of a predictor of some 1e-12."""
    rows = np.random.default_rng(0).normal(3.0, 1.0, size=(40, 2))
    group = ["a", "b"] * 20
    settings = {"draws": 10, "num_advi_steps": 0, "progress_bar": False}
    for unit in (1e-12, 1.0):
        data = GroupedData.from_arrays(rows[:, 0], rows[:, 1] * unit, group)
        assert not Numbers(fit(data, model="pooled", **settings), 0.9).columns["binary"].any()


@given(
    st.floats(-1e12, 1e12),
    st.floats(1e-9, 1e9),
)
def test_a_number_is_off_by_a_twentieth_of_its_interval_at_the_most(value, width):
    text = plain(number(value, width))
    assert abs(float(text) - value) <= 0.0501 * width + 1e-14 * abs(value)


def test_a_number_is_written_for_readers():
    assert number(-0.6483, 0.28) == "\N{MINUS SIGN}0.65"
    assert number(-0.001, 0.28) == "0.00"
    assert number(12345.6, 300) == "12,350"
    assert number(1e-9, 3e-9) == "1.0e\N{MINUS SIGN}09"
    assert number(float("nan"), 1.0) == number(float("inf"), 1.0) == "not finite"


# Words


def test_question_and_answer_of_the_radon_data(radon):
    question = next(text for attrs, text in radon.all("p") if attrs.get("class") == "question")
    assert question == (
        "How does log_radon vary with floor, and how much does that differ between 85 groups "
        "(county)?"
    )
    posterior = radon_tree("hierarchical")["posterior"].to_dataset()
    slope = posterior["mu_beta"].values.ravel()
    found = re.search(
        r"goes with a difference of (\S+) in log_radon \(90.% interval (\S+) to (\S+)\)",
        radon.text("answer"),
    )
    for text, value in zip(
        found.groups(), (slope.mean(), *np.quantile(slope, (0.05, 0.95))), strict=True
    ):
        assert_shown(text, value)
    rng = np.random.default_rng(0)
    new = np.concatenate(
        [
            slope + posterior["sigma_beta"].values.ravel() * rng.normal(size=len(slope))
            for _ in range(50)
        ]
    )
    low, high = re.search(
        r"groups like these between (\S+) and (\S+)\.", radon.text("answer")
    ).groups()
    for text, q in ((low, 0.05), (high, 0.95)):
        # Rounded to the digits shown; and both sides are draws.
        rounding = 0.5 * 10.0 ** -len(plain(text).partition(".")[2])
        assert float(plain(text)) == pytest.approx(np.quantile(new, q), abs=rounding + 0.03)


def test_no_claim_of_causes(radon):
    everything = " ".join(text for tag, _, text, _ in radon.elements if tag == "main")
    claims = re.findall(
        r"[^.]*\b(?:cause|effect of|leads? to|impact|because of)\w*\b[^.]*", everything
    )
    assert [claim.strip() for claim in claims] == ["What goes with what need not cause it"]


def test_an_interval_with_zero_is_called_undecided():
    text = Page(report_of("three predictors")).text("answer")
    tree = towns_fit(**TOWNS["three predictors"])
    draws = tree["posterior"]["mu_beta"].stack(sample=("chain", "draw"))
    low, high = draws.quantile([0.05, 0.95], "sample").values
    undecided = int(((low < 0) & (high > 0)).sum())
    assert undecided > 0
    assert text.count("do not settle the direction") == undecided
    assert text.count("other predictors being the same") == 3


def test_individual_slopes_are_counted():
    tree = towns_fit("individual")
    beta = tree["posterior"]["beta"].stack(sample=("chain", "draw"))
    low, high = beta.quantile([0.05, 0.95], "sample").values
    above, below = int((low > 0).sum()), int((high < 0).sum())
    text = Page(report_of("individual")).text("answer")
    assert f"is above zero in {above} of 5 groups" in text
    assert (
        f"below zero in {below}, and of unsettled direction in the other {5 - above - below}"
        in text
    )


def test_data_audit_and_rows_left_out():
    tree = towns_fit().copy()
    tree.attrs["left_out"] = '[["<floor> is 9", 3]]'
    page = Page(html_report(tree))
    text = page.text("data")
    assert "18 rows in 4 groups (town)" in text
    # Five towns are few, which is a caution.
    assert "What the audit found stands with the verdict." in text
    assert "Read the numbers with this in mind" in page.text("verdict")
    assert "The audit found nothing else." in Page(report_of("radon")).text("data")
    alone = Page(report_of("individual"))
    assert "What the audit found stands with the verdict." in alone.text("data")
    assert "The slope of 'x1' is its prior" in alone.text("verdict")
    assert "3 rows left out: <floor> is 9." in text
    # Of a fit of an earlier version, which has not kept what was found.
    del tree.attrs["findings"]
    assert "standard deviations from 0" in Page(html_report(tree)).text("data")
    only = Page(report_of("statistics")).text("data")
    assert "need the rows" in only
    assert "18 rows in 5 groups (town), 0 to 9 rows each" in only


def test_priors_are_told_with_their_numbers(radon):
    rows = {row[0]: row[1:] for row in radon.rows("Priors")[1:]}
    assert len(rows) == 5
    (mean,) = (row for key, row in rows.items() if "intercept of the average group" in key)
    assert mean[0] == "Normal(0, 10,000)"
    low, high = re.search(r"between (\S+) and (\S+)", mean[1]).groups()
    assert float(plain(high)) == -float(plain(low)) == pytest.approx(16449, abs=500)
    (scale,) = (row for key, row in rows.items() if "residual sd" in key)
    assert scale == ["Uniform(0, 100)", "anything up to 100, and nothing above"]


def test_advi_is_beside_the_draws_with_its_verdict(radon):
    tree = radon_tree("hierarchical")
    text = radon.text("advi")
    assert tree["advi"].attrs["verdict"] in text
    rows = {row[0]: row[1:] for row in radon.rows("The draws and ADVI")[1:]}
    (row,) = (cells for key, cells in rows.items() if "sd of the intercepts" in key)
    assert_shown(row[2], float(tree["posterior"]["sigma_alpha"].std()))
    assert_shown(row[3], float(tree["advi/sds"]["sigma_alpha"]))
    ratio = tree["advi/sds"]["sigma_beta"].item() / tree["posterior"]["sigma_beta"].values.std()
    assert f"is {ratio:.2f} times that of the draws" in text


def test_how_it_was_made():
    tree = labelled_fit()
    page = Page(tame_report())
    text = page.text("made")
    for key in ("command", "call", "data_fingerprint", "dtype", "priors"):
        assert str(tree.attrs[key]) in text, key
    assert in_words(tree.attrs["device"], tree.attrs["device_reason"]) in text
    assert "numpyro 0" in text
    assert ["seed", "0"] in page.rows("The run")


# Many groups


@pytest.mark.slow
def test_of_many_groups_those_that_differ_most_clearly_are_shown():
    total = ALL_GROUPS + 50
    rng = np.random.default_rng(3)
    code = np.repeat(np.arange(total), 6)
    level = np.where(np.arange(total) == 77, 9.0, rng.normal(0.0, 0.5, total))
    x = rng.normal(1.0, 2.0, len(code))
    y = level[code] + 0.3 * x + rng.normal(0.0, 0.4, len(code))
    data = GroupedData.from_arrays(y, x, code)
    tree = fit(data, method="integrate", draws=100)
    text = html_report(tree)
    rows = Page(text).rows("Groups")[1:]
    assert len(rows) == CHOSEN_GROUPS
    assert rows[0][0] == "77"
    assert f"The other {total - CHOSEN_GROUPS} are left out" in text
    assert "The intercept in each group of the table, the highest on top." in Page(text).text(
        "groups"
    )
    assert len(text) < 2_000_000


# Other people's text


def test_whatever_words_hold_is_text():
    """Else the names in somebody's file could become markup, in text or in an attribute."""
    blocks = [
        Paragraph(["<b>&\"'", ["x", name("<"), 1.5]]),
        Paragraph("a\x00\x0b\ud800\n\tb"),
        Table("c", ["a", "b"], [["x", "<td>"]], "\"><'&"),
    ]
    page = render(
        title="</title><script>",
        heading="h",
        question="<q>",
        sections=[Section("key", "<a>", "<h2>", blocks)],
        version="0",
    )
    for made in (
        "<p>&lt;b&gt;&amp;&#34;&#39;x<bdi><i>&lt;</i></bdi>1.5</p>",
        "<p>a\ufffd\ufffd\ufffd\n\tb</p>",
        'aria-label="&#34;&gt;&lt;&#39;&amp;"',
        "<td>&lt;td&gt;</td>",
        "<title>&lt;/title&gt;&lt;script&gt;</title>",
        '<p class="question">&lt;q&gt;</p>',
        '<a href="#key">&lt;a&gt;</a>',
        '<h2 id="key-heading">&lt;h2&gt;</h2>',
    ):
        assert made in page, made


def test_the_templates_alone_make_markup():
    """What they are given is escaped as long as nothing calls itself safe."""
    folder = Path(radon_numpyro.__file__).parent
    for path in folder.rglob("*.py"):
        text = path.read_text()
        assert "Markup(" not in text, path
        assert "markupsafe" not in text, path
        assert not re.search(r"""["'>]</?[a-z]+[ >]""", text), path
    templates = sorted((folder / "report" / "templates").iterdir())
    assert [path.name for path in templates] == ["page.html", "parts.html", "style.css"]
    for path in templates:
        assert not re.search(r"\bsafe\b|autoescape false", path.read_text()), path


def test_a_wheel_holds_the_templates(tmp_path):
    """Else an installed package could make no page."""
    root = Path(radon_numpyro.__file__).parents[1]
    wheel = next(WheelBuilder(str(root)).build(directory=str(tmp_path), versions=["standard"]))
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    for file in ("page.html", "parts.html", "style.css"):
        assert f"radon_numpyro/report/templates/{file}" in held


def test_strange_names_change_no_element_and_are_shown_as_they_are():
    tame = Page(tame_report())
    strange = Page(html_report(labelled_fit(STRANGE_COLUMNS, STRANGE_LABELS)))
    assert [e[0] for e in strange.elements] == [e[0] for e in tame.elements]
    assert [sorted(e[1]) for e in strange.elements] == [sorted(e[1]) for e in tame.elements]
    shown = [row[0] for row in strange.rows("Groups")[1:]]
    for label in STRANGE_LABELS:
        # A NUL, which no netCDF file holds, is spelt out as it comes in; the page leaves no other.
        plainly = label.replace("\x00", r"\x00").replace("\x0b", "\ufffd")
        assert (plainly if len(label) < 60 else f"{label[:59]}\N{HORIZONTAL ELLIPSIS}") in shown
    assert strange.all("title")[0][1].endswith("by a/b \"'>")
    assert STRANGE_COLUMNS[0] in strange.all("h1")[0][1]
    assert tame.all("h1")[0][1] == "height by village"


def test_names_in_figures_are_short_distinct_and_in_one_line():
    names = display([*STRANGE_LABELS, *[f"a name of many letters, number {k}" for k in range(9)]])
    assert len(set(names)) == len(names) == len(STRANGE_LABELS) + 9
    assert max(map(len, names)) <= 24
    # Long names mostly differ at their end.
    assert names[-2:] == [
        "a name of man\N{HORIZONTAL ELLIPSIS}, number 7",
        "a name of man\N{HORIZONTAL ELLIPSIS}, number 8",
    ]
    assert all(not set(name) & set("\n\x0b\x00") for name in names)
    assert display(["a", "b c"]) == ["a", "b c"]
    assert display(["a\x00", "a\x01", "a\x02"]) == ["a\ufffd", "a\ufffd 2", "a\ufffd 3"]


@pytest.mark.parametrize("model", ["hierarchical", "individual"])
def test_labels_that_differ_in_type_alone_are_both_reported(model):
    rng = np.random.default_rng(1)
    label = np.resize(np.array([27, "27"], dtype=object), 40)
    data = GroupedData.from_arrays(rng.normal(size=40), rng.normal(size=40), label)
    tree = fit(data, model=model, method="integrate", draws=100)
    page = Page(html_report(tree))
    assert [row[0] for row in page.rows("Groups")[1:]] == ["27", "27"]
    predicted = [row[0] for row in page.rows("Predictions")[1:]] if model == "hierarchical" else []
    assert set(predicted) <= {"a new group"}


# Comparison and refusals


def test_a_comparison_is_told_in_words_and_numbers():
    fits = {model: towns_fit(model) for model in ("hierarchical", "pooled")}
    compared = compare(fits, folds=3)
    page = Page(html_report(fits["hierarchical"], comparison=compared))
    head, *rows = page.rows("Comparison")
    assert [row[0] for row in rows] == compared.table.index.tolist()
    for label, *cells in rows:
        shown = dict(zip(head[1:], cells, strict=True))
        value, error = shown["elpd_loo"].split(" ± ")
        assert_shown(value, compared.table.loc[label, "elpd_loo"])
        assert_shown(error, compared.table.loc[label, "elpd_loo_se"])
    behind = compared.table["elpd_diff"].iloc[1]
    text = page.text("comparison")
    assert f"{compared.table.index[0]} predicts best" in text
    assert f"is behind by {-behind:,.1f}" in text
    for column in head[1:]:
        assert compared.definitions[column] in text


def test_a_comparison_of_other_data_is_refused():
    compared = compare({"pooled": towns_fit("pooled", 3)}, folds=0)
    with pytest.raises(
        ValueError, match="Expected comparison of the rows of tree; got one of other"
    ):
        html_report(towns_fit(), comparison=compared)
    with pytest.raises(TypeError, match="Expected comparison to be a Comparison; got dict"):
        html_report(towns_fit(), comparison={})


@pytest.mark.parametrize("prob", [0, 1, -0.1, 90])
def test_a_probability_out_of_range_is_refused(prob):
    with pytest.raises(ValueError, match="Expected ci_prob between 0 and 1; got"):
        html_report(towns_fit(), ci_prob=prob)


def test_what_is_not_a_fit_is_refused():
    with pytest.raises(TypeError, match="Expected tree to be an xarray DataTree; got dict"):
        html_report({})


def test_a_title_is_text_too():
    page = Page(html_report(towns_fit(), title="A & <b>"))
    assert page.all("h1")[0][1] == page.all("title")[0][1] == "A & <b>"
