"""Libraries that read files of other programs: refusals where one is missing, or cannot read."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

INSTALL = 'pip install "radon-numpyro[files]"'


@contextmanager
def reading(source: str, what: str) -> Iterator[None]:
    """Turn whatever a library raises on a damaged file into a refusal, and keep it from warning.

    Parameters
    ----------
    source
        Path of the file.
    what
        What it is to be, such as ``"a spreadsheet"``.

    Raises
    ------
    ValueError
        The file cannot be read.
    ImportError
        The library is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ImportError as error:
        raise ImportError(
            f"Expected the package {error.name}, to read {source!r}; got none: {INSTALL}"
        ) from None
    except Exception as error:
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        if said.startswith("Expected"):
            raise
        raise ValueError(
            f"Expected {source!r} to be {what}; got one that cannot be read: {said}"
        ) from None
