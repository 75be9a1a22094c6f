"""Bars are for somebody who watches: a terminal or a notebook, never a pipe or a file."""

import io
import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from radon_numpyro.inference.runs import run_control as bars

ROOT = Path(bars.__file__).parents[3]
FIT = """
import sys
sys.path.insert(0, sys.argv[1])
from fits import three_counties
from radon_numpyro import compare_pooling, fit_advi
fit_advi(three_counties(), "pooled", num_steps=1000)
compare_pooling(three_counties(), folds=0, draws=20, chains=2)
"""
BAR = """
from radon_numpyro.inference.runs.run_control import progress
with progress(total=3, shown=True, unit="step", desc="ADVI") as bar:
    bar.update(3)
"""


def python(code, *arguments, **settings):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "FORCE_COLOR": "1"}
    command = [sys.executable, "-W", "ignore", "-c", code, *arguments]
    return subprocess.run(command, env=environment, check=True, **settings)


def test_a_pipe_gets_nothing_of_a_bar():
    """In a log a bar would be thousands of characters that mean nothing."""
    tests = str(Path(__file__).parents[1])
    done = python(FIT, tests, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_terminal_gets_the_bar():
    """Else a fit that takes minutes would look as if it hung."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    python(BAR, stderr=theirs)
    os.close(theirs)
    assert b"ADVI: 100%" in os.read(ours, 65536)
    os.close(ours)


class Watched(io.StringIO):
    def isatty(self):
        return True


def test_a_notebook_is_watched_though_it_is_no_terminal(monkeypatch):
    """Else a fit in a notebook would look as if it hung."""
    iostream = pytest.importorskip("ipykernel.iostream")
    kernels = type("OutStream", (io.StringIO,), {"__module__": iostream.OutStream.__module__})
    monkeypatch.setattr(sys, "stderr", kernels())
    assert not sys.stderr.isatty()
    assert bars.watched()


def test_who_does_not_ask_gets_no_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Watched())
    with bars.progress(total=3, shown=False, unit="step", desc="ADVI") as bar:
        bar.update(3)
    assert sys.stderr.getvalue() == ""


@pytest.mark.parametrize("stream", [None, io.StringIO()], ids=["none", "closed"])
def test_a_program_without_standard_error_goes_on(monkeypatch, stream):
    """A service started without a console would end with an error about its missing stream."""
    if stream is not None:
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    assert not bars.watched()
