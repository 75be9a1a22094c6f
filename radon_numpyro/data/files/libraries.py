"""Convert errors of libraries that read files of other programs to errors of this package."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

INSTALL = 'pip install "radon-numpyro[files]"'


@contextmanager
def reading(source: str, what: str) -> Iterator[None]:
    """Convert errors of a library inside the context to ValueError, and ignore its warnings.

    Parameters
    ----------
    source
        Path of the file.
    what
        Expected kind of file, such as ``"a spreadsheet"``.

    Raises
    ------
    ValueError
        If the file cannot be read.
    ImportError
        If the library is not installed.
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
