"""The identity of a fit: data, priors, settings, versions and device, in open formats.

Two fits of the same identity have the same draws bit for bit, up to the end of the shorter one. The
length is not part of the identity: ``draws``, ``target_ess`` and ``max_seconds`` may change when a
fit is continued.

Group labels are stored as in every file of the package and in results: integers as integers, all
others as text (``data/labels.py``). The fingerprint of the data is computed from the original
labels.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, fields
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from radon_numpyro.data.checks import read_only
from radon_numpyro.data.design import Design
from radon_numpyro.data.grouped_data import ROWS, GroupedData
from radon_numpyro.data.labels import Labels, stored
from radon_numpyro.inference.compute.devices import current
from radon_numpyro.inference.settings import Settings
from radon_numpyro.model.priors import Priors
from radon_numpyro.statistics.group_statistics import STATISTICS, WEIGHTS, GroupStatistics

if TYPE_CHECKING:
    from radon_numpyro.inference.runs.array_files import Arrays

PACKAGES = ("radon-numpyro", "numpyro", "jax", "jaxlib", "optax", "arviz", "numpy")
HOW_FAR = ("draws", "target_ess", "max_seconds")
REMARKS = ("device_reason", "method_reason", "findings")
# Former settings in files of earlier versions, with the value that every fit has now.
FORMER = {"num_devices": 1}


def package_versions() -> dict[str, str]:
    """Return the versions of the packages on which the numbers of a fit depend."""
    return dict(_versions())


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    return tuple((name, version(name)) for name in PACKAGES)


def describe(
    data: GroupedData | GroupStatistics,
    priors: Priors,
    settings: Settings,
    remarks: Mapping[str, str],
) -> dict[str, Any]:
    """Describe a fit, except the numbers of the data, in types that JSON can store.

    Parameters
    ----------
    data, priors, settings
        Data, priors and settings of the fit.
    remarks
        Reasons for the device and the method, and findings, by the names in ``REMARKS``. They are
        not part of the identity of the fit.
    """
    labels, rows = data.labels, isinstance(data, GroupedData)
    return {
        "data": "rows" if rows else "statistics",
        "fingerprint": data.fingerprint(),
        "labels": [labels.outcome, list(labels.predictors), labels.group],
        "design": json.loads(json.dumps(asdict(labels.design))),
        "left_out": [list(pair) for pair in data.left_out],
        "lost_groups": stored(data.lost_groups).tolist(),
        "centers": dict(data.centers),
        "formula": data.formula,
        "notes": list(data.notes),
        "priors": priors.to_json(),
        "settings": {name: _plain(value) for name, value in asdict(settings).items()},
        "versions": package_versions(),
        "device": f"{current().device_kind} ({platform.machine()})",
        **remarks,
    }


def check_same(path: Any, kept: dict[str, Any], given: dict[str, Any]) -> None:
    """Check that a saved fit and a requested fit have the same identity.

    Parameters
    ----------
    path
        Folder of the saved fit, for the message.
    kept, given
        Descriptions of the saved and the requested fit, from :func:`describe`.

    Raises
    ------
    ValueError
        If the identities differ. The message names the differences.
    """
    parts = [_flat(description) for description in (kept, given)]
    different = [name for name in parts[0] | parts[1] if parts[0].get(name) != parts[1].get(name)]
    if different:
        names = [
            ", ".join(f"{n} {part[n]}" if n in part else f"no {n}" for n in different)
            for part in parts
        ]
        raise ValueError(
            f"Expected to continue the fit in {path}, of {names[0]}; got {names[1]}. Give the "
            "arguments with which it was started, or another checkpoint"
        )


def data_arrays(data: GroupedData | GroupStatistics) -> dict[str, np.ndarray]:
    """Return the numbers and group labels of data as arrays.

    Parameters
    ----------
    data
        Rows or statistics.
    """
    numbers = {name: np.asarray(values) for name, values in data.arrays.items()}
    return {**numbers, "groups": stored(data.labels.groups)}


def restore(
    description: dict[str, Any], arrays: Arrays
) -> tuple[GroupedData | GroupStatistics, Priors, dict[str, Any]]:
    """Restore data, priors and settings of a fit. The settings are not checked here.

    Parameters
    ----------
    description, arrays
        From :func:`describe` and :func:`data_arrays`.

    Raises
    ------
    KeyError, TypeError, ValueError
        If the arguments have another form.
    """
    outcome, predictors, group = description["labels"]
    labels = Labels(
        outcome,
        tuple(predictors),
        group,
        tuple(arrays["groups"].tolist()),
        Design.from_dict(description["design"]),
    )
    contents: dict[str, Any] = {
        "left_out": tuple((reason, count) for reason, count in description["left_out"]),
        "lost_groups": tuple(description.get("lost_groups", ())),
        "centers": tuple(description.get("centers", {}).items()),
        "formula": description["formula"],
        "notes": tuple(description["notes"]),
    }
    data: GroupedData | GroupStatistics
    if description["data"] == "rows":
        contents |= {name: read_only(arrays[name]) for name in ROWS if name in arrays}
        data = GroupedData(labels=labels, **contents)
    else:
        contents |= {n: arrays[n] for n in (*STATISTICS, *WEIGHTS) if n in arrays}
        data = GroupStatistics(labels=labels, **contents)
    return data, Priors.from_json(description["priors"]), dict(description["settings"])


def go_further(settings: dict[str, Any], **how_far: Any) -> Settings:
    """Return the settings of a fit with another length.

    Parameters
    ----------
    settings
        Settings of the fit, from :func:`restore`. Settings that this version does not know are left
        out; :func:`check_same` reports them.
    **how_far
        ``draws``, ``target_ess`` or ``max_seconds``; None keeps the setting of the fit.

    Raises
    ------
    ValueError
        If a setting is out of range for this version and machine.
    """
    known = {f.name: settings[f.name] for f in fields(Settings) if f.name in settings}
    return Settings(**known | {n: value for n, value in how_far.items() if value is not None})


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _flat(description: dict[str, Any]) -> dict[str, Any]:
    """Return the parts of the identity by names that a user knows; without the length."""
    return {
        "data with fingerprint": description["fingerprint"],
        "data kept as": description["data"],
        "priors": description["priors"],
        **{
            n: v
            for n, v in description["settings"].items()
            if n not in HOW_FAR and (n, v) not in FORMER.items()
        },
        **description["versions"],
        "device": description["device"],
    }
