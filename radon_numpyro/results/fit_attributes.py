"""Check the attributes of a fit, which describe how it was made."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import xarray as xr

from radon_numpyro.data.design import Design
from radon_numpyro.data.findings import from_json
from radon_numpyro.data.formulas.formula import ModelFormula
from radon_numpyro.data.labels import Labels
from radon_numpyro.inference.settings import INTEGRATE, METHODS
from radon_numpyro.model.models import MODELS
from radon_numpyro.results.fit_reader import read_design, read_model
from radon_numpyro.results.integration_checks import ATTRIBUTE, check_routes

_JSON = (
    "predictors",
    "left_out",
    "lost_groups",
    "centers",
    "versions",
    "timings",
    "earlier_runs",
    "unfinished_run",
)


_IN_DESIGN = {"population", "varying", "correlated", "weights", "se"}


def check_attributes(tree: xr.DataTree, name: str) -> Labels:
    """Check the attributes that the package reads.

    Parameters
    ----------
    tree
        A tree that should be a fit.
    name
        Name of the tree in messages.

    Returns
    -------
    Labels
        Names of the columns, without the groups.

    Raises
    ------
    ValueError
        If an attribute is missing or invalid. The message names it.
    """
    texts = {"/": ["model", "outcome", "group", "predictors", "priors", "method"]}
    numbers = {"/": ["complete"]}
    floats: dict[str, list[str]] = {}
    if tree.attrs.get("method") != INTEGRATE:
        texts["/advi"], numbers["/advi"] = ["verdict", "reason"], ["converged"]
    if "/nodes" in tree.groups:
        texts["/nodes"], numbers["/nodes"] = ["verdict"], ["reliable"]
        floats["/nodes"] = ["ess", "khat", "log_evidence", "log_evidence_error"]
    if "/sample_stats" in tree.groups:
        numbers["/"].append("max_tree_depth")
    if "/observed_data" in tree.groups:
        texts["/"] += ["left_out", "data_fingerprint"]
    wanted: list[tuple[dict[str, list[str]], Any, str]] = [
        (texts, str, "text"),
        (numbers, int | np.integer, "a number"),
        (floats, float, "a real number"),
    ]
    for attributes, types, kind in wanted:
        for path, keys in attributes.items():
            check_group(tree, name, path)
            for key in keys:
                value = tree[path].attrs.get(key)
                if not isinstance(value, types):
                    raise ValueError(
                        f"Expected attribute {key} of {path} in {name} to be {kind}; got {value!r}"
                    )
    model, method = tree.attrs["model"], tree.attrs["method"]
    if model not in MODELS or method not in METHODS[model]:
        raise ValueError(
            f"Expected {name} to have a model of this package and one of its methods; got model "
            f"{model!r} and method {method!r}"
        )
    parsed = {key: _parsed(tree, name, key) for key in _JSON if key in tree.attrs}
    predictors, left_out = parsed["predictors"], parsed.get("left_out", [])
    if not _is_list_of(predictors, str) or len(set(predictors)) < len(predictors):
        raise ValueError(
            f"Expected attribute predictors of {name} to list unique names; got {predictors!r}"
        )
    if not _is_list_of(left_out, list) or any(
        [type(part) for part in pair] != [str, int] for pair in left_out
    ):
        raise ValueError(
            f"Expected attribute left_out of {name} to list reasons and counts; got {left_out!r}"
        )
    lost, centers = parsed.get("lost_groups", []), parsed.get("centers", {})
    if not isinstance(lost, list) or any(type(label) not in (str, int) for label in lost):
        raise ValueError(f"Expected attribute lost_groups of {name} to list labels; got {lost!r}")
    if not isinstance(centers, dict) or not all(
        key in predictors and type(value) in (int, float) and np.isfinite(value)
        for key, value in centers.items()
    ):
        raise ValueError(
            f"Expected attribute centers of {name} to have a finite number for some predictors; "
            f"got {centers!r}"
        )
    earlier = parsed.get("earlier_runs", [])
    of_run = {"target_accept_prob", "draws", "divergences"}
    if not _is_list_of(earlier, dict) or not all(
        set(run) == of_run and all(type(value) in (int, float) for value in run.values())
        for run in earlier
    ):
        raise ValueError(
            f"Expected attribute earlier_runs of {name} to list {', '.join(sorted(of_run))}; got "
            f"{earlier!r}"
        )
    try:
        from_json(str(tree.attrs.get("findings", "[]")))
    except ValueError as error:
        raise ValueError(f"Expected attribute findings of {name}; {error}") from error
    if ATTRIBUTE in tree.attrs:
        try:
            check_routes(_parsed(tree, name, ATTRIBUTE))
        except ValueError as error:
            raise ValueError(
                f"Expected attribute {ATTRIBUTE} of {name} to fit it; {error}"
            ) from None
    notes = _parsed(tree, name, "notes") if "notes" in tree.attrs else []
    if not _is_list_of(notes, str):
        raise ValueError(f"Expected attribute notes of {name} to list texts; got {notes!r}")
    names = tree.attrs["outcome"], tuple(predictors), tree.attrs["group"], ()
    design = _checked_design(tree, name, tuple(predictors))
    _check_formula(tree, name, design)
    return Labels(*names, design=design)


def _check_formula(tree: xr.DataTree, name: str, design: Design) -> None:
    if not (formula := tree.attrs.get("formula", "")):
        return
    try:
        stored = ModelFormula.from_json(str(formula))
        if stored.design != design:
            raise ValueError(f"Expected the columns {design}; got {stored.design}")
    except (TypeError, ValueError) as error:
        raise ValueError(f"Expected attribute formula of {name} to fit it; {error}") from error


def _checked_design(tree: xr.DataTree, name: str, predictors: tuple[str, ...]) -> Design:
    columns = _parsed(tree, name, "design") if "design" in tree.attrs else None
    if columns is not None and (
        not isinstance(columns, dict)
        or not {"population", "varying"} <= set(columns) <= _IN_DESIGN
        or not all(isinstance(columns.pop(key, ""), str) for key in ("weights", "se"))
        or not _is_list_of(blocks := columns.pop("correlated", []), list)
        or not all(_is_list_of(v, str) for v in (*columns.values(), *blocks))
        or not all(len(set(v)) == len(v) for v in columns.values())
        or not columns["varying"]
    ):
        raise ValueError(
            f"Expected attribute design of {name} to list unique columns of population and "
            f"varying, and blocks of columns that correlate; got {tree.attrs['design']}"
        )
    try:
        design = read_design(tree)
        if design.predictors != predictors:
            raise ValueError(f"Expected the columns {predictors}; got {design.predictors}")
        read_model(tree).check(design)
    except ValueError as error:
        raise ValueError(f"Expected attribute design of {name} to fit it; {error}") from error
    return design


def check_group(tree: xr.DataTree, name: str, path: str) -> None:
    """Raise ValueError if a group is missing.

    Parameters
    ----------
    tree, name
        As in :func:`check_attributes`.
    path
        Path of the group.
    """
    if path not in tree.groups:
        raise ValueError(f"Expected {name} to be a fit; got no group {path}")


def _parsed(tree: xr.DataTree, name: str, attribute: str) -> Any:
    try:
        return json.loads(tree.attrs[attribute])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"Expected attribute {attribute} of {name} in JSON; got {error}") from None


def _is_list_of(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)
