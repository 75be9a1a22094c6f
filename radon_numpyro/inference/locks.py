"""A folder for one process at a time."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: two processes must keep apart by themselves.
    fcntl = None  # type: ignore[assignment]


def lock_folder(folder: Path) -> Callable[[], None]:
    """Hold a folder alone until it is let go, or the process ends in whatever way.

    Parameters
    ----------
    folder
        A folder that is there. Nothing is written to it. On a file system without locks nothing
        is held.

    Returns
    -------
    callable
        Lets it go.

    Raises
    ------
    BlockingIOError
        If another process holds it.
    """
    if fcntl is None:
        return lambda: None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError:
        pass
    return lambda: os.close(descriptor)
