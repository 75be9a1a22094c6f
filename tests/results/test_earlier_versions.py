"""Fits that earlier versions saved are read, judged and used as these versions did."""

import json
from pathlib import Path

import numpy as np
import pytest

from radon_numpyro import GroupedData, diagnose, html_report, load_fit, predict, save_fit
from radon_numpyro.results.fit_reader import read_data, read_statistics

FITS = Path(__file__).parent / "fits_0_1_0"
EXPECTED = json.loads((FITS / "expected.json").read_text(encoding="utf-8"))


def test_every_saved_fit_has_its_numbers():
    assert sorted(EXPECTED) == sorted(path.stem for path in FITS.glob("*.nc"))
    assert len(EXPECTED) == 4


@pytest.mark.parametrize("name", EXPECTED)
def test_a_fit_of_an_earlier_version_means_what_it_meant(name, tmp_path):
    tree, expected = load_fit(FITS / f"{name}.nc"), EXPECTED[name]
    assert json.loads(tree.attrs["versions"])["radon-numpyro"] == "0.1.0"
    data = read_data(tree)
    assert isinstance(data, GroupedData)
    # Labels of groups are text in a file: the fingerprint of integers is another.
    assert tree.attrs["data_fingerprint"] == expected["fingerprint"]
    assert read_statistics(tree).num_rows == data.num_rows == 18
    np.testing.assert_allclose(
        predict(tree, data.to_frame().head(3))[["mean", "sd", "lower", "upper"]],
        expected["predict"],
        rtol=1e-9,
    )
    np.testing.assert_allclose(diagnose(tree).table["r_hat"], expected["r_hat"], rtol=1e-9)
    assert "<h1>" in html_report(tree)
    assert save_fit(tree, tmp_path / "again.nc").exists()
