"""The timed process, the same for every peer: it reads a task and rows, and writes times and draws.

The folder named on the command line has ``task.json`` and ``rows.npz``. The process writes
``result.json`` and the draws of each call, ``draws-0.npz`` and so on, to this folder. It imports
only modules that every peer imports itself.
"""

import json
import resource
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

STARTED = time.perf_counter()


class Work:
    """The task, its rows, and the records of its calls.

    ``x`` has shape (N, K), ``group`` has codes from 0, ``y`` is the outcome.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self.task = json.loads((self.folder / "task.json").read_text())
        self.calls = []
        self.compilations = None
        if (self.folder / "rows.npz").exists():
            with np.load(self.folder / "rows.npz") as rows:
                self.y, self.x, self.group = rows["y"], rows["x"], rows["group"]

    @property
    def num_groups(self):
        return int(self.group.max()) + 1

    def repeats(self):
        """Yield the name and the seed of each call: the first, then the repeats."""
        for n in range(1 + self.task["again"]):
            yield "again" if n else "first", self.task["seed"] + n

    def time(self, kind, call, summarise):
        """Time a call, and then summarise its result as draws by site and facts, untimed.

        Draws have shape (chains, draws, ...). Returns what the call did.
        """
        compiled = None if self.compilations is None else len(self.compilations)
        started, cpu = time.perf_counter(), time.process_time()
        found = call()
        taken = {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu}
        record = {"kind": kind, **taken}
        if compiled is not None:
            record["compiled"] = len(self.compilations) - compiled
        draws, facts = summarise(found)
        record |= facts
        if draws:
            record["draws"] = f"draws-{len(self.calls)}.npz"
            np.savez(self.folder / record["draws"], **draws)
        self.calls.append(record)
        return found


def compilations():
    """Return a list that grows by one for each program that JAX compiles or reads from disk."""
    import jax

    seconds = []

    def listen(event, duration, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            seconds.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    return seconds


def peak_mib():
    """Return the peak resident memory of this process in MiB."""
    status = Path("/proc/self/status")
    if status.exists():
        # Do not use ru_maxrss: it includes the peak of the process from which this one was forked.
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(peak.split()[1]) / 2**10
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def serve(actions, packages, *, with_jax=()):
    """Run the action of the task, one of ``actions``, which are functions of :class:`Work`.

    The programs that JAX compiles are counted for the actions ``with_jax``.
    """
    imports = time.perf_counter() - STARTED
    work = Work(sys.argv[1])
    if work.task["action"] in with_jax:
        work.compilations = compilations()
    actions[work.task["action"]](work)
    result = {
        "imports": imports,
        # CPU time of all threads since the start; unlike wall time, it ignores other processes.
        "cpu": time.process_time(),
        "peak_mib": peak_mib(),
        "calls": work.calls,
        "versions": {name: version(name) for name in packages},
    }
    (work.folder / "result.json").write_text(json.dumps(result))
