"""SIGKILL at random moments of real processes, over and over: the run ends with the same bits."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from fits import assert_same_tree

KILLS = 3
BLOCKS = {"advi": 6, "nuts": 10 + 15}

# Every step is written, says when it is done, and takes long enough to be killed within.
FIT = """
import sys, time
sys.path.insert(0, sys.argv[1])
from fits import TUTORIAL, towns
from radon_numpyro import fit, resume
from radon_numpyro.inference.nuts import blocks
from radon_numpyro.inference.runs import checkpoint
from radon_numpyro.inference.runs.run_control import Run

blocks.BLOCK, checkpoint.INTERVAL, checkpoint.SHARE = 20, 0.0, float("inf")
step, done = Run.step, 0

def telling(*args):
    global done
    result = step(*args)
    done += 1
    print(done, flush=True)
    time.sleep(0.02)
    return result

Run.step = telling
folder, out = sys.argv[2:4]
if sys.argv[4] == "resume":
    tree = resume(folder, progress_bar=False)
else:
    tree = fit(
        towns(), checkpoint=folder, priors=TUTORIAL, draws=300, num_warmup=200, chains=2,
        num_advi_steps=3000, seed=5, target_accept_prob=0.9, progress_bar=False,
    )
tree.to_netcdf(out, engine="h5netcdf")
"""


def start(folder, out, how):
    """Start a fit in a process of its own; what one has compiled, the next ones load."""
    return subprocess.Popen(
        [sys.executable, "-c", FIT, str(Path(__file__).parents[1]), str(folder), str(out), how],
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    return finished(start(folder / "run", folder / "fit.nc", "fit"), folder / "fit.nc")


def finished(process, out):
    said, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    assert int(said.split()[-1]) == sum(BLOCKS.values())
    return xr.load_datatree(out, engine="h5netcdf")


def kill_at(process, step, delay):
    """SIGKILL a while after the given step; how many steps the process had said to be done."""
    done = 0
    for text in process.stdout:
        done = int(text)
        if done >= step:
            break
    assert done >= step, process.stderr.read()
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    return int((rest.split() or [done])[-1])


def assert_whole(folder, done):
    """Nothing that was said to be done is lost, and what has a final name is whole."""
    parts = json.loads((folder / "manifest.json").read_text())["parts"]
    assert sum(part["steps"] for part in parts.values()) >= done
    for path in folder.glob("[!.]*.npz"):
        with np.load(path, allow_pickle=False) as arrays:
            assert sum(array.nbytes for array in dict(arrays).values()) > 0


@pytest.mark.slow
def test_a_fit_killed_at_random_moments_ends_with_the_same_bits(uninterrupted, tmp_path):
    """At least once in ADVI, in the warm-up and among the draws."""
    rng = random.Random(0)
    folder, out = tmp_path / "run", tmp_path / "fit.nc"
    last_of_advi, last_of_warm_up = BLOCKS["advi"], BLOCKS["advi"] + 10
    steps = {
        rng.randrange(0, last_of_advi),
        rng.randrange(last_of_advi, last_of_warm_up),
        rng.randrange(last_of_warm_up, sum(BLOCKS.values())),
    }
    while len(steps) < KILLS:
        steps.add(rng.randrange(1, sum(BLOCKS.values())))
    how = "fit"
    for step in sorted(steps):
        process = start(folder, out, how)
        done = kill_at(process, step, rng.uniform(0.0, 0.025))
        assert_whole(folder, done)
        assert not out.exists()
        how = rng.choice(["fit", "resume"])
    tree = finished(start(folder, out, "resume"), out)
    assert tree.attrs["resumed"] == 1
    assert_same_tree(tree, uninterrupted)
    assert not list(folder.glob(".*"))
