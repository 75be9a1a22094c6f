"""Bad input by a user's hand: one clear sentence, exit status 2, and no file is written or lost.

Each case is a file and a command; the message is what the user reads.
"""

import gzip
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from radon_numpyro.cli import app as cli

GOOD = "town,level,floor\na,1.5,0\na,2.5,1\nb,3.0,0\nb,4.5,1\n"
COLUMNS = ["--y", "level", "--x", "floor", "--group", "town"]


def text(old, new):
    assert old in GOOD
    return GOOD.replace(old, new, 1)


def parquet(folder, **columns):
    path = folder / "rows.parquet"
    full = {"town": [*"aabb"], "level": [1.5, 2.5, 3.0, 4.5], "floor": [0, 1, 0, 1], **columns}
    pq.write_table(pa.table(full), path)
    return path


# Name of the file, its content (None: no file), options, and what is said.
FILES = {
    "no file": (
        "rows.csv",
        None,
        COLUMNS,
        "a file; got .*rows.csv', which does not exist",
    ),
    "a wrong name": ("rows.CVS", GOOD, COLUMNS, r"a name that ends in \.csv.*; got .*rows\.CVS"),
    "a spreadsheet": ("rows.xlsx", "PK", COLUMNS, r"rows\.xlsx' to be a spreadsheet; got one"),
    "an old spreadsheet": ("rows.xls", "", COLUMNS, r"ends in \.csv, .*got .*rows\.xls'"),
    "an empty file": ("rows.csv", "", COLUMNS, "to begin with names of columns; got none"),
    "blank lines only": ("rows.csv", "\n\n", COLUMNS, "to begin with names of columns; got none"),
    "names without rows": ("rows.csv", "town,level,floor\n", COLUMNS, "at least one row; got 0"),
    "no names": ("rows.csv", "a,1.5,0\nb,2,1\n", COLUMNS, "y to name a column; got 'level'"),
    "another encoding": (
        "rows.csv",
        text("a,1.5", "Genève,1.5").encode("latin-1"),
        COLUMNS,
        "to be text in UTF-8; got byte 0xe8",
    ),
    "half of a character": (
        "rows.csv",
        GOOD.encode("utf-16") + b"a",
        COLUMNS,
        "to be text in UTF-16; got byte 0x61",
    ),
    "bytes of a program": ("rows.csv", b"\x7fELF\0\0", COLUMNS, "to be text; got a NUL character"),
    "Parquet under another name": ("rows.csv", b"PAR1\0\x15", COLUMNS, "got a Parquet file"),
    "no Parquet inside": ("rows.parquet", "PAR1", COLUMNS, "to be a Parquet file; got: "),
    "an empty Parquet file": ("rows.parquet", "", COLUMNS, "to be a Parquet file; got: "),
    "not compressed": ("rows.csv.gz", GOOD, COLUMNS, r"rows\.csv\.gz' to be \.gz; got: Not a gzip"),
    "cut short": (
        "rows.csv.gz",
        gzip.compress(GOOD.encode() * 50)[:-20],
        COLUMNS,
        r"to be \.gz; got: Compressed file ended before",
    ),
    "a line too long": (
        "rows.csv",
        text("b,3.0,0", "b,3.0,0,9"),
        COLUMNS,
        "to have the 3 fields of its first; got: Expected 3 fields in line 4, saw 4",
    ),
    "the first line too long": (
        "rows.csv",
        text("a,1.5,0", "a,1.5,0,9"),
        COLUMNS,
        "to have the 3 fields of its first; got: ",
    ),
    "an open quote": ("rows.csv", text("a,1.5", '"a,1.5'), COLUMNS, "EOF inside string"),
    "commas that may be decimal or between thousands": (
        "rows.csv",
        "town;level;floor\na;1,500;0\nb;2,500;1\n",
        COLUMNS,
        r"be read in one way; got '1,500' in 'level', .*\(--decimal ,\) .*\(--thousands ,\)",
    ),
    "decimal commas and decimal points": (
        "rows.csv",
        "town;level;floor\na;1,5;0\nb;2.5;1\n",
        COLUMNS,
        "one way to write numbers; got '1,5' in 'level', with a decimal comma, and '2.5'",
    ),
    "text for the outcome": (
        "rows.csv",
        text("2.5", "high"),
        COLUMNS,
        r"'level' \(y\) to be numeric; got .* 1 row \(row 2\) not a number: 'high'",
    ),
    "text for a predictor": (
        "rows.csv",
        text("a,2.5,1", "a,2.5,first"),
        COLUMNS,
        r"'floor' \(x\) to be numeric; got .* 1 row \(row 2\) not a number: 'first'",
    ),
    "a unit behind a number": ("rows.csv", text("3.0", "3.0 m"), COLUMNS, "a number: '3.0 m'"),
    "yes and no for the outcome": (
        "rows.csv",
        "town,level,floor\na,True,0\nb,False,1\n",
        COLUMNS,
        r"'level' \(y\) to be a measurement; got dtype bool",
    ),
    "a blank outcome": (
        "rows.csv",
        text("2.5", ""),
        COLUMNS,
        r"'level' \(y\) to be finite; got 1 row \(row 2\) missing",
    ),
    "NA for an outcome": ("rows.csv", text("2.5", "NA"), COLUMNS, r"1 row \(row 2\) missing"),
    "a line too short": ("rows.csv", text("b,3.0,0", "b"), COLUMNS, "got: 1 field in line 4"),
    "a blank predictor": ("rows.csv", text("3.0,0", "3.0,"), COLUMNS, r"'floor' \(x\) .*\(row 3\)"),
    "a blank group": (
        "rows.csv",
        text("b,3.0", ",3.0"),
        COLUMNS,
        r"'town' \(group\) without gaps; got 1 row \(row 3\) missing",
    ),
    "infinity": ("rows.csv", text("3.0", "-inf"), COLUMNS, r"got 1 row \(row 3\) infinite"),
    "a number beyond all numbers": ("rows.csv", text("3.0", "1e999"), COLUMNS, r"\(row 3\) infin"),
    "an outcome that is missing": (
        "rows.csv",
        GOOD,
        ["--y", "lvl", "--group", "town"],
        r"y to name a column; got 'lvl' \(close: 'level'\)",
    ),
    "a predictor in capitals": (
        "rows.csv",
        GOOD,
        ["--y", "level", "--x", "FLOOR", "--group", "town"],
        r"x to name a column; got 'FLOOR' \(close: 'floor'\)",
    ),
    "a group that is missing": (
        "rows.csv",
        GOOD,
        ["--y", "level", "--group", "county"],
        "group to name a column; got 'county'",
    ),
    "a column used twice": (
        "rows.csv",
        GOOD,
        ["--y", "level", "--x", "level", "--group", "town"],
        "to be different columns; got 'level' repeated",
    ),
    "a predictor named twice": (
        "rows.csv",
        GOOD,
        ["--y", "level", "--x", "floor", "--x", "floor", "--group", "town"],
        "to be different columns; got 'floor' repeated",
    ),
    "two columns of one name": (
        "rows.csv",
        "town,level,floor,floor\na,1,0,1\nb,2,1,0\n",
        COLUMNS,
        r"one column named 'floor' \(x\); got 2",
    ),
    "a code without a column": (
        "rows.csv",
        GOOD,
        [*COLUMNS, "--missing", "9"],
        "--missing COLUMN=CODE, such as floor=9; got '9'",
    ),
    "a code of an unused column": (
        "rows.csv",
        GOOD,
        [*COLUMNS, "--missing", "flor=9"],
        r"missing to name columns in use; got 'flor' \(close: 'floor'\)",
    ),
    "a code that is no number": (
        "rows.csv",
        GOOD,
        [*COLUMNS, "--missing", "floor=nine"],
        "the code of column 'floor' to be a number; got 'nine'",
    ),
    "codes in every row": (
        "rows.csv",
        "town,level,floor\na,1,9\nb,2,9\n",
        [*COLUMNS, "--missing", "floor=9"],
        r"at least one row; got 0 rows; left out 2: floor is 9 \(missing\)",
    ),
    "blanks in every row": (
        "rows.csv",
        "town,level,floor\na,,1\nb,NA,1\n",
        [*COLUMNS, "--drop-missing"],
        "at least one row; got 0 rows; left out 2: no level",
    ),
}

# A formula in place of the names, and what is said.
SCHOOLS = """\
school,score,ses,sex,minority,track,two words
a,1.5,0.1,Male,No,x,1
a,2.5,0.4,Female,Yes,x,2
a,3.5,-0.3,Male,No,x,5
b,3.0,0.8,Female,No,x,3
b,4.5,0.2,Male,No,x,2
b,2.5,1.2,Female,Yes,x,1
"""
FORMULAS = {
    "a column that is not there": (
        "score ~ sess + (1 | school)",
        r"the formula to name columns; got 'sess' \(close: 'ses'\)",
    ),
    "a group that is not there": ("score ~ ses + (1 | School)", r"'School' \(close: 'school'\)"),
    "an outcome that is not there": ("scores ~ ses + (1 | school)", r"'scores' \(close: 'score', "),
    "an open bracket": ("score ~ ses + (1 | school", r"an operator or '\)'; got"),
    "a closed bracket too many": ("score ~ ses + (1 | school))", r"got '\)' after 'score"),
    "the outcome on the right": (
        "score ~ score + (1 | school)",
        "the outcome on the left of ~ only; got 'score' on both sides",
    ),
    "no outcome": ("~ ses + (1 | school)", "an outcome left of ~; got none in '~ ses"),
    "no tilde": ("score", "a formula such as .*; got 'score', without ~"),
    "an empty formula": ("", "Expected .*formula"),
    "one level": (
        "score ~ track + (1 | school)",
        r"'track' to have two levels or more; got one, 'x'",
    ),
    "one level by group": ("score ~ (1 + track || school)", "'track' to have two levels or more"),
    "a slope without data": (
        "score ~ (1 + sex:minority || school)",
        r"columns left of the bar that differ; got .*'sex\[Male\]:minority\[Yes\]'",
    ),
    "text for the outcome": (
        "sex ~ ses + (1 | school)",
        r"'sex' \(y\) to be numeric; got .* not a num",
    ),
    "a function of text": ("score ~ log(sex) + (1 | school)", "numbers in .*; got 'sex'"),
    "an unknown function": ("score ~ system(ses) + (1 | school)", ".*'system"),
    "an import": (
        "score ~ __import__('os').system('touch hacked') + (1 | school)",
        r"got '\.system' after",
    ),
    "an attribute": (
        "score ~ ses.__class__ + (1 | school)",
        r"to name columns; got 'ses\.__class__'",
    ),
    "a lambda": ("score ~ (lambda: ses)() + (1 | school)", r"got '\(' after"),
    "a comprehension": ("score ~ [x for x in ses] + (1 | school)", r"got '\[' after"),
    "an item": ("score ~ ses[0] + (1 | school)", r"got '0' after"),
    "code in the group": (
        "score ~ ses + (1 | eval('school'))",
        r"a function that formulas have; got 'eval",
    ),
    "code left of the tilde": (
        "open('hacked', 'w') ~ ses + (1 | school)",
        r"a function that formulas have; got 'open",
    ),
    "a power of 50": ("score ~ (ses + sex)^50 + (1 | school)", "a whole power between 1 and 10"),
    "a bare bar": (
        "score ~ ses + 1 | school",
        r"a random part in brackets, such as .*; got 'ses \+ 1 \| school'",
    ),
    "no random part": ("score ~ ses", r"one random part such as \(1 \| group\); got none"),
    "two groupings": ("score ~ (1 | school) + (1 | sex)", "one grouping; got 2"),
    "a code of a column that is not used": (
        "score ~ ses + (1 | school)",
        r"missing to name columns in use; got 'sex' \(close: 'ses'\)",
        ["--missing", "sex=Male"],
    ),
    "a formula and columns": (
        "score ~ ses + (1 | school)",
        "a formula, or --y, --x, --fixed, --group, --center; got '.*' and --y, --group[.] ",
        ["--y", "score", "--group", "school"],
    ),
    "a formula and a column to centre": (
        "score ~ ses + (1 | school)",
        r"got '.*' and --center[.] .* center\(x\) in it centres a",
        ["--center", "ses"],
    ),
}


def run(*arguments, **settings):
    return CliRunner().invoke(cli.app, [str(a) for a in arguments], **settings)


def assert_refused(result, message, folder, before):
    """One sentence on standard error, status 2, and the folder as it was."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert re.search(f"Error: {message}|Error: .*{message}", result.stderr), result.stderr
    assert result.stderr.startswith("Error: Expected ")
    assert result.stderr.count("\n") == 1, "a message is one line"
    assert snapshot(folder) == before


def snapshot(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("command", ["audit", "fit"])
@pytest.mark.parametrize("case", FILES)
def test_a_bad_file_is_refused(case, command, tmp_path):
    name, content, options, message = FILES[case]
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    out = ["--out", tmp_path / "results"] if command == "fit" else []
    before = snapshot(tmp_path)
    assert_refused(run(command, path, *options, *out), message, tmp_path, before)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("command", ["audit", "fit", "compare"])
@pytest.mark.parametrize("case", FORMULAS)
def test_a_bad_formula_is_refused(case, command, tmp_path, monkeypatch):
    """Else it is fitted as something else, or runs what it says."""
    formula, message, *more = FORMULAS[case]
    options = more[0] if more else []
    path = tmp_path / "rows.csv"
    path.write_text(SCHOOLS)
    monkeypatch.chdir(tmp_path)
    out = [] if command == "audit" else ["--out", tmp_path / "results"]
    before = snapshot(tmp_path)
    result = run(command, path, formula, *options, *out)
    assert_refused(result, message.replace("||", r"\|\|"), tmp_path, before)


@pytest.mark.parametrize("command", ["audit", "fit", "compare"])
@pytest.mark.parametrize(
    ("options", "got"),
    [
        ([], "neither"),
        (["--y", "score"], "--y"),
        (["--x", "ses", "--group", "school"], "--x and --group"),
    ],
)
def test_neither_formula_nor_columns_is_refused(options, got, command, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(SCHOOLS)
    message = f"Expected a formula such as .*, or --y and --group; got {got}\n"
    result = run(command, path, *options)
    assert_refused(result, message, tmp_path, {Path("rows.csv"): SCHOOLS.encode()})


@pytest.mark.parametrize("command", ["fit", "compare"])
@pytest.mark.parametrize("reduce", [[], ["--reduce"]])
def test_as_many_groups_as_rows_are_refused(command, reduce, tmp_path):
    """Else the two scatters, which the data cannot tell apart, are shared out by the priors."""
    path = tmp_path / "rows.csv"
    path.write_text("pupil,score,ses\n" + "".join(f"{i},{i % 3},{i % 4}\n" for i in range(20)))
    before = snapshot(tmp_path)
    message = "Expected fewer groups than rows; got 20 groups of 'pupil' in 20 rows"
    reduce = reduce if command == "fit" else []
    options = [*reduce, "--out", tmp_path / "results"]
    assert_refused(
        run(command, path, "score ~ ses + (1 | pupil)", *options), message, tmp_path, before
    )
    names = ["--y", "score", "--x", "ses", "--group", "pupil"]
    assert_refused(run(command, path, *names, *options), message, tmp_path, before)


@pytest.mark.parametrize("command", ["fit", "compare"])
@pytest.mark.parametrize(
    ("prior", "message"),
    [
        ("sex=Normal(0, 1)", "Expected the name of a coefficient, .*; got 'sex'"),
        ("sd(ses)=HalfNormal(1)", r"sd\(\.\.\.\) of one that varies, or eps; got 'sd\(ses\)'"),
        ("ses=HalfNormal(1)", "the prior of 'ses' to be"),
        ("ses=Wishart(1)", "a family of priors; got 'Wishart'"),
        ("ses=__import__('os')", "a prior as NAME=FAMILY|numbers|a family"),
    ],
)
def test_a_prior_of_no_coefficient_is_refused(prior, message, command, tmp_path):
    """Else a prior that was asked for is not used."""
    path = tmp_path / "rows.csv"
    path.write_text(SCHOOLS)
    before, out = snapshot(tmp_path), tmp_path / "results"
    formula = "score ~ ses + sex + (1 | school)"
    result = run(command, path, formula, "--prior", prior, "--quiet", "--out", out)
    assert_refused(result, message, tmp_path, before)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"level": ["1", "2", "3", "4"]}, "'level' .* with numbers as text"),
        ({"level": [True, False, True, False]}, "'level' .* to be a measurement; got dtype bool"),
        ({"floor": [[0], [1], [0], [1]]}, r"'floor' \(x\) to be numeric"),
        ({"town": [["a"], ["a"], ["b"], ["b"]]}, r"'town' \(group\) to hold hashable labels"),
        ({"level": [1.0, None, 3.0, np.nan]}, r"2 rows \(row 2, 4\) missing"),
        ({"floor": pd.to_datetime(["2024-01-01"] * 4)}, "'floor' .* to be numeric; got dtype date"),
    ],
)
def test_bad_columns_of_parquet_are_refused(columns, message, tmp_path):
    path = parquet(tmp_path, **columns)
    assert_refused(run("audit", path, *COLUMNS), message, tmp_path, snapshot(tmp_path))


def test_a_folder_is_refused(tmp_path):
    result = run("audit", tmp_path, *COLUMNS)
    assert_refused(result, "Expected a file; got .*, which is a folder", tmp_path, {})


def test_standard_input_that_is_no_table_is_refused(tmp_path):
    result = run("audit", "-", *COLUMNS, input="")
    assert_refused(result, "standard input to begin with names of columns", tmp_path, {})


def test_standard_input_is_not_reduced(tmp_path):
    result = run("fit", "-", *COLUMNS, "--reduce", "--out", tmp_path, input=GOOD)
    assert_refused(result, "a file to be reduced by DuckDB; got standard input", tmp_path, {})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.csv", text("2.5", "high"), 'Could not convert string "high" to DOUBLE|high'),
        ("rows.csv", text("2.5", ""), r"'level' \(y\) to be finite; got 1 row missing"),
        ("rows.csv", text("b,3.0", ",3.0"), r"'town' \(group\) without gaps; got 1 row missing"),
        ("rows.csv", text("b,3.0,0", "b,3.0,0,9"), "DuckDB to read .*; got: "),
        ("rows*.csv", GOOD, r"a name without \*, \? and \["),
    ],
)
def test_what_duckdb_finds_is_refused_in_the_same_way(name, content, message, tmp_path):
    path = tmp_path / name
    path.write_text(content)
    before = snapshot(tmp_path)
    result = run("fit", path, *COLUMNS, "--reduce", "--out", tmp_path / "results")
    assert_refused(result, message, tmp_path, before)


@pytest.mark.parametrize(
    "options",
    [
        ["--model", "nested"],
        ["--priors", "flat"],
        ["--draws", "3"],
        ["--chains", "0"],
        ["--seed", "-1"],
        ["--ci-prob", "90"],
        ["--draws", "many"],
        ["--colour", "red"],
    ],
)
def test_bad_usage_is_refused(options, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(GOOD)
    result = run("fit", path, *COLUMNS, "--out", tmp_path / "results", *options)
    assert result.exit_code == 2
    assert options[0] in result.stderr
    assert snapshot(tmp_path) == {Path("rows.csv"): GOOD.encode()}


def test_a_method_of_another_model_is_refused(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(GOOD)
    options = ["--method", "noncentered", "--model", "pooled", "--quiet"]
    result = run("fit", path, *COLUMNS, *options, "--out", tmp_path / "results")
    message = (
        "method of the pooled model to be one of marginal, centered, integrate; got 'noncentered'"
    )
    assert_refused(result, message, tmp_path, {Path("rows.csv"): GOOD.encode()})


def test_a_place_that_cannot_be_written_is_refused_before_any_work(tmp_path):
    (tmp_path / "rows.csv").write_text(GOOD)
    (tmp_path / "results").write_text("a file")
    before = snapshot(tmp_path)
    for command in ("fit", "compare"):
        result = run(command, tmp_path / "rows.csv", *COLUMNS, "--out", tmp_path / "results" / "x")
        assert_refused(result, "to be in a folder; got the file", tmp_path, before)
