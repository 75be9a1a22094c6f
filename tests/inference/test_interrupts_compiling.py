"""Signals to real processes that trace or compile: they end soon, and resume goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import xarray as xr
from fits import assert_same_tree

from radon_numpyro import resume, simulate

# From the signal, on a machine that may be busy; what it interrupts would take minutes.
SOON = 15
OPTIONS = {"draws": 60, "num_warmup": 40, "chains": 2, "num_advi_steps": 1000, "seed": 5}

# A fit that says when it begins to trace or to compile a program, and then takes minutes for it.
FIT = """
import sys, time
sys.path.insert(0, sys.argv[1])
import jax
from fits import TUTORIAL, towns
from radon_numpyro import fit
from radon_numpyro.inference.compute import programs

folder, out, where, name, options = sys.argv[2:7]

def slow(function, called):
    def slowed(self, *args, **kwargs):
        if called(self) == name:
            print("begun", flush=True)
            until = time.monotonic() + 300
            while time.monotonic() < until:
                # Python at work, or the compiler.
                time.sleep(0 if where == "trace" else 1)
        return function(self, *args, **kwargs)
    return slowed

def name_of(lowered):
    return lowered.as_text().partition("module @jit_")[2].partition(" ")[0]

if where == "trace":
    lower = programs.Program.lower
    programs.Program.lower = slow(lower, lambda program: program.__name__)
elif where == "compile":
    jax.stages.Lowered.compile = slow(jax.stages.Lowered.compile, name_of)
tree = fit(
    towns(), checkpoint=folder, priors=TUTORIAL, progress_bar=False, **eval(options),
)
tree.to_netcdf(out, engine="h5netcdf")
"""


def begin(folder, out, where="", name=""):
    arguments = [str(Path(__file__).parents[1]), str(folder), str(out), where, name, repr(OPTIONS)]
    return subprocess.Popen(
        [sys.executable, "-c", FIT, *arguments],
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    process = begin(folder / "run", folder / "fit.nc")
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    return xr.load_datatree(folder / "fit.nc", engine="h5netcdf")


def ended_by(process, number):
    """What a process says that is sent a signal and ends soon."""
    time.sleep(0.3)
    process.send_signal(number)
    started = time.monotonic()
    _, errors = process.communicate(timeout=120)
    assert time.monotonic() - started < SOON
    return errors


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "name", "number"),
    [
        ("trace", "_advance", signal.SIGINT),
        ("compile", "_advance", signal.SIGTERM),
        ("compile", "_constrain", signal.SIGINT),
        ("compile", "advance", signal.SIGTERM),
    ],
)
def test_a_fit_that_compiles_ends_soon_and_goes_on(tmp_path, uninterrupted, where, name, number):
    folder, out = tmp_path / "run", tmp_path / "fit.nc"
    process = begin(folder, out, where, name)
    assert process.stdout.readline() == "begun\n", process.stderr.read()
    errors = ended_by(process, number)
    assert process.returncode == -signal.SIGINT
    message = f"interrupted before the first draw; resume({str(folder)!r}) continues it"
    assert errors.strip().splitlines()[-1] == f"KeyboardInterrupt: {message}"
    assert not out.exists()
    assert not list(folder.glob(".*"))
    assert_same_tree(resume(folder, progress_bar=False), uninterrupted)


# A command that says when it begins to compile. Algebra unrolled for so many slopes takes seconds
# to trace and half a minute to compile; the package unrolls less.
SLOPES = 8
COMMAND = """
import radon_numpyro.gaussian.small_matrices as algebra
from radon_numpyro.cli.app import app
from radon_numpyro.inference.compute.compilation import Compilation

run, algebra.UNROLLED = Compilation.run, 99

def saying(self):
    print("compiling", flush=True)
    run(self)

Compilation.run = saying
app()
"""


@pytest.fixture(scope="module")
def many_predictors(tmp_path_factory):
    size = SLOPES
    truth = simulate(
        num_groups=20,
        rows_per_group=[40] * 20,
        mu_alpha=1.0,
        mu_beta=[0.5] * size,
        sigma_alpha=0.5,
        sigma_beta=[0.2] * size,
        eps=0.3,
        seed=0,
    )
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    truth.data.to_frame().to_csv(path, index=False)
    return path


def command(rows, out, *more):
    words = ["fit", str(rows), "--y", "y", "--group", "group", "--out", str(out), *more]
    words += [word for k in range(SLOPES) for word in ("--x", f"x{k + 1}")]
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *words],
        env=os.environ | {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_COMPILATION_CACHE": "false"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "what"), [(signal.SIGINT, "traces"), (signal.SIGTERM, "compiles")]
)
def test_a_command_ends_soon_while_it(many_predictors, tmp_path, number, what):
    """The threads of the compiler are left behind, without an abort."""
    process = command(many_predictors, tmp_path / "out")
    while "Fitting" not in process.stderr.readline():
        assert process.poll() is None
    if what == "compiles":
        assert process.stdout.readline() == "compiling\n"
    else:
        time.sleep(1)
    assert ended_by(process, number) == "Interrupted: nothing is written\n"
    assert process.returncode == 130
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.slow
def test_a_command_ends_soon_when_its_time_is_up(many_predictors, tmp_path):
    started = time.monotonic()
    process = command(many_predictors, tmp_path / "out", "--max-seconds", "3")
    _, errors = process.communicate(timeout=120)
    assert time.monotonic() - started < 3 + 2 * SOON
    assert process.returncode == 2
    message = "Error: Expected the first draw within --max-seconds 3; got none yet."
    assert errors.splitlines()[-1].startswith(message)
    assert "Traceback" not in errors
