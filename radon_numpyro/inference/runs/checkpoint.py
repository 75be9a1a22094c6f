"""A run kept in a folder, step by step, so that it can go on in another process.

================================  ==============================================================
file                              content
================================  ==============================================================
``manifest.json``                 what the run is, and every other file that counts, with its
                                  SHA-256; renamed into place last
``data.npz``                      what is fitted
``PART-FIRST-END.npz``            records of the steps FIRST..END-1 of a part
``PART-state-END.npz``            state of the part after its step END-1
================================  ==============================================================

Arrays are NumPy's ``.npz`` without pickled objects. A file never changes once the manifest names
it, and records are only added. So whenever the process is killed, the last manifest stands and
describes a run that was; files that it does not name are removed when the folder is opened next.
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
except ImportError:  # Windows: two processes must keep apart by themselves.
    fcntl = None  # type: ignore[assignment]

FORMAT = "radon-numpyro checkpoint 1"
MANIFEST = "manifest.json"
# Whoever starts a run may keep a note of his own in the folder, as the command line does.
NOTE = "command.json"
INTERVAL = 5.0
SHARE = 0.05
_OURS = re.compile(r"data\.npz|[a-z]+-(state|\d{6,})-\d{6,}\.npz")
Restored = TypeVar("Restored")
_ASIDE = re.compile(r"\.(manifest|data|[a-z]+-(state|\d+)-\d+)\.\d+\.(json|npz)")


class Checkpoint:
    """A folder that a run is kept in. Steps are given back first, then added.

    What is added is written at most every 5 seconds, rarer where writing would take more than a
    twentieth of the time, and on leaving the context. If it cannot be written (a full disk), the
    run loses nothing: a warning says so, the steps stay in memory and are written when there is
    room again.

    Attributes
    ----------
    path
        The folder.
    header
        What the run is: anything that JSON can keep.
    failure
        Why the latest steps could not be written; empty if they are.
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
        """Begin a run in a folder that is not there, or empty.

        Parameters
        ----------
        path
            The folder; a file ``command.json`` in it is left alone.
        header
            What the run is.
        data
            Arrays, none of objects.

        Raises
        ------
        OSError
            If the folder cannot be written.
        ValueError
            If it holds other files, or another process has it open.
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
            If it holds no run, is damaged, or another process has it open.
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
        """Write what is not written yet, and let the folder go."""
        try:
            self.write()
        finally:
            self._unlock()

    def read(self, restore: Callable[[dict[str, Any], Arrays], Restored]) -> Restored:
        """What the run was begun with.

        Parameters
        ----------
        restore
            Makes it of the header and the arrays, or raises KeyError, TypeError or ValueError.

        Raises
        ------
        ValueError
            If it cannot be made: the folder is damaged.
        """
        arrays = self._read(self._data)
        try:
            return restore(self.header, arrays)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(_damaged(self.path, f"a header without sense ({error})")) from error

    def replay(self, part: str, like: Any) -> tuple[Any, Arrays] | None:
        """The next step that is kept, in the order they were added; None after the last.

        Parameters
        ----------
        part
            Name of a part of the run.
        like
            State before the step, with the types and shapes of the one that is kept.

        Returns
        -------
        state, record
            The state after the last step that is kept, whichever step this is, and the record of
            this step.
        """
        record = next(self._kept.get(part, iter(())), None)
        if record is None:
            return None
        if part not in self._restored:
            like = self._state(part, like)
            self._restored.add(part)
        return like, record

    def add(self, part: str, state: Any, record: Arrays) -> None:
        """Keep a step.

        Parameters
        ----------
        part
            Name of a part of the run.
        state
            State after the step: a JAX pytree of arrays and random keys.
        record
            What the step gave.
        """
        records = self._unwritten[part][1] if part in self._unwritten else []
        # One assignment: whatever interrupts, state and records belong together.
        self._unwritten[part] = (state, [*records, record])
        if time.monotonic() - self._written_at >= max(INTERVAL, self._cost / SHARE):
            self.write()

    def write(self) -> None:
        """Write the steps that are not written yet; where that fails, say so and keep them."""
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
                    f"Expected to write the checkpoint {self.path}; got {error}. The run goes on, "
                    "its draws are in memory, and writing is tried again",
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
        """Remove what the manifest does not name: old states, and what a killed process left."""
        entries = [self._data]
        for part in self._parts.values():
            entries += [*part["records"], part["state"]]
        named = {MANIFEST, NOTE, *(entry["file"] for entry in entries)}
        for path in self.path.iterdir():
            if path.name not in named and _may_be_left(path.name):
                path.unlink(missing_ok=True)


def exists(path: str | os.PathLike[str]) -> bool:
    """Whether a folder holds a run.

    Parameters
    ----------
    path
        The folder.
    """
    return (Path(path) / MANIFEST).is_file()


def _may_be_left(name: str) -> bool:
    """Whether a run that was killed before its first manifest may have left it."""
    return name == NOTE or bool(_OURS.fullmatch(name) or _ASIDE.fullmatch(name))


def _damaged(path: Path, what: object) -> str:
    return (
        f"Expected {path} to be a checkpoint as it was written; got {what}. Without another copy "
        "of the folder, remove it and fit again"
    )


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            raise ValueError(f"format {manifest['format']!r}, not {FORMAT!r}")
        if manifest.pop("sha256") != _digest(manifest):
            raise ValueError("another content")
        entries = [manifest["data"]]
        for part in manifest["parts"].values():
            entries += [*part["records"], part["state"]]
            int(part["steps"])
        for entry in entries:
            # Files of this folder alone, whatever a manifest from elsewhere may name.
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
    """Hold a folder alone until what is returned is called, or the process ends.

    Nothing is written. On a file system without locks nothing is held.
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
