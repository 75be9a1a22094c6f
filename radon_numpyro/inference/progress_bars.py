"""Progress bars, shown only where somebody can watch them."""

from __future__ import annotations

import sys

from tqdm.auto import tqdm


def progress(*, total: int, shown: bool, unit: str, desc: str) -> tqdm:
    """A bar, which shows nothing unless it is asked for and standard error can show it.

    Parameters
    ----------
    total
        How far the run goes.
    shown
        Whether the caller asks for a bar.
    unit, desc
        What is counted, and the words before the bar.
    """
    return tqdm(total=total, disable=not (shown and watched()), unit=unit, desc=desc)


def watched() -> bool:
    """Whether standard error is a terminal or the output of a notebook, not a file or a pipe."""
    stream = sys.stderr
    # The stream of a notebook's kernel says that it is no terminal.
    if type(stream).__module__.partition(".")[0] == "ipykernel":
        return True
    try:
        return stream.isatty()
    except (AttributeError, ValueError):
        # None in a program without a console; closed in a daemon.
        return False
