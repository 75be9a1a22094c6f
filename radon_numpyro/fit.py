"""From data to a checked posterior: statistics, ADVI, draws, DataTree."""

from __future__ import annotations

import json
import time

import xarray as xr

from radon_numpyro.advi import fit_advi
from radon_numpyro.data import GroupedData
from radon_numpyro.inference_data import describe_call, to_datatree
from radon_numpyro.inversion import ExactResult, draw_exact
from radon_numpyro.nuts import NUTSResult, check_arguments, sample_nuts
from radon_numpyro.parametrisation import METHODS
from radon_numpyro.priors import Priors
from radon_numpyro.statistics import GroupStatistics, as_statistics


def fit(
    data: GroupedData | GroupStatistics,
    model: str = "hierarchical",
    *,
    method: str | None = None,
    priors: Priors | None = None,
    draws: int = 1000,
    chains: int = 4,
    num_warmup: int = 500,
    seed: int = 0,
    num_advi_steps: int = 100_000,
    target_accept_prob: float | None = None,
    max_tree_depth: int = 10,
    chain_method: str | None = None,
    coefficients: str = "auto",
    dtype: str = "float64",
    progress_bar: bool = True,
) -> xr.DataTree:
    """Fit a regression: ADVI on the sufficient statistics, then draws from the posterior.

    Parameters
    ----------
    data
        Rows or statistics.
    model
        ``"hierarchical"`` (partial pooling), ``"individual"`` (each group on its own) or
        ``"pooled"`` (all rows in one).
    method
        ``"marginal"`` (default): the coefficients are integrated out and then drawn exactly;
        NUTS moves in the scales of the hierarchical model, and the other models need no chain.
        ``"noncentered"`` (hierarchical model) and ``"centered"`` (the model as written): NUTS on
        all parameters.
    priors
        Default: :meth:`Priors.weakly_informative` of the data. :meth:`Priors.tutorial` has
        those of the radon tutorial.
    draws, chains, num_warmup
        Draws kept of each chain, number of chains, and warm-up iterations of each.
    seed
        Seed of everything random.
    num_advi_steps
        Steps of ADVI at the most; it stops earlier when it has converged.
    target_accept_prob, max_tree_depth
        Settings of NUTS; see :func:`sample_nuts`.
    chain_method
        ``"sequential"``, ``"parallel"`` or ``"vectorized"``; default by the devices there are.
    coefficients
        ``"draws"`` or ``"summary"`` of alpha and beta in the hierarchical model; ``"auto"``: a
        summary where the draws would take more than 1 GiB.
    dtype
        ``"float64"`` or ``"float32"``. The caller's own JAX setting is left alone.
    progress_bar
        Show bars on a terminal.

    Returns
    -------
    xarray.DataTree
        Groups ``posterior``, ``sample_stats``, ``advi``, ``observed_data``, ``constant_data``;
        see ``inference_data.py``. Pass it to :func:`diagnose` before reading it.

    Raises
    ------
    TypeError
        If ``data`` is neither rows nor statistics.
    ValueError
        If an argument is out of range.
    FloatingPointError
        If the log density is not finite.

    Examples
    --------
    >>> tree = fit(load_radon(), priors=Priors.tutorial())  # doctest: +SKIP
    """
    check_arguments(model, method, chain_method, draws, chains, num_warmup)
    started = time.perf_counter()
    statistics = as_statistics(data)
    used = Priors.weakly_informative(statistics) if priors is None else priors
    advi = fit_advi(
        statistics,
        model,
        num_steps=num_advi_steps,
        seed=seed,
        priors=used,
        dtype=dtype,
        progress_bar=progress_bar,
    )
    advi_done = time.perf_counter()
    method = METHODS[model][0] if method is None else method
    drawn: NUTSResult | ExactResult
    if method == "marginal" and model != "hierarchical":
        drawn = draw_exact(statistics, model, priors=used, draws=draws, chains=chains, seed=seed)
    else:
        drawn = sample_nuts(
            statistics,
            advi,
            method=method,
            priors=used,
            draws=draws,
            chains=chains,
            num_warmup=num_warmup,
            seed=seed,
            target_accept_prob=target_accept_prob,
            max_tree_depth=max_tree_depth,
            chain_method=chain_method,
            coefficients=coefficients,
            dtype=dtype,
            progress_bar=progress_bar,
        )
    timings = {"advi": advi_done - started, "draws": time.perf_counter() - advi_done}
    call = describe_call(
        "fit",
        model=model,
        method=method,
        draws=draws,
        chains=chains,
        num_warmup=num_warmup,
        seed=seed,
        num_advi_steps=num_advi_steps,
        target_accept_prob=target_accept_prob,
        max_tree_depth=max_tree_depth,
        chain_method=chain_method,
        coefficients=coefficients,
        dtype=dtype,
    )
    return to_datatree(
        data,
        statistics,
        used,
        advi,
        drawn,
        {"timings": json.dumps({k: round(v, 3) for k, v in timings.items()}), "call": call},
    )
