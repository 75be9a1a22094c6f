"""Trace the programs of NUTS before ADVI runs, and compile them in the meantime.

A first fit spends most of its time compiling. XLA compiles in other threads while Python traces the
next program and the guide is fitted.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import numpy as np

from radon_numpyro.inference.compute.programs import precision, random_key, unlabelled
from radon_numpyro.inference.nuts import blocks, warm_start
from radon_numpyro.inference.nuts import draws as constrain
from radon_numpyro.inference.nuts.parametrisation import parametrisation
from radon_numpyro.inference.settings import Settings
from radon_numpyro.model.priors import Priors
from radon_numpyro.statistics.group_statistics import GroupStatistics

_SEEN: set[Any] = set()


def compile_nuts(statistics: GroupStatistics, priors: Priors, settings: Settings) -> None:
    """Trace the programs of NUTS and start their compilation in other threads.

    Later calls find the compilations by the shapes and dtypes of their arguments, and wait for
    them. For each shape this is done once in a process.

    Parameters
    ----------
    statistics, priors, settings
        Data, priors and settings of the run.
    """
    statistics = unlabelled(statistics)
    leaves, structure = jax.tree.flatten((statistics, priors))
    same = replace(settings, seed=0, num_advi_steps=0, target_ess=None, max_seconds=None)
    same = replace(same, target_accept_prob=None)
    shape = (same, structure, *map(np.shape, leaves))
    if shape in _SEEN:
        return
    model, method = settings.model, str(settings.method)
    coordinates = parametrisation(model, method)
    reduced = coordinates.reduced(coordinates.data(statistics))
    with precision(settings.dtype):
        start = warm_start.compile_ahead(
            random_key(settings.seed),
            statistics,
            priors,
            model=model,
            method=method,
            chains=settings.chains,
        )
        blocks.compile_ahead(
            start.chain_keys,
            start.position,
            reduced,
            priors,
            start.unit,
            coordinates=coordinates,
            # Any value serves, because it is not a constant of the program.
            target_accept_prob=0.8,
            **settings.sampler(),
        )
        constrain.compile_ahead(start.position, reduced, priors, coordinates=coordinates)
    # Mark the shape only now, because a signal may end the function earlier.
    _SEEN.add(shape)
