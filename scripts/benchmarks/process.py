"""Start the timed processes one at a time, each with its own cache."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
OURS, PYMC, NUMPYRO = "radon_numpyro", "PyMC", "NumPyro"
LME4, RSTANARM = "lme4", "rstanarm"


@dataclass(frozen=True)
class Peer:
    """A peer and the command to start it; ``command`` is None if the peer is not installed."""

    name: str
    command: tuple[str, ...] | None
    absent: str = ""


def find_peers(peers_python):
    """Return all peers in order; those that are not installed have the reason."""
    peers = [Peer(OURS, (sys.executable, "-m", "benchmarks.with_radon_numpyro"))]
    for name, module, package in (
        (PYMC, "benchmarks.with_pymc", "nutpie"),
        (NUMPYRO, "benchmarks.with_numpyro", "numpyro"),
    ):
        there = peers_python.exists() and _runs(peers_python, "-c", f"import {package}")
        reason = f"{package} is not installed where ./scripts/benchmark installs it, .venv-peers"
        command = (str(peers_python), "-m", module)
        peers.append(Peer(name, command) if there else Peer(name, None, reason))
    rscript = shutil.which("Rscript")
    for name in (LME4, RSTANARM):
        if rscript is None:
            peers.append(Peer(name, None, "Rscript was not found"))
        elif not _runs(rscript, "-e", f"library({name})"):
            peers.append(Peer(name, None, f"Rscript found no package {name}"))
        else:
            peers.append(Peer(name, (rscript, str(HERE / "with_r.R"), name)))
    return {peer.name: peer for peer in peers}


def _runs(*command):
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


class Laboratory:
    """Run tasks in a temporary folder, with compile caches that can be emptied."""

    def __init__(self, peers, folder, say=print):
        self.peers, self.folder, self.say = peers, Path(folder), say
        self.runs = []

    def present(self, *names):
        return [name for name in names if self.peers[name].command]

    def run(self, name, action, temperature, drawn=None, /, *, limit=3600.0, cache=None, **task):
        """Run one process; return its wall time and results, or None if it failed.

        Parameters
        ----------
        name, action
            The peer, and the action to run.
        temperature
            ``"cold"`` empties the peer's compile cache first; others keep it.
        drawn
            The rows ``y, x, group``, if the action takes rows.
        limit
            Seconds after which the process is stopped, which counts as a failure.
        cache
            Name of the cache; runs that compile different programs have different caches.
        **task
            Further parts of the task that the process reads.
        """
        cache = self.folder / f"cache-{name}-{cache or action}-{task.get('variant', '')}"
        if temperature == "cold":
            shutil.rmtree(cache, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        task = {"action": action, "seed": 1, "again": 0, **task}
        (folder / "task.json").write_text(json.dumps(task))
        if drawn is not None:
            _write_rows(folder, name, action, *drawn)
        run = {"peer": name, "action": action, "temperature": temperature, "task": task}
        run["load_before"] = os.getloadavg()[0]
        command = [*self.peers[name].command, str(folder)]
        started = time.perf_counter()
        try:
            done = subprocess.run(
                command,
                env=_environment(cache),
                capture_output=True,
                text=True,
                timeout=limit,
                check=False,
            )
        except subprocess.TimeoutExpired:
            run |= {"failed": f"stopped after {limit:.0f} s"}
        else:
            run["seconds"] = time.perf_counter() - started
            if done.returncode == 0:
                run |= json.loads((folder / "result.json").read_text())
            else:
                lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
                run["failed"] = lines[-1]
        for call in run.get("calls", ()):
            if "draws" in call:
                call["draws"] = folder / call["draws"]
        variant = " ".join(str(v) for v in (task.get("variant"), task.get("label")) if v)
        seconds = run.get("failed") or f"{run['seconds']:.1f} s"
        self.say(f"  {name} {variant} {action}, {temperature}: {seconds}")
        self.runs.append(run)
        return None if "failed" in run else run

    def warm_disk(self, *names):
        """Import everything once without timing, because the first import reads from the disk."""
        for name in names:
            module = self.peers[name].command[-1]
            command = [*self.peers[name].command[:-2], "-c", f"import {module}"]
            if name in (OURS, PYMC, NUMPYRO):
                environment = _environment(self.folder / f"cache-{name}-disk-")
                subprocess.run(command, env=environment, capture_output=True, check=True)


def _write_rows(folder, name, action, y, x, group):
    if action == "integrate" or name in (LME4, RSTANARM):
        columns = {f"x{k + 1}": x[:, k] for k in range(x.shape[1])}
        pd.DataFrame({"y": y, **columns, "group": group}).to_csv(folder / "rows.csv", index=False)
    else:
        np.savez(folder / "rows.npz", y=y, x=x, group=group)


def _environment(cache):
    """Return an environment with caches for all compilers, without settings that affect peers."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "PYTENSOR_", "XLA_"))}
    return kept | {
        "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(ROOT)]),
        "JAX_COMPILATION_CACHE_DIR": str(cache / "jax"),
        # The same value as in the command line of this package.
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
        "PYTENSOR_FLAGS": f"base_compiledir={cache / 'pytensor'}",
        "NUMBA_CACHE_DIR": str(cache / "numba"),
    }
