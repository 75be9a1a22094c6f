"""Bayesian linear mixed models in NumPyro.

Start here::

    from radon_numpyro import GroupedData, diagnose, fit, predict

    data = GroupedData.from_frame(frame, y="score", x=["hours"], group="school")
    tree = fit(data)          # ADVI, then NUTS started and scaled by it: an ArviZ DataTree
    print(diagnose(tree))     # can the numbers be trusted, and if not, what to try
    predict(tree, new_rows)   # means and intervals for rows of known or, on request, new groups

``load_radon()`` returns the data of the tutorial with which the package began. ``hierarchical``,
``individual`` and ``pooled`` are its three regressions as plain NumPyro model functions. ``plots``
has the figures. Importing the package does not import JAX or matplotlib and does not change their
settings: each name is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from radon_numpyro.comparison.table import compare, compare_pooling
    from radon_numpyro.data.grouped_data import GroupedData
    from radon_numpyro.data.radon import load_radon
    from radon_numpyro.data.simulation import simulate
    from radon_numpyro.inference.advi.guide import fit_advi
    from radon_numpyro.inference.nuts.sampler import sample_nuts
    from radon_numpyro.model.correlations import LKJ
    from radon_numpyro.model.location_priors import Flat, Normal
    from radon_numpyro.model.priors import Priors
    from radon_numpyro.model.regressions import hierarchical, individual, pooled
    from radon_numpyro.model.scale_priors import (
        Exponential,
        HalfCauchy,
        HalfFlat,
        HalfNormal,
        HalfStudentT,
        Uniform,
    )
    from radon_numpyro.pipeline import fit, resume
    from radon_numpyro.report.document import html_report
    from radon_numpyro.results.arviz_groups import with_groups
    from radon_numpyro.results.diagnostics import diagnose
    from radon_numpyro.results.fit_files import load_fit, save_fit
    from radon_numpyro.results.prediction import predict
    from radon_numpyro.statistics.group_statistics import GroupStatistics

__all__ = [
    "GroupedData",
    "GroupStatistics",
    "load_radon",
    "simulate",
    "Priors",
    "Normal",
    "Flat",
    "HalfNormal",
    "Uniform",
    "HalfStudentT",
    "HalfCauchy",
    "Exponential",
    "HalfFlat",
    "LKJ",
    "fit",
    "resume",
    "fit_advi",
    "sample_nuts",
    "diagnose",
    "compare",
    "compare_pooling",
    "predict",
    "save_fit",
    "load_fit",
    "html_report",
    "with_groups",
    "hierarchical",
    "individual",
    "pooled",
]

# Modules of the public names.
_MODULE_OF = {
    "GroupedData": "data.grouped_data",
    "GroupStatistics": "statistics.group_statistics",
    "load_radon": "data.radon",
    "simulate": "data.simulation",
    "Priors": "model.priors",
    "Normal": "model.location_priors",
    "Flat": "model.location_priors",
    "HalfNormal": "model.scale_priors",
    "Uniform": "model.scale_priors",
    "HalfStudentT": "model.scale_priors",
    "HalfCauchy": "model.scale_priors",
    "Exponential": "model.scale_priors",
    "HalfFlat": "model.scale_priors",
    "LKJ": "model.correlations",
    "fit": "pipeline",
    "resume": "pipeline",
    "fit_advi": "inference.advi.guide",
    "sample_nuts": "inference.nuts.sampler",
    "diagnose": "results.diagnostics",
    "compare": "comparison.table",
    "compare_pooling": "comparison.table",
    "predict": "results.prediction",
    "save_fit": "results.fit_files",
    "load_fit": "results.fit_files",
    "html_report": "report.document",
    "with_groups": "results.arviz_groups",
    "hierarchical": "model.regressions",
    "individual": "model.regressions",
    "pooled": "model.regressions",
}
# Public modules, which are no names in __all__.
_PUBLIC_MODULES = ("plots",)


if not TYPE_CHECKING:  # With this function, a type checker would accept every name.

    def __getattr__(name: str) -> Any:
        if name in _PUBLIC_MODULES:
            return import_module(f"radon_numpyro.{name}")
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f"radon_numpyro.{_MODULE_OF[name]}"), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_PUBLIC_MODULES})
