"""Check an installation: versions, devices, cache, and one small fit."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import arviz_stats
import jax
import numpy as np

from radon_numpyro.data.files.whole_files import check_writable
from radon_numpyro.data.findings import Finding
from radon_numpyro.data.simulation import simulate
from radon_numpyro.inference.compute.devices import in_words
from radon_numpyro.pipeline import fit
from radon_numpyro.results.diagnostics import diagnose

PACKAGES = ("radon-numpyro", "numpyro", "jax", "jaxlib", "arviz", "xarray", "numpy", "pandas")
OPTIONAL = ("duckdb", "pyarrow", "polars", "openpyxl", "pyreadstat")
# In these releases the gradient of alpha[group], a scatter-add, is up to 2000 times slower on GPUs.
SLOW_ON_GPU = ("0.10.2", "0.11.0", "0.11.1")
STANDARD_ERRORS = 5.0


@dataclass(frozen=True)
class Examination:
    """The result of checking an installation.

    Attributes
    ----------
    facts
        Versions, devices and similar facts, by name.
    findings
        The problems; empty if there are none.
    """

    facts: Mapping[str, str]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether there are no problems."""
        return not self.findings

    def __str__(self) -> str:
        width = max(map(len, self.facts))
        lines = [f"{name:<{width}}  {value}" for name, value in self.facts.items()]
        lines.append("Nothing is wrong." if self.ok else "Something is wrong.")
        for finding in self.findings:
            lines += [f"  - {finding.what}", f"    Try: {finding.advice}"]
        return "\n".join(lines)


def examine(cache: Path | None) -> Examination:
    """Collect versions and devices, and check the cache of compiled programs and one small fit.

    The fit is NUTS on all parameters of the pooled model, whose posterior is known exactly. The
    means of the draws must agree with those of exact draws.

    Parameters
    ----------
    cache
        Folder of compiled programs; None if they are not kept.

    Returns
    -------
    Examination
    """
    described = [f"1 x {device.device_kind} ({device.platform})" for device in jax.devices()]
    devices = Counter(map(in_words, described))
    facts = {name: version(name) for name in PACKAGES}
    facts |= {name: _installed(name) for name in OPTIONAL}
    facts["python"] = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    facts["devices"] = ", ".join(f"{n} x {name}" for name, n in devices.items())
    facts["cores"] = str(os.cpu_count())
    facts["compiled programs"] = str(cache) if cache else "not kept between runs"
    findings = [_jaxlib(facts["jaxlib"], jax.default_backend()), _cache(cache)]
    checked, of_fit = _small_fit()
    facts |= of_fit
    findings.append(checked)
    return Examination(facts, tuple(f for f in findings if f is not None))


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed (optional)"


def _jaxlib(installed: str, backend: str) -> Finding | None:
    if backend == "cpu" or installed not in SLOW_ON_GPU:
        return None
    return Finding(
        f"jaxlib {installed}: on a GPU the gradient of an indexed parameter is up to 2000 times "
        "slower than in other releases.",
        "pip install --upgrade jax jaxlib",
    )


def _cache(cache: Path | None) -> Finding | None:
    if cache is None:
        return None
    try:
        check_writable(cache)
    except OSError as error:
        return Finding(
            f"Compiled programs cannot be kept, so each run compiles them again: {error}",
            "JAX_COMPILATION_CACHE_DIR=FOLDER in the environment",
        )
    return None


def _small_fit() -> tuple[Finding | None, dict[str, str]]:
    """Compare draws of NUTS with exact draws; return a problem, if any, and facts."""
    data = simulate(
        num_groups=6,
        rows_per_group=10,
        mu_alpha=1.5,
        mu_beta=-0.7,
        sigma_alpha=0.3,
        sigma_beta=0.2,
        eps=0.8,
        seed=1,
    ).data
    settings = {"draws": 500, "num_advi_steps": 0, "seed": 1, "progress_bar": False}
    sampled = fit(data, model="pooled", method="centered", **settings)  # type: ignore[arg-type]
    exact = fit(data, model="pooled", **settings)  # type: ignore[arg-type]
    tables = [
        arviz_stats.summary(tree, var_names=["alpha", "beta", "eps"], round_to="none")
        for tree in (sampled, exact)
    ]
    means, errors = (np.stack([t[c].astype(float) for t in tables]) for c in ("mean", "mcse_mean"))
    off = float((np.abs(means[0] - means[1]) / np.hypot(*errors)).max())
    good = off < STANDARD_ERRORS and diagnose(sampled).ok
    words = f"means of NUTS within {off:.1f} standard errors of exact ones"
    attrs = sampled.attrs
    facts = {
        "small fit": words,
        "computed on": in_words(attrs["device"], attrs["device_reason"]),
    }
    if good:
        return None, facts
    return (
        Finding(
            f"A small fit does not agree with its exact posterior: {words}. {diagnose(sampled)}",
            "the versions that the project pins, in a new environment",
        ),
        facts,
    )
