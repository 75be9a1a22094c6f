"""Check HDF5 files from untrusted sources: undamaged, self-contained, and not a bomb.

An HDF5 file can refer to other files: by external links, raw data in other files, or virtual
datasets. It can also declare many more numbers than it stores. Such references are not followed
here, and such numbers are not allocated.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5netcdf
import h5py
import numpy as np
import xarray as xr
from xarray.backends import H5NetCDFStore

from radon_numpyro.data.checks import plural

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MAX_OBJECTS = 1000
MAX_BYTES = 2**30
_SEAL = re.compile(rb"\nsha256 ([0-9a-f]{64})\n\Z")
_SEAL_LENGTH = len("\nsha256 \n") + 64
_BATCH = 64


def write_groups(tree: xr.DataTree, path: Path) -> None:
    """Write a tree as a netCDF-4 file.

    The file is the same as by ``tree.to_netcdf``. That method is not used, because it
    imports Dask's scheduler if Dask is installed.

    Parameters
    ----------
    tree
        A tree with its arrays in memory.
    path
        The file; an existing file is replaced.
    """
    with h5netcdf.File(path, "w") as file:
        for node in tree.subtree:
            group = file if node.path == "/" else file.create_group(node.path)
            node.to_dataset(inherit=False).dump_to_store(H5NetCDFStore(group))


def seal(path: Path) -> None:
    """Append the SHA-256 of a file to it, after the end of the HDF5 data.

    The HDF5 library loops forever on some damaged files, so damage must be found before the library
    reads a file. If another program changes the file later, it cuts the seal off, and the file
    remains valid.

    Parameters
    ----------
    path
        A complete file.
    """
    digest = _digest(path, path.stat().st_size)
    with path.open("ab") as file:
        file.write(f"\nsha256 {digest}\n".encode())


def check_hdf5(path: Path) -> None:
    """Check that a file is undamaged HDF5, self-contained, and not a bomb.

    Parameters
    ----------
    path
        Any path. This cannot detect files that are forged to attack the HDF5 library itself.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, OSError
        If the file does not exist or cannot be read.
    ValueError
        If a check fails. The message says which one.
    """
    if not path.exists():
        raise FileNotFoundError(f"Expected {path} to be a file; got nothing there")
    if path.is_dir():
        raise IsADirectoryError(f"Expected {path} to be a file; got a folder")
    with path.open("rb") as file:
        head = file.read(len(SIGNATURE))
    if head != SIGNATURE:
        got = f"one that begins with {head!r}" if head else "an empty file"
        raise ValueError(f"Expected {path} to be a netCDF-4 file (HDF5); got {got}")
    _check_seal(path)
    try:
        with h5py.File(path, "r") as file:
            _check_objects(path, file)
    except _Refused as refused:
        raise ValueError(str(refused)) from None
    # For damaged or forged files, the library raises many kinds of exceptions.
    except Exception as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> ValueError:
    """Return the error for a file that the library cannot read.

    Parameters
    ----------
    path
        The file.
    error
        The exception of the library.
    """
    said = f"{type(error).__name__}: {str(error)[:200]}"
    return ValueError(f"Expected {path} to be an undamaged netCDF-4 file (HDF5); got {said}")


class _Refused(Exception):
    """An error of our own checks, to distinguish it from exceptions of the library."""


def _digest(path: Path, length: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while length > 0 and (block := file.read(min(length, 2**20))):
            digest.update(block)
            length -= len(block)
    return digest.hexdigest()


def _check_seal(path: Path) -> None:
    """Raise ValueError if the seal is wrong or incomplete; accept files without a seal."""
    size = path.stat().st_size
    length = max(size - _SEAL_LENGTH, 0)
    with path.open("rb") as file:
        head = file.read(48)
        file.seek(length)
        sealed = _SEAL.match(file.read())
    # In the oldest version of the format, which netCDF writes, these bytes are the end of the file.
    end = int.from_bytes(head[40:48], "little") if head[8:9] == b"\0" else size
    whole = sealed[1].decode() == _digest(path, length) if sealed else end >= size
    if not whole:
        raise ValueError(
            f"Expected {path} as it was written; got other bytes than its checksum is for. The "
            "file is damaged: use another copy"
        )


def _check_objects(path: Path, file: h5py.File) -> None:
    total, size = 0, path.stat().st_size
    limit = max(MAX_BYTES, 4 * size)
    for item in _objects(path, file):
        parts = [item.attrs.get_id(name) for name in item.attrs]
        if isinstance(item, h5py.Dataset):
            _check_dataset(path, item)
            parts.append(item)
        for part in parts:
            total += math.prod(part.shape or ()) * part.dtype.itemsize
            if total <= limit:
                total += _text_bytes(item, part)
            if total > limit:
                raise _Refused(
                    f"Expected {path}, of {size} bytes, to hold at most {limit} bytes of data; "
                    f"got more, in {item.name}"
                )


def _objects(path: Path, file: h5py.File) -> Iterator[Any]:
    """Yield every group and dataset once."""
    waiting, seen = [file["/"]], set()
    while waiting:
        item = waiting.pop()
        address = h5py.h5o.get_info(item.id).addr
        if address in seen:
            raise _Refused(f"Expected {path} to name each object once; got {item.name} again")
        seen.add(address)
        if len(seen) > MAX_OBJECTS:
            raise _Refused(
                f"Expected {path} to have at most {plural(MAX_OBJECTS, 'group')} and variables; "
                "got more"
            )
        yield item
        if not isinstance(item, h5py.Group):
            continue
        for name in item:
            link = item.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                kind = "an external" if isinstance(link, h5py.ExternalLink) else "a soft"
                raise _Refused(
                    f"Expected {path} to hold its data itself; got {kind} link {name!r} in "
                    f"{item.name}, which is not followed"
                )
            waiting.append(item[name])


def _check_dataset(path: Path, dataset: h5py.Dataset) -> None:
    if dataset.is_virtual or dataset.external:
        kind = "a virtual dataset" if dataset.is_virtual else "data in another file"
        raise _Refused(
            f"Expected {path} to hold its data itself; got {kind} at {dataset.name}, which is not "
            "followed"
        )
    text = _is_text(dataset.dtype)
    if (text and dataset.ndim > 1) or not (text or dataset.dtype.kind in "biuf"):
        raise _Refused(
            f"Expected {path} to hold real numbers, and text in one dimension; got "
            f"{dataset.name} of type {dataset.dtype} and shape {dataset.shape}"
        )


def _is_text(dtype: Any) -> bool:
    return h5py.check_string_dtype(dtype) is not None


def _text_bytes(item: Any, part: Any) -> int:
    """Return the length of the text of a dataset, or of an attribute of an item.

    The text is read in small batches, because many entries can share one long text in the file.
    """
    if not (_is_text(part.dtype) and part.dtype.kind == "O"):
        return 0
    if isinstance(part, h5py.Dataset):
        batches = (part[i : i + _BATCH] for i in range(0, part.size, _BATCH)) if part.ndim else ()
        return sum(len(text) for batch in batches for text in batch)
    if math.prod(part.shape) > _BATCH:
        raise _Refused(f"Expected attributes of at most {_BATCH} texts; got {part.shape}")
    return sum(len(text) for text in np.atleast_1d(item.attrs[part.name]))
