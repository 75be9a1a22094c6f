"""The table for those who have a GPU runs, without one too, and says what was measured."""

import json

import fit_gpu
import pytest

from radon_numpyro.inference.compute.devices import seen


@pytest.mark.slow
def test_a_tiny_run_writes_what_was_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["fit_gpu.py", "--quick", "--out", str(tmp_path)])
    status = fit_gpu.main()
    (file,) = tmp_path.iterdir()
    result = json.loads(file.read_text())
    assert status == (0 if all(row.get("agrees", True) for row in result["fits"]) else 1)
    if seen() == ("cpu",):
        assert result["note"] == "JAX sees no GPU: only the CPU was measured"
    rows = result["fits"]
    names = ["radon", "20 groups, K = 2"]
    found = [(row["case"], row["device"], row["dtype"]) for row in rows]
    assert found == [(n, d, t) for n in names for t in fit_gpu.DTYPES for d in seen()]
    assert [row["predictors"] for row in rows if row["dtype"] == "float32"][:: len(seen())] == [
        1,
        2,
    ]
    for row in rows:
        measured = ("seconds_a_step", "compiled", "cold", "draws_a_second")
        assert all(0 < row[name] < float("inf") for name in measured)
    # All but the reference, the CPU in float64, are held against it.
    assert ["z" in row for row in rows] == [
        (row["device"], row["dtype"]) != ("cpu", "float64") for row in rows
    ]
    assert [choice["case"] for choice in result["auto"]] == names
    assert [row["device"] for row in result["data_sets"]] == list(seen())
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(rows)
    assert {line.count("|") for line in table} == {len(fit_gpu.HEADINGS) + 1}


def test_a_fit_longer_than_the_limit_has_the_time_of_a_step_alone(tmp_path, monkeypatch, capsys):
    arguments = ["fit_gpu.py", "--quick", "--cases", "radon", "--limit", "0.01"]
    monkeypatch.setattr("sys.argv", [*arguments, "--out", str(tmp_path)])
    assert fit_gpu.main() == 0
    for row in json.loads((tmp_path / "fit_gpu.json").read_text())["fits"]:
        assert row["seconds_a_step"] > 0
        assert not row.keys() & {"cold", "compiled", "draws_a_second", "z"}
    assert "|  | > 0.01 |  |  |" in capsys.readouterr().out


def test_some_cases_alone_and_a_posterior_that_does_not_agree(tmp_path, monkeypatch):
    """The status says so."""
    row = {"case": "", "device": "gpu", "dtype": "float64", "seconds_a_step": 1e-4}
    row |= {"draws_a_second": 1.0, "cold": 2.0, "compiled": 1.0}
    looked_at = []

    def measure(data, device, dtype, draws, seed, limit):
        looked_at.append((data.num_groups, dtype))
        right = {"mean": 1.0, "sd": 0.2, "mcse_mean": 0.01, "mcse_sd": 0.01}
        wrong = right | {"mean": 1.1}
        return dict(row), {"eps[0]": right if dtype == "float64" else wrong}

    monkeypatch.setattr(fit_gpu, "measure", measure)
    monkeypatch.setattr(fit_gpu, "seen", lambda: ("cpu",))
    arguments = ["fit_gpu.py", "--quick", "--cases", "radon", "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", arguments)
    assert fit_gpu.main() == 1
    assert looked_at == [(85, "float64"), (85, "float32")]
    result = json.loads((tmp_path / "fit_gpu.json").read_text())
    assert result["data_sets"] == []
    assert result["fits"][1]["z"] == pytest.approx(0.1 / (0.01 * 2**0.5))
