"""Reproduce the PyMC3 tutorial "GLM: Hierarchical Linear Regression with ADVI" end to end.

The reproduction contains both models of the tutorial with its priors, ADVI, NUTS with starting
points and scales from ADVI, the figures, and the conclusions (``tutorial/conclusions.py``).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import arviz_stats
import numpy as np
import pandas as pd
import xarray as xr

from radon_numpyro.comparison.rmsd import rmsd_per_draw
from radon_numpyro.comparison.table import Comparison, compare
from radon_numpyro.data.files.whole_files import write_whole
from radon_numpyro.data.radon import load_radon
from radon_numpyro.model.priors import Priors
from radon_numpyro.pipeline import fit
from radon_numpyro.results.diagnostics import Diagnosis, diagnose
from radon_numpyro.results.fit_files import save_fit
from radon_numpyro.tutorial.conclusions import COUNTIES, Conclusion, conclusions

PUBLISHED_RMSD = {"individual": 0.13, "hierarchical": 0.08}
LABELS = {0.0: "basement", 1.0: "no basement"}


@dataclass(frozen=True)
class Reproduction:
    """Results of a run of the tutorial.

    Attributes
    ----------
    hierarchical, individual
        The two main fits. The individual fit has the three counties of the tutorial's figure.
    noncentered, as_published
        Fits of the hierarchical model by NUTS on all parameters: in non-centred form, and in
        centred form, as in the tutorial.
    diagnoses
        Diagnosis of each fit, by name of the fit.
    methods
        Checks of each method for the hierarchical model: largest R-hat, smallest ESS, divergences
        and ``two_routes``, the largest difference from integration over the scales, in combined
        standard errors; missing if the two were not compared.
    parameters
        Mean, sd, Monte Carlo error and ESS of the hyperparameters, by ADVI and by NUTS.
    rmsd
        Root mean square deviations (RMSD): a row for each definition, a column for each model.
    comparison
        Comparison of the three models, out of sample and in sample.
    conclusions
        The tutorial's conclusions and whether they hold.
    timings
        Duration of each part, in seconds.
    """

    hierarchical: xr.DataTree
    individual: xr.DataTree
    noncentered: xr.DataTree
    as_published: xr.DataTree
    diagnoses: dict[str, Diagnosis]
    methods: pd.DataFrame
    parameters: pd.DataFrame
    rmsd: pd.DataFrame
    comparison: Comparison
    conclusions: tuple[Conclusion, ...]
    timings: dict[str, float]

    @property
    def ok(self) -> bool:
        """Whether the two saved fits passed their checks. The tutorial's own method may fail."""
        return self.diagnoses["hierarchical"].ok and self.diagnoses["individual"].ok

    def save(self, folder: Path) -> list[Path]:
        """Write the figures, both main fits and ``summary.json``.

        Parameters
        ----------
        folder
            Folder for the files, made if missing. Each file is first written under a temporary
            name and then renamed.

        Returns
        -------
        list
            Paths of the files, in the order of writing.
        """
        written = [
            save_fit(self.hierarchical, folder / "hierarchical.nc"),
            save_fit(self.individual, folder / "individual.nc"),
        ]
        for name, axes in self.figures().items():
            figure = np.ravel(np.asarray(axes, dtype=object))[0].figure
            written.append(write_whole(folder / f"{name}.png", partial(figure.savefig, dpi=200)))
        text = json.dumps(self.summary(), indent=2, allow_nan=False) + "\n"
        written.append(write_whole(folder / "summary.json", lambda path: path.write_text(text)))
        return written

    def figures(self) -> dict[str, Any]:
        """Draw the tutorial's figures, and return their axes by file name."""
        # Imported here, because the import of the plotting libraries is slow.
        from radon_numpyro import plots

        return {
            "elbo": plots.plot_elbo(self.hierarchical),
            "advi_vs_nuts": plots.plot_advi_vs_nuts(
                self.hierarchical, COUNTIES, outcome="log radon", unit="houses"
            ),
            "trace": plots.plot_trace(self.hierarchical, outcome="log radon", unit="houses"),
            "county_lines": plots.plot_group_lines(
                {"individual": self.individual, "hierarchical": self.hierarchical},
                COUNTIES,
                x_labels=LABELS,
                outcome="log radon (log pCi/L)",
                unit="houses",
            ),
        }

    def summary(self) -> dict[str, Any]:
        """Return all results as data that JSON can store."""
        return {
            "ok": self.ok,
            "conclusions": [asdict(c) for c in self.conclusions],
            "methods": _plain(self.methods),
            "parameters": _plain(self.parameters),
            "rmsd": _plain(self.rmsd),
            "comparison": _plain(self.comparison.table.select_dtypes("number")),
            "definitions": self.comparison.definitions,
            "diagnoses": {
                name: {
                    "ok": d.ok,
                    "max_rhat": d.max_rhat,
                    "min_ess": d.min_ess,
                    "divergences": d.num_divergences,
                    "draws": d.num_draws,
                    "findings": [f.what for f in d.findings],
                    "advi": d.advi_verdict,
                    "routes": d.routes,
                }
                for name, d in self.diagnoses.items()
            },
            "seconds": self.timings,
            "call": self.hierarchical.attrs["call"],
            "versions": json.loads(self.hierarchical.attrs["versions"]),
        }


def reproduce(
    *,
    draws: int = 2000,
    chains: int = 4,
    seed: int = 0,
    folds: int = 10,
    progress_bar: bool = True,
) -> Reproduction:
    """Run the tutorial, and return all its results.

    Parameters
    ----------
    draws, chains
        Number of draws kept from each chain of each fit, and number of chains.
    seed
        Seed of all random numbers.
    folds
        Number of folds in the out-of-sample comparison.
    progress_bar
        Whether to show progress bars on a terminal or in a notebook. Output to a pipe or a file
        has none.

    Returns
    -------
    Reproduction
    """
    data, priors = load_radon(), Priors.tutorial()
    settings: dict[str, Any] = {
        "priors": priors,
        "draws": draws,
        "chains": chains,
        "seed": seed,
        "progress_bar": progress_bar,
    }
    timings: dict[str, float] = {}

    def timed(name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        result = function(*args, **kwargs)
        timings[name] = round(time.perf_counter() - started, 2)
        return result

    hierarchical = timed("hierarchical", fit, data, **settings)
    noncentered = timed("non-centred", fit, data, method="noncentered", **settings)
    as_published = timed("as published", fit, data, method="centered", **settings)
    individual = timed("individual", fit, data.select(COUNTIES), model="individual", **settings)
    # These two models have exact draws, without chains and without ADVI.
    exact = {
        model: timed(f"{model}, all counties", fit, data, model=model, num_advi_steps=0, **settings)
        for model in ("pooled", "individual")
    }
    comparison = timed(
        "comparison",
        compare,
        {**exact, "hierarchical": hierarchical},
        data,
        folds=folds,
        seed=seed,
    )
    fits = {
        "hierarchical": hierarchical,
        "individual": individual,
        "hierarchical, non-centred": noncentered,
        "as published (centred)": as_published,
    }
    diagnoses = {name: timed(f"diagnose {name}", diagnose, tree) for name, tree in fits.items()}
    rmsd = _rmsd_table(comparison, individual, hierarchical)
    return Reproduction(
        hierarchical=hierarchical,
        individual=individual,
        noncentered=noncentered,
        as_published=as_published,
        diagnoses=diagnoses,
        methods=_methods({k: v for k, v in fits.items() if k != "individual"}, diagnoses),
        parameters=_parameters(hierarchical),
        rmsd=rmsd,
        comparison=comparison,
        conclusions=conclusions(hierarchical, individual, data, comparison.table, rmsd),
        timings=timings,
    )


def _rmsd_table(
    comparison: Comparison, individual: xr.DataTree, hierarchical: xr.DataTree
) -> pd.DataFrame:
    return pd.DataFrame.from_dict(
        {
            "published by the tutorial": PUBLISHED_RMSD,
            "posterior-mean line, houses seen": comparison.table["rmsd_in_sample"].to_dict(),
            "line of one draw, houses seen, three counties (median)": {
                "individual": float(rmsd_per_draw(individual).median()),
                "hierarchical": float(rmsd_per_draw(hierarchical, COUNTIES).median()),
            },
            "posterior-mean line, houses left out": comparison.table["rmsd_kfold"].to_dict(),
        },
        orient="index",
        columns=["pooled", "individual", "hierarchical"],
    )


def _methods(fits: dict[str, xr.DataTree], diagnoses: dict[str, Diagnosis]) -> pd.DataFrame:
    rows = {}
    for name, tree in fits.items():
        found, routes = diagnoses[name], json.loads(tree.attrs["two_routes"])
        rows[name] = {
            "max_rhat": found.max_rhat,
            "min_ess": found.min_ess,
            "divergences": found.num_divergences,
            "two_routes": routes.get("largest", np.nan),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _parameters(tree: xr.DataTree) -> pd.DataFrame:
    names = ["mu_alpha", "mu_beta", "sigma_alpha", "sigma_beta", "eps"]
    table = arviz_stats.summary(tree, var_names=names, kind="all", round_to="none", ci_prob=0.95)
    columns = ["mean", "sd", "mcse_mean", "ess_bulk", "ess_tail", "r_hat"]
    table = table[columns].astype(float)
    for place, moment in ((2, "means"), (3, "sds")):
        values = tree[f"advi/{moment}"].to_dataset()
        table.insert(place, f"advi_{moment[:-1]}", [float(values[name].item()) for name in names])
    return table


def _plain(frame: pd.DataFrame) -> dict[str, dict[str, float | None]]:
    return {
        str(row): {
            str(name): None if pd.isna(value) else float(value) for name, value in values.items()
        }
        for row, values in frame.to_dict(orient="index").items()
    }
