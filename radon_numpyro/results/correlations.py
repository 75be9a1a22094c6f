"""Correlations of the coefficients of a fit, pair by pair: the matrix has each twice, and ones."""

from __future__ import annotations

import numpy as np
import xarray as xr

from radon_numpyro.data.design import Design


def correlations(design: Design, draws: np.ndarray) -> dict[str, np.ndarray]:
    """Draws (S,) of each correlation by its name, ``correlation[Intercept, Days]``.

    Parameters
    ----------
    design
        Which coefficients vary, and which of them correlate.
    draws
        Correlation matrices, shape (S, P, P).
    """
    return {
        f"correlation[{name}]": draws[:, i, j]
        for name, (i, j) in zip(design.pair_names, design.pairs, strict=True)
    }


def pairs_alone(posterior: xr.Dataset, design: Design) -> xr.Dataset:
    """A posterior whose site ``correlation`` has one entry a pair, with a dimension ``pair``.

    Parameters
    ----------
    posterior
        Draws of the sites.
    design
        Which coefficients vary, and which of them correlate.
    """
    if "correlation" not in posterior:
        return posterior
    values = posterior["correlation"].transpose("chain", "draw", ...).values
    rows, columns = np.array(design.pairs).T
    pairs = xr.DataArray(
        values[..., rows, columns],
        dims=("chain", "draw", "pair"),
        coords={"pair": list(design.pair_names)},
    )
    others = posterior.drop_vars(["correlation"])
    unused = [dim for dim in posterior["correlation"].dims if dim not in others.dims]
    return others.drop_vars(unused, errors="ignore").assign(correlation=pairs)
