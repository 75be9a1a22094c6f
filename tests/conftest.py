"""Define fixtures for all tests: float64 on request, and asymmetric data that reveal errors."""

import ctypes
import gc
import os
import shutil
import signal
import tempfile
import warnings
from pathlib import Path

# All tests, workers and processes of a run share a cache of compiled programs, because compilation
# takes most of the time. The cache is new in each run, so that the user's own cache is not used.
# JAX reads these variables on import.
if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ |= {
        "JAX_COMPILATION_CACHE_DIR": tempfile.mkdtemp(prefix="radon-numpyro-tests-"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        # Compile what the tests compute themselves without optimisation. On a CPU the programs of
        # the package set their own level.
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0",
        # On a busy machine the threads of BLAS wait for each other, which takes many times longer.
        "OPENBLAS_NUM_THREADS": "1",
    }

import jax
import numpy as np
import numpyro  # noqa: F401  # before ArviZ, which otherwise imports it incompletely
import pandas as pd
import pytest
from hypothesis import settings

from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.inference.runs.run_control import Run

# Hypothesis uses the same examples in every run, and does not fail on a busy machine.
settings.register_profile("tests", deadline=None, derandomize=True, database=None)
settings.load_profile("tests")

X_MEAN = np.array([3.0, -20.0, 0.5])
X_SD = np.array([0.5, 4.0, 30.0])
SLOPE = np.array([2.0, -0.25, 0.02])

# Resident memory of a worker, in MiB, above which it drops its compiled programs.
MOST_MIB = 2000


def pytest_unconfigure():
    if "PYTEST_XDIST_WORKER" not in os.environ:
        shutil.rmtree(os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)


def pytest_collection_finish():
    # Modules and tests live until the end: the garbage collector need not visit them each time.
    gc.collect()
    gc.freeze()


def resident_mib():
    """Return the resident memory of this process in MiB; 0 if the system does not report it."""
    file = Path("/proc/self/statm")
    pages = int(file.read_text().split()[1]) if file.exists() else 0
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20


@pytest.fixture(scope="module", autouse=True)
def bounded_memory():
    """Drop compiled programs after a module if memory is short; the disk cache still has them."""
    yield
    if resident_mib() > MOST_MIB:
        jax.clear_caches()
        gc.collect()
        # The C library returns freed memory to the system only on request.
        if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
            trim(0)


@pytest.fixture
def x64():
    """Enable float64 in JAX for one test, in a context as in the package, not for the process."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def agg():
    """Use matplotlib without a display, and close all figures after the test."""
    import matplotlib.pyplot as plt

    plt.switch_backend("Agg")
    yield
    plt.close("all")


def draw_unequal_data(num_predictors, sizes=(5, 1, 9, 3), seed=0):
    """Draw rows in mixed order, with non-zero means and unequal scales.

    Symmetric data would hide errors of sign, order and unit. A size of 0 makes an empty group.
    """
    rng = np.random.default_rng(seed)
    present = np.maximum(sizes, 1)
    codes = rng.permutation(np.repeat(np.arange(len(sizes)), present))
    x = rng.normal(X_MEAN, X_SD, size=(len(codes), 3))[:, :num_predictors]
    alpha = rng.normal(10.0, 2.0, size=len(sizes))
    beta = rng.normal(SLOPE, np.abs(SLOPE) / 2, size=(len(sizes), 3))[:, :num_predictors]
    y = rng.normal(alpha[codes] + (x * beta[codes]).sum(-1), 0.7)
    labels = [f"town {c}" for c in range(len(sizes))]
    group = pd.Categorical.from_codes(codes, labels)
    data = GroupedData.from_arrays(y, x, group, outcome="level", group_name="town")
    data = data.take(np.asarray(sizes)[codes] > 0)
    assert data.x.shape == (sum(sizes), num_predictors)
    assert data.group_sizes.tolist() == list(sizes)
    return data


@pytest.fixture(scope="session")
def unequal_data():
    """Return a function that draws data by number of predictors, group sizes and seed."""
    return draw_unequal_data


@pytest.fixture
def usual_handlers():
    """Set the default signal handlers, because the caller of the tests may have changed them."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def end_after(monkeypatch):
    """Return a function that ends runs by an error, as a signal does, after a number of steps."""

    step = Run.step

    def install(num_steps, error=KeyboardInterrupt):
        computed = 0

        def count(self, part, state, advance):
            def counted(state):
                nonlocal computed
                if computed == num_steps:
                    raise error
                computed += 1
                return advance(state)

            return step(self, part, state, counted)

        monkeypatch.setattr(Run, "step", count)

    return install


# Spark starts java from JAVA_HOME, or otherwise from PATH.
JAVA_PLACES = [f"{os.environ.get('JAVA_HOME', os.devnull)}/bin", os.environ["PATH"]]


@pytest.fixture(scope="session")
def spark_frames():
    """Return a function that makes Spark frames with three partitions, in a local session."""
    if not shutil.which("java", path=os.pathsep.join(JAVA_PLACES)):
        pytest.skip("Spark needs Java, and there is no java under JAVA_HOME or on the PATH")
    from pyspark.sql import SparkSession

    settings = {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "2",
        "spark.log.level": "ERROR",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        with warnings.catch_warnings():
            # JAX warns of os.fork(). PySpark forks only to start java, which is safe.
            warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
            session = SparkSession.builder.master("local[2]").config(map=settings).getOrCreate()
        yield lambda table: session.createDataFrame(table).repartition(3)
        session.stop()
