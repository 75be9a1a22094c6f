"""Checks by integration: of a fit made by it, and of draws by NUTS beside it.

A fit by integration has nodes and a verdict in place of chains. A default fit keeps how far its
draws by NUTS are from an integration of the same posterior, in the attribute ``two_routes``.
"""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import xarray as xr

from radon_numpyro.data.findings import Finding
from radon_numpyro.inference.settings import INTEGRATE

NODES = "nodes"


def is_integrated(tree: xr.DataTree) -> bool:
    """Whether the fit was made by integration, without a chain.

    Parameters
    ----------
    tree
        A fit.
    """
    return bool(tree.attrs["method"] == INTEGRATE)


def effective_size(tree: xr.DataTree) -> float:
    """What the draws are worth: as many as there are, but no more than the effective nodes.

    The draws are independent given the nodes, so this holds for every parameter.

    Parameters
    ----------
    tree
        A fit by integration.
    """
    sizes = tree["posterior"].sizes
    draws = float(sizes["chain"] * sizes["draw"])
    return min(draws, float(tree[NODES].attrs["ess"])) if NODES in tree.children else draws


def effective_sizes(tree: xr.DataTree, posterior: xr.Dataset) -> pd.DataFrame:
    """``ess_bulk`` and ``ess_tail`` of every parameter, a row each.

    Parameters
    ----------
    tree
        A fit by integration.
    posterior
        Its posterior, whose entries are named.
    """
    from arviz_base import dataset_to_dataframe

    first = posterior.isel(chain=0, draw=0, drop=True)
    same = xr.full_like(first, effective_size(tree), dtype=float)
    columns = xr.DataArray(["ess_bulk", "ess_tail"], dims="summary", name="summary")
    both = xr.concat([same, same], dim=columns)
    return dataset_to_dataframe(both, sample_dims=["summary"]).T.astype(float)


def nodes_in_words(tree: xr.DataTree) -> str:
    """Where the draws of a fit by integration are from.

    Parameters
    ----------
    tree
        The fit.
    """
    if NODES not in tree.children:
        return "independent and exact"
    about, count = tree[NODES].attrs, tree[NODES].sizes["node"]
    return f"from {count:,} weighted nodes, Pareto k-hat {float(about['khat']):.2f}"


def unreliable(tree: xr.DataTree) -> Finding | None:
    """Find that an integration cannot be relied on.

    Parameters
    ----------
    tree
        A fit by integration.
    """
    if NODES not in tree.children or tree[NODES].attrs["reliable"]:
        return None
    return Finding.advising(
        str(tree[NODES].attrs["verdict"]),
        "{method}, which goes on with NUTS; or priors of the standard deviations that are narrower",
        method="auto",
    )


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
