"""Checks of fits by integration, and comparison of draws by NUTS with an integration.

A fit by integration has nodes and a verdict instead of chains. The attribute ``two_routes`` of a
default fit stores the difference between its draws by NUTS and an integration of the same
posterior.
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
    """Return whether the fit was made by integration, without chains.

    Parameters
    ----------
    tree
        A fit.
    """
    return bool(tree.attrs["method"] == INTEGRATE)


def effective_size(tree: xr.DataTree) -> float:
    """Return the effective sample size: the number of draws, or the ESS of the nodes if smaller.

    The draws are independent given the nodes, so that it is the same for every parameter.

    Parameters
    ----------
    tree
        A fit by integration.
    """
    sizes = tree["posterior"].sizes
    draws = float(sizes["chain"] * sizes["draw"])
    return min(draws, float(tree[NODES].attrs["ess"])) if NODES in tree.children else draws


def effective_sizes(tree: xr.DataTree, posterior: xr.Dataset) -> pd.DataFrame:
    """Tabulate ``ess_bulk`` and ``ess_tail``, with one row for each parameter.

    Parameters
    ----------
    tree
        A fit by integration.
    posterior
        Its posterior, with named entries.
    """
    from arviz_base import dataset_to_dataframe

    first = posterior.isel(chain=0, draw=0, drop=True)
    same = xr.full_like(first, effective_size(tree), dtype=float)
    columns = xr.DataArray(["ess_bulk", "ess_tail"], dims="summary", name="summary")
    both = xr.concat([same, same], dim=columns)
    return dataset_to_dataframe(both, sample_dims=["summary"]).T.astype(float)


def nodes_in_words(tree: xr.DataTree) -> str:
    """Say in words which nodes the draws of a fit by integration come from.

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
    """Return a finding if an integration is unreliable, else None.

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


# Largest difference, in combined standard errors, up to which the routes agree, and up to which a
# difference is only a caution. If both are correct, that of dozens of parameters is 2 to 3.
SUSPICIOUS, DIFFERENT = 4.0, 5.0
ATTRIBUTE = "two_routes"


def routes_in_words(tree: xr.DataTree) -> str:
    """Describe the difference of the two routes in a sentence; empty if the fit does not store it.

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
    """Return a finding if NUTS and integration disagree, else None.

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
    """Check that an attribute is a comparison of two routes.

    Parameters
    ----------
    value
        The parsed JSON of the attribute.

    Raises
    ------
    ValueError
        If the value has another form.
    """
    kinds = {name: type(part) for name, part in value.items()} if isinstance(value, dict) else None
    if kinds not in ({"largest": float, "parameter": str}, {"skipped": str}):
        raise ValueError(f"Expected largest and parameter, or skipped; got {value!r}")


def _read(tree: xr.DataTree) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(tree.attrs.get(ATTRIBUTE, "{}"))
    return found
