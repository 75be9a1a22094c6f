"""What serves JAX without importing it: records that it takes as arguments, and its arrays.

Data and priors are made, checked and audited without JAX, which takes seconds to import. Where it
is there already a record is registered at once. Where it is not a finder stands in
``sys.meta_path`` until JAX is imported, by whomever, so that ``jax.jit(f)(data)`` works whatever
was imported first. ``sys.modules`` may hold a ``jax`` that is not loaded, and that any look at its
attributes would load: ArviZ puts one there. Its submodules tell.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np

# The module of JAX that the records are registered with.
_TREES = "jax.tree_util"
_WAITING: list[tuple[type, Sequence[str] | None, Sequence[str] | None]] = []


def pytree[Record: type](
    record: Record,
    data_fields: Sequence[str] | None = None,
    meta_fields: Sequence[str] | None = None,
) -> Record:
    """Have JAX take a dataclass apart, now or as soon as it is imported.

    Parameters
    ----------
    record
        The class.
    data_fields, meta_fields
        As in :func:`jax.tree_util.register_dataclass`.

    Returns
    -------
    type
        The class, so that this can decorate it.
    """
    _WAITING.append((record, data_fields, meta_fields))
    if _TREES in sys.modules:
        _register()
    elif _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)
    return record


def namespace(*arrays: Any) -> Any:
    """``jax.numpy`` if one of the arrays is JAX's, else NumPy, without importing JAX."""
    jax = loaded_jax()
    if jax is not None and any(isinstance(array, jax.Array) for array in arrays):
        return jax.numpy
    return np


def loaded_jax() -> Any:
    """JAX, if somebody has imported it and looked at it; else None."""
    return sys.modules["jax"] if "jax.numpy" in sys.modules else None


def _register() -> None:
    from jax.tree_util import register_dataclass

    while _WAITING:
        register_dataclass(*_WAITING.pop())


class _Finder(MetaPathFinder):
    """Finds JAX where the others do, and has the records registered once it is loaded."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _TREES:
            return None
        # Others may look for JAX without importing it: the finder stays until it is loaded.
        others = [f for f in sys.meta_path if f is not self and hasattr(f, "find_spec")]
        found = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def load_and_register(module: ModuleType) -> None:
            load(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            _register()

        loader: Any = spec.loader
        loader.exec_module = load_and_register
        return spec


_FINDER = _Finder()
