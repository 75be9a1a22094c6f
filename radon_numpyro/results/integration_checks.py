"""Checks of a fit by integration: it has nodes and a verdict in place of chains."""

from __future__ import annotations

import pandas as pd
import xarray as xr

from radon_numpyro.data.findings import Finding
from radon_numpyro.inference.methods import INTEGRATE

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
