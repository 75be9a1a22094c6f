"""Commands on tables of text as people have them: what was taken is said, and what settles it."""

from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from radon_numpyro import load_fit, predict
from radon_numpyro.cli import app as cli

CASES = Path(__file__).parents[1] / "cases"
QUICK = ("--method", "integrate")


def run(*arguments):
    return CliRunner().invoke(cli.app, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def by_id(tmp_path_factory):
    """A fit whose groups are numbers with a decimal: 1.0, 2.0."""
    out = tmp_path_factory.mktemp("by_id")
    case = CASES / "float_ids.csv"
    made = run("fit", case, "yield ~ dose + (1 | id)", "--drop-missing", *QUICK, "--out", out)
    assert made.exit_code in (0, 3), made.stderr
    assert "Left out 1 row: no id." in made.stderr
    return out


def test_ids_of_a_table_that_had_a_blank_are_known_without_it(by_id, tmp_path):
    """Else 1 would be predicted as a new group, with four times the standard deviation."""
    found = {}
    for name, text in {
        "1": "id,dose\n1,1.0\n2,2.0\n",
        "1.0": "id,dose\n1.0,1.0\n2.0,2.0\n",
    }.items():
        (tmp_path / "new.csv").write_text(text)
        admit = ("--new-groups", "population")
        result = run("predict", by_id / "fit.nc", tmp_path / "new.csv", *admit)
        assert result.exit_code in (0, 3), result.stderr
        (tmp_path / "p.csv").write_text(result.stdout)
        found[name] = pd.read_csv(tmp_path / "p.csv")
        assert not found[name]["new_group"].any()
    for column in ("mean", "sd", "lower", "upper"):
        assert found["1"][column].tolist() == found["1.0"][column].tolist()
    assert (CASES / "float_ids_new.csv").read_text() == "id,dose\n1,1.0\n2,2.0\n"


@pytest.mark.parametrize("label", ["01", " 1.0", "1.00"])
def test_a_known_id_in_another_spelling_is_no_new_group(by_id, label, tmp_path):
    (tmp_path / "new.csv").write_text(f"id,dose\n{label},1.0\n")
    admit = ("--new-groups", "population")
    result = run("predict", by_id / "fit.nc", tmp_path / "new.csv", *admit)
    assert result.exit_code == 2
    assert f"got {label!r} (close: '1.0')" in result.stderr


def test_a_row_turned_round_is_predicted(by_id):
    """Its columns are objects: a number among texts."""
    frame = pd.DataFrame({"id": ["1.0", "2.0"], "dose": [1.0, 2.0]})
    tree = load_fit(by_id / "fit.nc")
    turned = predict(tree, frame.iloc[0].to_frame().T)
    assert turned["mean"].tolist() == predict(tree, frame.iloc[:1])["mean"].tolist()


def test_the_audit_says_how_a_table_is_read():
    result = run("audit", CASES / "decimal_comma.csv", "yield ~ dose + (1 | site)")
    assert result.exit_code == 0
    assert "Fields are parted by semicolons." in result.stderr
    assert "Numbers are read with a decimal comma, as '1,39' in 'yield'." in result.stderr


def test_options_of_text_reach_the_reader(tmp_path):
    source = tmp_path / "rows.csv"
    rows = "site\tyield\nÖrtchen\t1,390\nÖrtchen\t1,500\nb\t1,200\nb\t1,100\n"
    source.write_bytes(f"x\n{rows}".encode("cp1252"))
    formula = "yield ~ 1 + (1 | site)"
    refused = run("audit", source, formula)
    assert refused.exit_code == 2
    assert "--encoding cp1252 if 'Örtchen' is right" in refused.stderr
    refused = run("audit", source, formula, "--encoding", "cp1252")
    assert refused.exit_code == 2
    assert "(--decimal ,) or one between thousands (--thousands ,)" in refused.stderr
    more = ("--decimal", ",", "--delimiter", r"\t", "--skip-rows", "1")
    result = run("audit", source, formula, "--encoding", "cp1252", *more)
    assert result.exit_code in (0, 3), result.stderr
    assert "4 rows in 2 groups." in result.stderr


def test_a_blank_is_refused_with_the_way_out():
    result = run("audit", CASES / "boolean_blank.csv", "yield ~ treated + (1 | site)")
    assert result.exit_code == 2
    assert "got 1 row (row 5) missing. Fill in the values, or leave" in result.stderr
    result = run(
        "audit", CASES / "boolean_blank.csv", "yield ~ treated + (1 | site)", "--drop-missing"
    )
    assert result.exit_code in (0, 3)
    assert "Left out 1 row: no treated." in result.stderr


def test_groups_that_lose_their_rows_are_named(tmp_path):
    source = tmp_path / "rows.csv"
    source.write_text("site,yield\na,1\na,2\nb,3\nb,5\nc,\n")
    result = run("audit", source, "yield ~ 1 + (1 | site)", "--drop-missing")
    assert "Left out 1 group without rows: 'c'." in result.stderr
