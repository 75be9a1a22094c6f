"""Support for JAX without importing it: records as pytrees, and the namespace of arrays.

Data and priors are made, checked and audited without JAX, which takes seconds to import. If JAX is
loaded, a record is registered at once. Otherwise a finder waits in ``sys.meta_path`` until any code
imports JAX, so that ``jax.jit(f)(data)`` works with any order of imports. ``sys.modules`` may have
a lazy ``jax``, put there by ArviZ, that would be loaded by any access to its attributes. Therefore
its submodules are checked instead.
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
    """Register a dataclass as a JAX pytree, now or as soon as JAX is imported.

    Parameters
    ----------
    record
        The class.
    data_fields, meta_fields
        As in :func:`jax.tree_util.register_dataclass`.

    Returns
    -------
    type
        The class, so that the function can be used as a decorator.
    """
    _WAITING.append((record, data_fields, meta_fields))
    if _TREES in sys.modules:
        _register()
    elif _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)
    return record


def namespace(*arrays: Any) -> Any:
    """Return ``jax.numpy`` if one of the arrays is a JAX array, else NumPy; does not import JAX."""
    jax = loaded_jax()
    if jax is not None and any(isinstance(array, jax.Array) for array in arrays):
        return jax.numpy
    return np


def loaded_jax() -> Any:
    """Return JAX if it has been imported and loaded, else None."""
    return sys.modules["jax"] if "jax.numpy" in sys.modules else None


def _register() -> None:
    from jax.tree_util import register_dataclass

    while _WAITING:
        register_dataclass(*_WAITING.pop())


class _Finder(MetaPathFinder):
    """Find JAX by the other finders, and register the records once it is loaded."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _TREES:
            return None
        # Keep the finder until JAX is loaded, because others may only search for it.
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
