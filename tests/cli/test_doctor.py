from pathlib import Path

import pytest

from radon_numpyro.cli import doctor
from radon_numpyro.cli.doctor import examine


def test_this_installation_is_well(tmp_path):
    found = examine(tmp_path)
    assert found.ok, str(found)
    assert {"numpyro", "jax", "devices", "computed on", "small fit"} <= set(found.facts)
    assert str(found).endswith("Nothing is wrong.")


def test_a_wrong_fit_is_found_out(monkeypatch):
    exact = doctor.fit

    def shifted(data, *args, **kwargs):
        tree = exact(data, *args, **kwargs)
        if kwargs.get("method") == "centered":
            tree["posterior"]["alpha"] = tree["posterior"]["alpha"] + 0.2
        return tree

    monkeypatch.setattr(doctor, "fit", shifted)
    (finding,) = examine(None).findings
    assert "does not agree with its exact posterior" in finding.what


def test_a_cache_that_cannot_be_written_is_found(tmp_path):
    (tmp_path / "file").write_text("")
    finding = doctor._cache(tmp_path / "file" / "jax")
    assert finding is not None
    assert "Compiled programs cannot be kept" in finding.what
    assert doctor._cache(tmp_path / "not yet") is None
    assert doctor._cache(None) is None


@pytest.mark.parametrize(
    ("release", "backend", "slow"),
    [("0.10.2", "gpu", True), ("0.11.1", "gpu", True), ("0.11.1", "cpu", False)],
)
def test_slow_releases_are_named_on_a_gpu(release, backend, slow):
    finding = doctor._jaxlib(release, backend)
    assert (finding is not None) is slow
    assert doctor._jaxlib("0.12.0", "gpu") is None


def test_what_is_not_installed_is_optional():
    assert "optional" in doctor._installed("no-such-package-at-all")
    assert Path(doctor.__file__).exists()
