"""Trace the programs of NUTS before ADVI runs, and compile them in the meantime.

A first fit spends most of its time compiling. XLA compiles in other threads while Python traces the
next program and the guide is fitted.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import numpy as np

from radon_numpyro.inference.compute.programs import latent_sites, precision, unlabelled
from radon_numpyro.inference.nuts import blocks
from radon_numpyro.inference.nuts import draws as constrain
from radon_numpyro.inference.nuts.parametrisation import Parametrisation, parametrisation
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
    coordinates = parametrisation(settings.model, str(settings.method))
    reduced = coordinates.reduced(coordinates.data(statistics))
    with precision(settings.dtype):
        sites = jax.eval_shape(lambda: _latent_values(coordinates, reduced, priors))
        size = sum(site.size for site in sites.values())
        position = np.ones((settings.chains, size), dtype=settings.dtype)
        unit = np.ones(size, dtype=settings.dtype)
        blocks.compile_ahead(
            np.zeros((settings.chains, 2), dtype=np.uint32),
            position,
            reduced,
            priors,
            unit,
            coordinates=coordinates,
            # Any value serves, because it is not a constant of the program.
            target_accept_prob=0.8,
            **settings.sampler(),
        )
        constrain.compile_ahead(position, reduced, priors, coordinates=coordinates)
    # Mark the shape only now, because a signal may end the function earlier.
    _SEEN.add(shape)


def _latent_values(coordinates: Parametrisation, data: Any, priors: Priors) -> dict[str, Any]:
    sites = latent_sites(coordinates.latent, data, priors)
    return {name: site["value"] for name, site in sites.items()}
