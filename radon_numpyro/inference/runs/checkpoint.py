"""Save a run in a folder, step by step, so that another process can continue it.

================================  ==============================================================
file                              content
================================  ==============================================================
``manifest.json``                 description of the run, and names and SHA-256 of all other
                                  files of the run; written last, by renaming
``data.npz``                      the data
``PART-FIRST-END.npz``            records of the steps FIRST..END-1 of a part
``PART-state-END.npz``            state of the part after its step END-1
================================  ==============================================================

Arrays are NumPy's ``.npz`` without pickled objects. A file never changes after the manifest names
it, and records are only added. So the last manifest describes a consistent run, even if the process
is killed at any time. Files that it does not name are removed when the folder is next opened.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np

from radon_numpyro.data.checks import first_few
from radon_numpyro.data.files.whole_files import check_writable, write_whole
from radon_numpyro.inference.runs.array_files import (
    Arrays,
    from_arrays,
    read_arrays,
    to_arrays,
    write_arrays,
)

try:
    import fcntl
except ImportError:  # On Windows nothing prevents two processes from using one folder.
    fcntl = None  # type: ignore[assignment]

FORMAT = "radon-numpyro checkpoint 1"
MANIFEST = "manifest.json"
# File for a note of the caller, such as the output folder of a command.
NOTE = "command.json"
INTERVAL = 5.0
SHARE = 0.05
_OURS = re.compile(r"data\.npz|[a-z]+-(state|\d{6,})-\d{6,}\.npz")
Restored = TypeVar("Restored")
_ASIDE = re.compile(r"\.(manifest|data|[a-z]+-(state|\d+)-\d+)\.\d+\.(json|npz)")


class Checkpoint:
    """A folder in which a run is saved. Saved steps are replayed first, then new ones are added.

    New steps are written at most every 5 seconds, less often if writing would take more than a
    twentieth of the time, and on leaving the context. If they cannot be written, for example on a
    full disk, nothing is lost: there is a warning, the steps stay in memory, and writing is tried
    again.

    Attributes
    ----------
    path
        The folder.
    header
        Description of the run, of types that JSON can store.
    failure
        Why the latest steps could not be written; empty if they were.
    """

    def __init__(self, path: Path, manifest: dict[str, Any], unlock: Callable[[], None]) -> None:
        self.path = path
        self.header: dict[str, Any] = manifest["header"]
        self.failure = ""
        self._data: dict[str, str] = manifest["data"]
        self._parts: dict[str, Any] = manifest["parts"]
        self._unlock = unlock
        self._kept = {name: self._records(part) for name, part in self._parts.items()}
        self._restored: set[str] = set()
        self._unwritten: dict[str, tuple[Any, list[Arrays]]] = {}
        self._written_at, self._cost = time.monotonic(), 0.0

    @classmethod
    def create(
        cls, path: str | os.PathLike[str], header: dict[str, Any], data: Arrays
    ) -> Checkpoint:
        """Create the checkpoint of a new run in a folder that does not exist or is empty.

        Parameters
        ----------
        path
            The folder; a file ``command.json`` in it is not changed.
        header
            Description of the run.
        data
            Arrays by name; none may have an object dtype.

        Raises
        ------
        OSError
            If the folder cannot be written.
        ValueError
            If the folder has other files, or another process has it open.
        """
        folder = Path(path)
        check_writable(folder)
        folder.mkdir(parents=True, exist_ok=True)
        unlock = _locked(folder)
        try:
            others = sorted(p.name for p in folder.iterdir() if not _may_be_left(p.name))
            if others:
                raise ValueError(
                    f"Expected {folder} to be a checkpoint or an empty folder; got one with "
                    f"{first_few(others)}"
                )
            entry = write_arrays(folder / "data.npz", data)
            made = cls(folder, {"header": header, "data": entry, "parts": {}}, unlock)
            made._write_manifest(made._parts)
            made._sweep()
        except BaseException:
            unlock()
            raise
        return made

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Checkpoint:
        """Open the folder of an earlier run.

        Parameters
        ----------
        path
            The folder.

        Raises
        ------
        ValueError
            If the folder has no run, is damaged, or another process has it open.
        """
        folder = Path(path)
        if not exists(folder):
            what = f"a folder without {MANIFEST}" if folder.is_dir() else "no folder"
            raise ValueError(f"Expected {folder} to be a checkpoint of fit; got {what}")
        unlock = _locked(folder)
        try:
            opened = cls(folder, _read_manifest(folder), unlock)
            opened._sweep()
        except BaseException:
            unlock()
            raise
        return opened

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def close(self) -> None:
        """Write the steps that are not written yet, and unlock the folder."""
        try:
            self.write()
        finally:
            self._unlock()

    def read(self, restore: Callable[[dict[str, Any], Arrays], Restored]) -> Restored:
        """Read the data and the description with which the run was started.

        Parameters
        ----------
        restore
            Function of the header and the arrays that makes the result, or raises KeyError,
            TypeError or ValueError.

        Raises
        ------
        ValueError
            If the folder is damaged, so that ``restore`` fails.
        """
        arrays = self._read(self._data)
        try:
            return restore(self.header, arrays)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(_damaged(self.path, f"an invalid header ({error})")) from error

    def replay(self, part: str, like: Any) -> tuple[Any, Arrays] | None:
        """Return the next saved step, in the order in which they were added; None after the last.

        Parameters
        ----------
        part
            Name of a part of the run.
        like
            State before the step, with the dtypes and shapes of the saved state.

        Returns
        -------
        state, record
            The record of this step, and always the state after the last saved step.
        """
        record = next(self._kept.get(part, iter(())), None)
        if record is None:
            return None
        if part not in self._restored:
            like = self._state(part, like)
            self._restored.add(part)
        return like, record

    def add(self, part: str, state: Any, record: Arrays) -> None:
        """Add a step.

        Parameters
        ----------
        part
            Name of a part of the run.
        state
            State after the step: a JAX pytree of arrays and random keys.
        record
            Arrays that the step returned, by name.
        """
        records = self._unwritten[part][1] if part in self._unwritten else []
        # A single assignment keeps state and records consistent if there is an interrupt.
        self._unwritten[part] = (state, [*records, record])
        if time.monotonic() - self._written_at >= max(INTERVAL, self._cost / SHARE):
            self.write()

    def write(self) -> None:
        """Write the steps that are not written yet; if that fails, warn and keep them."""
        if not self._unwritten:
            return
        started = time.monotonic()
        parts = dict(self._parts)
        try:
            for name, (state, records) in self._unwritten.items():
                parts[name] = self._extended(name, state, records)
            self._write_manifest(parts)
        except OSError as error:
            if not self.failure:
                warnings.warn(
                    f"Expected to write the checkpoint {self.path}; got {error}. The run continues "
                    "with its draws in memory, and writing will be tried again",
                    RuntimeWarning,
                    stacklevel=2,
                )
            self.failure = str(error)
        else:
            self._parts, self._unwritten, self.failure = parts, {}, ""
            with suppress(OSError):
                self._sweep()
        self._written_at = time.monotonic()
        self._cost = self._written_at - started

    def _extended(self, name: str, state: Any, records: list[Arrays]) -> dict[str, Any]:
        part = self._parts.get(name, {"steps": 0, "records": []})
        end = part["steps"] + len(records)
        flat = {f"{i}.{key}": v for i, record in enumerate(records) for key, v in record.items()}
        added = write_arrays(self.path / f"{name}-{part['steps']:06d}-{end:06d}.npz", flat)
        latest = write_arrays(self.path / f"{name}-state-{end:06d}.npz", to_arrays(state))
        return {"steps": end, "records": [*part["records"], added], "state": latest}

    def _records(self, part: dict[str, Any]) -> Iterator[Arrays]:
        for entry in part["records"]:
            records: dict[int, dict[str, np.ndarray]] = {}
            for name, values in self._read(entry).items():
                position, _, key = name.partition(".")
                records.setdefault(int(position), {})[key] = values
            yield from records.values()

    def _state(self, part: str, like: Any) -> Any:
        arrays = self._read(self._parts[part]["state"])
        try:
            return from_arrays(arrays, like)
        except ValueError as error:
            raise ValueError(_damaged(self.path, error)) from error

    def _write_manifest(self, parts: dict[str, Any]) -> None:
        manifest = {"format": FORMAT, "header": self.header, "data": self._data, "parts": parts}
        text = json.dumps(manifest | {"sha256": _digest(manifest)}, indent=1) + "\n"
        write_whole(self.path / MANIFEST, lambda path: path.write_text(text, encoding="utf-8"))

    def _read(self, entry: dict[str, str]) -> dict[str, np.ndarray]:
        try:
            return read_arrays(self.path, entry)
        except ValueError as error:
            raise ValueError(_damaged(self.path, error)) from error

    def _sweep(self) -> None:
        """Remove files that the manifest does not name: old states, and those of killed runs."""
        entries = [self._data]
        for part in self._parts.values():
            entries += [*part["records"], part["state"]]
        named = {MANIFEST, NOTE, *(entry["file"] for entry in entries)}
        for path in self.path.iterdir():
            if path.name not in named and _may_be_left(path.name):
                path.unlink(missing_ok=True)


def exists(path: str | os.PathLike[str]) -> bool:
    """Return whether a folder has a saved run.

    Parameters
    ----------
    path
        The folder.
    """
    return (Path(path) / MANIFEST).is_file()


def _may_be_left(name: str) -> bool:
    """Return whether a killed run may have left a file with this name."""
    return name == NOTE or bool(_OURS.fullmatch(name) or _ASIDE.fullmatch(name))


def _damaged(path: Path, what: object) -> str:
    return (
        f"Expected {path} to be an undamaged checkpoint; got {what}. Restore a copy of the folder, "
        "or remove it and fit again"
    )


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            raise ValueError(f"format {manifest['format']!r}, not {FORMAT!r}")
        if manifest.pop("sha256") != _digest(manifest):
            raise ValueError("changed content")
        entries = [manifest["data"]]
        for part in manifest["parts"].values():
            entries += [*part["records"], part["state"]]
            int(part["steps"])
        for entry in entries:
            # Accept only files in this folder: a foreign manifest could name any path.
            if not _OURS.fullmatch(entry["file"]) or not isinstance(entry["sha256"], str):
                raise ValueError(f"an entry {entry}")
        dict(manifest["header"])
    except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        what = f"{MANIFEST} without {error}" if isinstance(error, KeyError) else error
        raise ValueError(_damaged(path, f"{MANIFEST} with {what}")) from error
    return dict(manifest)


def _digest(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _locked(folder: Path) -> Callable[[], None]:
    """Lock a folder until the returned function is called or the process ends.

    Nothing is written. On a file system without locks, the folder is not locked.
    """
    if fcntl is None:
        return lambda: None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ValueError(
            f"Expected {folder} to be free; got a checkpoint that a running fit has open"
        ) from None
    except OSError:
        pass
    return lambda: os.close(descriptor)
