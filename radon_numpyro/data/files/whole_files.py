"""Write files atomically: a file under its final name is always complete."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_whole(path: Path, write: Callable[[Path], Any]) -> Path:
    """Write a file under a temporary name, flush it to the disk, and rename it to `path`.

    If an error occurs before the rename, an old file under the final name is unchanged.

    Parameters
    ----------
    path
        Path of the file. Its folder is made if it is missing.
    write
        Function that writes a file under the path it is given, which is in the same folder and
        has the suffix of ``path``.

    Returns
    -------
    pathlib.Path
        ``path``.

    Raises
    ------
    OSError
        If the folder or the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        write(aside)
        with open(aside, "rb") as written:
            os.fsync(written.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    return path


def check_writable(path: Path) -> None:
    """Raise OSError if a file cannot be written at a path, before the work for it begins.

    Parameters
    ----------
    path
        Path of a file or folder, which need not exist.

    Raises
    ------
    OSError
        If the existing part of the path cannot be written to.
    """
    existing = path.absolute()
    while not existing.exists():
        existing = existing.parent
    if existing != path.absolute() and not existing.is_dir():
        raise NotADirectoryError(f"Expected {path} to be in a folder; got the file {existing}")
    if not os.access(existing, os.W_OK):
        raise PermissionError(f"Expected {path} to be writable; got no permission for {existing}")
