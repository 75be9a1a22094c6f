"""Groups split over several devices: each has a part of them, and sums over the groups join.

The log density and its gradient are arithmetic by group and sums over the groups, so that JAX makes
of the same program one for several devices: it needs to know where the arrays are.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from radon_numpyro.devices import several
from radon_numpyro.equations import NormalEquations
from radon_numpyro.unrolled import RUN


def split_groups(equations: NormalEquations, num_devices: int) -> NormalEquations:
    """Normal equations whose groups lie on several devices of the kind that JAX computes on.

    Groups without rows are added until all devices have as many, in whole runs of ``unrolled.py``.
    They add exactly 0 to the density: their triangle, target, residual sum of squares and count
    are 0, and they stand for no group.

    Parameters
    ----------
    equations
        Those of all groups.
    num_devices
        How many devices. Of one, the equations come back as they are.

    Raises
    ------
    ValueError
        If there are not so many devices.
    """
    if num_devices == 1:
        return equations
    mesh = Mesh(np.array(several(num_devices)), ("groups",))
    missing = -len(equations.count) % (num_devices * RUN)

    def split(values: Any) -> Any:
        others = [None] * (values.ndim - 1)
        padded = np.pad(values, [(0, 0)] * len(others) + [(0, missing)])
        return jax.device_put(padded, NamedSharding(mesh, PartitionSpec(*others, "groups")))

    by_group = ("root", "target", "rest", "count", "repeats", "scatter")
    return equations._replace(**{name: split(getattr(equations, name)) for name in by_group})
