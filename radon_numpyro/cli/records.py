"""The JSON records of data, findings and diagnoses that commands print."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from radon_numpyro.data.findings import Finding
    from radon_numpyro.data.grouped_data import GroupedData
    from radon_numpyro.results.diagnostics import Diagnosis
    from radon_numpyro.statistics.group_statistics import GroupStatistics


def loaded(data: GroupedData | GroupStatistics) -> dict[str, Any]:
    """Return the record of the data of a file.

    Parameters
    ----------
    data
        The rows of the file, or their statistics.
    """
    from radon_numpyro.data.formulas.formula import text_of

    return {
        "formula": text_of(data.formula) if data.formula else None,
        "rows": data.num_rows,
        "groups": data.num_groups,
        "left_out": dict(data.left_out),
        "centers": dict(data.centers),
        "notes": list(data.notes),
    }


def finding_record(finding: Finding) -> dict[str, Any]:
    """Return the record of a finding, with its advice as options of the command line.

    Parameters
    ----------
    finding
        The finding.
    """
    return {"what": finding.what, "advice": finding.command, "caution": finding.caution}


def diagnosis_record(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return the record of a diagnosis, in which numbers that are not finite are null.

    Parameters
    ----------
    diagnosis
        The checks of the fit.
    """

    def finite(value: float) -> float | None:
        return value if abs(value) < float("inf") else None

    return {
        "ok": diagnosis.ok,
        "findings": [finding_record(finding) for finding in diagnosis.findings],
        "num_draws": diagnosis.num_draws,
        "max_rhat": finite(diagnosis.max_rhat),
        "min_ess": finite(diagnosis.min_ess),
        "num_divergences": diagnosis.num_divergences,
        "two_routes": diagnosis.routes or None,
        "advi": diagnosis.advi_verdict or None,
    }
