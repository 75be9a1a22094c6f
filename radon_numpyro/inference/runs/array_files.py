"""Arrays in NumPy's ``.npz`` files, and states of JAX programs as arrays."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from radon_numpyro.data.files.whole_files import write_whole

Arrays = Mapping[str, np.ndarray]


def write_arrays(path: Path, arrays: Arrays) -> dict[str, str]:
    """Write arrays to an ``.npz`` file, completely or not at all.

    Parameters
    ----------
    path
        The file.
    arrays
        Arrays by name (not ``file``); none may have an object dtype.

    Returns
    -------
    dict
        Name and SHA-256 of the file, for :func:`read_arrays`.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    write_whole(path, lambda aside: np.savez(aside, allow_pickle=False, **arrays))
    return {"file": path.name, "sha256": _digest(path)}


def read_arrays(folder: Path, entry: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Read arrays that :func:`write_arrays` wrote.

    Parameters
    ----------
    folder
        Folder of the file.
    entry
        Name and SHA-256 of the file.

    Raises
    ------
    ValueError
        If the file is missing, or its content has changed.
    """
    path = folder / entry["file"]
    try:
        if _digest(path) != entry["sha256"]:
            raise ValueError(f"{path.name} with another content")
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except FileNotFoundError:
        raise ValueError(f"no {path.name}") from None
    except (OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path.name} that cannot be read ({error})") from error


def to_arrays(state: Any) -> dict[str, np.ndarray]:
    """Return the leaves of a pytree as arrays, by their positions.

    Parameters
    ----------
    state
        Pytree of JAX arrays and typed random keys.
    """
    leaves = jax.tree.leaves(state)
    return {
        str(i): np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)
        for i, leaf in enumerate(leaves)
    }


def from_arrays(arrays: Arrays, like: Any) -> Any:
    """Rebuild a pytree from :func:`to_arrays`, with strong types and on the same devices.

    Parameters
    ----------
    arrays
        From :func:`to_arrays`.
    like
        A pytree of the same structure, shapes and dtypes.

    Raises
    ------
    ValueError
        If shapes or dtypes differ.
    """
    expected = {name: (a.shape, a.dtype) for name, a in to_arrays(like).items()}
    if {name: (a.shape, a.dtype) for name, a in arrays.items()} != expected:
        raise ValueError("a state of other shapes or types")

    def restored(position: int, leaf: Any) -> Any:
        value: Any = arrays[str(position)]
        if _is_key(leaf):
            value = jax.random.wrap_key_data(value, impl=jax.random.key_impl(leaf))
        return jax.device_put(value, leaf.sharding)

    leaves, structure = jax.tree.flatten(like)
    return jax.tree.unflatten(structure, [restored(i, leaf) for i, leaf in enumerate(leaves)])


def _is_key(leaf: Any) -> bool:
    return bool(jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key))


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
