"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_whole(path: Path, write: Callable[[Path], Any]) -> Path:
    """Write aside in the same folder, flush to the disk, then rename over what was there.

    Whatever happens before the rename leaves the old file, or none, under the final name.

    Parameters
    ----------
    path
        The file. Its folder is made if it is missing.
    write
        Writes a file of the name it is given, which has the suffix of ``path``.

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
    """Refuse a place where no file can be made, before any work is done for it.

    Parameters
    ----------
    path
        A file or a folder, which need not be there.

    Raises
    ------
    OSError
        If what exists of its path cannot be written.
    """
    existing = path.absolute()
    while not existing.exists():
        existing = existing.parent
    if existing != path.absolute() and not existing.is_dir():
        raise NotADirectoryError(f"Expected {path} to be in a folder; got the file {existing}")
    if not os.access(existing, os.W_OK):
        raise PermissionError(f"Expected {path} to be writable; got no permission for {existing}")
