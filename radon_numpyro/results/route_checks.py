"""Draws by NUTS beside an integration of the same posterior: what a fit keeps of the comparison."""

from __future__ import annotations

import json
from typing import Any

import xarray as xr

from radon_numpyro.data.findings import Finding

# In standard errors of both. Of some dozens of parameters the largest difference is 2 to 3.
SUSPICIOUS, DIFFERENT = 4.0, 5.0
ATTRIBUTE = "two_routes"


def routes_in_words(tree: xr.DataTree) -> str:
    """How far the two routes are from each other, in a sentence; empty if the fit has not kept it.

    Parameters
    ----------
    tree
        A fit.
    """
    found = _read(tree)
    if "skipped" in found:
        return f"Two routes: NUTS was not compared with integration ({found['skipped']})."
    if not found:
        return ""
    agree = "agree" if found["largest"] <= SUSPICIOUS else "differ"
    return (
        f"Two routes, NUTS and integration, {agree}: largest difference {found['largest']:.1f} "
        f"standard errors ({found['parameter']})."
    )


def routes_differ(tree: xr.DataTree) -> Finding | None:
    """Find that NUTS and integration do not agree.

    Parameters
    ----------
    tree
        A fit.
    """
    found = _read(tree)
    if found.get("largest", 0.0) <= SUSPICIOUS:
        return None
    draws = 2 * int(tree["posterior"].sizes["draw"])
    return Finding.advising(
        f"NUTS and integration differ by {found['largest']:.1f} standard errors in "
        f"{found['parameter']}: one of them has missed a part of the posterior.",
        "{draws}, and the same fit by {method}, to see which of them moves",
        caution=found["largest"] <= DIFFERENT,
        draws=draws,
        method="integrate",
    )


def check_routes(value: Any) -> None:
    """Refuse an attribute that is no comparison of two routes.

    Parameters
    ----------
    value
        What its JSON holds.

    Raises
    ------
    ValueError
        If it is something else.
    """
    kinds = {name: type(part) for name, part in value.items()} if isinstance(value, dict) else None
    if kinds not in ({"largest": float, "parameter": str}, {"skipped": str}):
        raise ValueError(f"Expected largest and parameter, or skipped; got {value!r}")


def _read(tree: xr.DataTree) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(tree.attrs.get(ATTRIBUTE, "{}"))
    return found
