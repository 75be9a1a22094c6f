"""A fit that was interrupted, wherever, ends as one that was not; of another fit it is no part."""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from fits import TUTORIAL, assert_same_tree, towns

from radon_numpyro import GroupedData, GroupStatistics, Priors, diagnose, fit, resume
from radon_numpyro.inference.nuts import blocks
from radon_numpyro.inference.runs import checkpoint
from radon_numpyro.inference.runs import run_control as bars
from radon_numpyro.inference.runs.run_control import Run

slow = partial(pytest.param, marks=pytest.mark.slow)
# Two windows of ADVI, two blocks of warm-up and three of draws. An acceptance that is given gets
# one run of the chains; a second one that goes on is in test_second_run.py.
STEPS = 7
SETTINGS = {
    "priors": TUTORIAL,
    "target_accept_prob": 0.8,
    "draws": 50,
    "chains": 2,
    "num_warmup": 40,
    "num_advi_steps": 1000,
    "progress_bar": False,
}


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch):
    """Twenty iterations a block, whatever the time they take, and every step is written."""
    monkeypatch.setattr(blocks, "BLOCK", 20)
    monkeypatch.setattr(blocks, "PATIENCE", float("inf"))
    monkeypatch.setattr(checkpoint, "INTERVAL", 0.0)
    monkeypatch.setattr(checkpoint, "SHARE", float("inf"))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run.checkpoint"


UNINTERRUPTED = {}
STEP = Run.step


def uninterrupted(model="hierarchical", data=None, **settings):
    key = (model, repr(data), *sorted(settings.items()))
    if key not in UNINTERRUPTED:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Run, "step", STEP)
            UNINTERRUPTED[key] = fit(
                towns() if data is None else data, model=model, **SETTINGS | settings
            )
    return UNINTERRUPTED[key]


CASES = [
    ("hierarchical", {}),
    slow("hierarchical", {"method": "noncentered"}),
    slow("hierarchical", {"method": "centered", "chain_method": "vectorized"}),
    slow("hierarchical", {"coefficients": "summary", "dtype": "float32"}),
    slow("pooled", {"method": "centered"}),
]


@pytest.mark.parametrize(("model", "settings"), CASES)
def test_interrupted_at_every_step_and_resumed_is_the_same_fit(folder, end_after, model, settings):
    """In one go through all steps: each process does a single step, and the last returns."""
    expected = uninterrupted(model, **settings)
    message = re.escape(f"interrupted before the first draw; resume({str(folder)!r}) continues it")
    end_after(1)
    with pytest.raises(KeyboardInterrupt, match=message):
        fit(towns(), model=model, checkpoint=folder, **SETTINGS | settings)
    for _ in range(3):
        end_after(1)
        with pytest.raises(KeyboardInterrupt, match=message):
            resume(folder, progress_bar=False)
    for draws in (20, 40, 50):
        end_after(1)
        tree = resume(folder, progress_bar=False)
        assert tree["posterior"].sizes["draw"] == draws
        assert tree.attrs["complete"] == (draws == 50)
        assert tree.attrs["resumed"] == 1
    assert_same_tree(tree, expected)
    assert expected.attrs["resumed"] == 0
    # And once more, with nothing left to compute.
    end_after(0)
    assert_same_tree(resume(folder, progress_bar=False), expected)


@pytest.mark.parametrize("moment", range(1, STEPS))
def test_interrupted_once_and_called_again(folder, end_after, moment):
    end_after(moment)
    try:
        interrupted = fit(towns(), checkpoint=folder, **SETTINGS)
    except KeyboardInterrupt:
        assert moment <= 4
    else:
        assert interrupted.attrs["stopped_by"] == "interrupted"
        draws = interrupted["posterior"].sizes["draw"]
        expected = uninterrupted()["posterior"]["sigma_alpha"][:, :draws]
        np.testing.assert_array_equal(interrupted["posterior"]["sigma_alpha"], expected)
        found = [finding.what for finding in diagnose(interrupted).findings]
        assert f"The run is incomplete: it was interrupted after {draws} draws a chain." in found
    end_after(STEPS - moment)
    assert_same_tree(fit(towns(), checkpoint=folder, **SETTINGS), uninterrupted())


def test_a_checkpoint_changes_nothing(folder):
    assert_same_tree(fit(towns(), checkpoint=folder, **SETTINGS), uninterrupted())


@pytest.mark.parametrize("length", [1, 7, 20])
def test_blocks_of_another_length_go_on(folder, end_after, length, monkeypatch):
    end_after(5)
    fit(towns(), checkpoint=folder, **SETTINGS)
    end_after(1000)
    monkeypatch.setattr(blocks.Pace, "__init__", lambda self, *_: setattr(self, "length", length))
    monkeypatch.setattr(blocks.Pace, "took", lambda *_: None)
    assert_same_tree(resume(folder, progress_bar=False), uninterrupted())


def test_the_bar_shows_what_was_done_before(folder, end_after, capsys, monkeypatch):
    monkeypatch.setattr(bars, "watched", lambda: True)
    end_after(5)
    fit(towns(), checkpoint=folder, **SETTINGS)
    assert capsys.readouterr().err == ""
    end_after(2)
    assert_same_tree(resume(folder), uninterrupted())
    assert "90/90" in capsys.readouterr().err


@pytest.mark.parametrize("model", ["individual", "pooled"])
def test_exact_draws_are_drawn_again(folder, end_after, model):
    end_after(1)
    with pytest.raises(KeyboardInterrupt, match="continues it"):
        fit(towns(), model=model, checkpoint=folder, **SETTINGS)
    end_after(1)
    assert_same_tree(resume(folder, progress_bar=False), uninterrupted(model))


def test_statistics_go_on(folder, end_after):
    statistics = GroupStatistics.from_data(towns())
    end_after(5)
    fit(statistics, checkpoint=folder, **SETTINGS)
    end_after(2)
    tree = resume(folder, progress_bar=False)
    assert "observed_data" not in tree.children
    assert_same_tree(tree, uninterrupted(data=statistics))


@pytest.mark.slow
def test_correlated_coefficients_go_on(folder, end_after):
    labels = towns().labels
    design = replace(labels.design, correlated=(labels.design.varying,))
    data = replace(towns(), labels=replace(labels, design=design))
    expected = uninterrupted(data=data)
    assert expected["posterior"]["correlation"].std() > 0.1
    for moment in (2, 3):
        end_after(moment)
        try:
            tree = fit(data, checkpoint=folder, **SETTINGS)
        except KeyboardInterrupt:
            assert moment == 2
    assert tree["posterior"].sizes["draw"] == 20
    end_after(2)
    assert_same_tree(resume(folder, progress_bar=False), expected)


@pytest.mark.slow
def test_without_predictors_and_without_steps_of_advi(folder, end_after):
    settings = SETTINGS | {"num_advi_steps": 0}
    expected = fit(towns(0), **settings)
    end_after(3)
    fit(towns(0), checkpoint=folder, **settings)
    end_after(2)
    assert_same_tree(resume(folder, progress_bar=False), expected)


LABELS = {
    "dates": [date(2024, 5, day) for day in (3, 1, 2)],
    "times": list(pd.date_range("2024-01-30", periods=3)),
    "tuples": [("a", 1), ("a", 2), ("b", 1)],
    "floats": [1.5, -0.0, 2.0],
    "integers": [30, 10, 20],
    "flags": [True, False, "True "],
    "text": ["São", "", "../c"],
    "mixed": [1, "1", None],
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_any_type_stand_in_the_result_as_without_a_checkpoint(folder, end_after, kind):
    labels = LABELS[kind]
    group = pd.Categorical.from_codes(towns().group % 3, range(3))
    data = GroupedData.from_arrays(towns().y, towns().x, group)
    # None is a gap in a column of a frame, and a label like others once the data are made.
    data = GroupedData(
        data.y, data.x, data.group, data.labels.__class__("y", ("x1",), "g", tuple(labels))
    )
    settings = SETTINGS | {"num_advi_steps": 0}
    expected = fit(data, **settings)
    end_after(3)
    fit(data, checkpoint=folder, **settings)
    end_after(2)
    assert_same_tree(resume(folder, progress_bar=False), expected)
    # The data themselves are known again.
    assert_same_tree(fit(data, checkpoint=folder, **settings), expected)


# How far


def test_a_fit_that_has_ended_is_extended(folder):
    fit(towns(), checkpoint=folder, **SETTINGS)
    assert_same_tree(resume(folder, draws=90, progress_bar=False), uninterrupted(draws=90))
    # Also by the call that began it, and fewer draws are the first of them.
    again = fit(towns(), checkpoint=folder, **SETTINGS | {"draws": 30})
    assert_same_tree(again, uninterrupted(draws=30))
    assert_same_tree(resume(folder, draws=90, progress_bar=False), uninterrupted(draws=90))


def test_the_clock_ends_a_fit_and_a_later_one_goes_on(folder, end_after):
    end_after(6, TimeoutError("time is up"))
    tree = fit(towns(), checkpoint=folder, **SETTINGS)
    assert tree.attrs["stopped_by"] == "max_seconds"
    assert tree.attrs["complete"] == 0
    assert tree["posterior"].sizes["draw"] == 40
    found = [finding.what for finding in diagnose(tree).findings]
    assert "The run is incomplete: it ran out of time after 40 draws a chain." in found
    end_after(1)
    assert_same_tree(resume(folder, progress_bar=False), uninterrupted())


def test_no_time_for_a_draw(folder):
    message = (
        r"within max_seconds=1e-09; got none yet\. Allow more: programs of ADVI and NUTS are traced"
    )
    with pytest.raises(TimeoutError, match=message):
        fit(towns(), max_seconds=1e-9, **SETTINGS)
    with pytest.raises(
        TimeoutError, match=message + rf".*; resume\({str(folder)!r}\) continues it"
    ):
        fit(towns(), max_seconds=1e-9, checkpoint=folder, **SETTINGS)
    # The time is part of what the fit was asked for, and is counted anew.
    with pytest.raises(TimeoutError, match=message):
        resume(folder, progress_bar=False)
    tree = resume(folder, max_seconds=float("inf"), progress_bar=False)
    tree.attrs["call"] = tree.attrs["call"].replace("max_seconds=inf", "max_seconds=None")
    assert_same_tree(tree, uninterrupted())


def test_enough_effective_draws_end_a_fit(folder, end_after):
    # With 40 iterations of warm-up, few seeds need more than 2000 draws; 0 is one of them.
    settings = {"draws": 2000, "target_ess": 100.0, "seed": 1}
    expected = uninterrupted(**settings)
    draws = expected["posterior"].sizes["draw"]
    assert expected.attrs["stopped_by"] == "target_ess reached"
    assert expected.attrs["complete"] == 1
    assert 100 < draws < 2000
    assert draws % 100 == 0
    assert not [f for f in diagnose(expected).findings if "incomplete" in f.what]
    # Where blocks or processes begin and end bears on the draws, and on their number, in no way.
    end_after(30)
    fit(towns(), checkpoint=folder, **SETTINGS | settings)
    end_after(1000)
    assert_same_tree(resume(folder, progress_bar=False), expected)
    more = resume(folder, target_ess=float("inf"), draws=draws + 130, progress_bar=False)
    assert more.attrs["stopped_by"] == "all draws taken"
    assert more["posterior"].sizes["draw"] == draws + 130


def test_a_target_set_later_counts_every_draw_kept(folder, monkeypatch):
    """Kept blocks that end between the looks are taken whole: none of their draws is lost."""
    monkeypatch.setattr(blocks, "BLOCK", 130)
    settings = {"draws": 2000, "target_ess": 300.0}
    expected = uninterrupted(**settings)
    begun = fit(towns(), checkpoint=folder, **SETTINGS | {"draws": 390})
    assert begun["posterior"].sizes["draw"] == 390
    resumed = resume(folder, **settings, progress_bar=False)
    assert resumed.attrs["resumed"] == 1
    for group in ("posterior", "sample_stats"):
        xr.testing.assert_equal(resumed[group].to_dataset(), expected[group].to_dataset())


# Signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_what_is_drawn(number, monkeypatch, folder):
    """A real one, in the midst of a block."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {n: signal.signal(n, handler) for n, handler in usual.items()}
    advance, count = blocks.advance, 0

    def interrupted(*args, **kwargs):
        nonlocal count
        count += 1
        if count == 4:
            os.kill(os.getpid(), number)
        return advance(*args, **kwargs)

    try:
        with monkeypatch.context() as patch:
            patch.setattr(blocks, "advance", interrupted)
            tree = fit(towns(), checkpoint=folder, **SETTINGS)
        assert {n: signal.getsignal(n) for n in usual} == usual
    except KeyboardInterrupt:
        pytest.fail("the interrupt was not caught")
    finally:
        for n, handler in before.items():
            signal.signal(n, handler)
    # The block that it came in is kept.
    assert tree["posterior"].sizes["draw"] == 40
    assert tree.attrs["stopped_by"] == "interrupted"
    assert_same_tree(resume(folder, progress_bar=False), uninterrupted())


# Refused


@pytest.fixture
def kept(folder, end_after):
    end_after(1)
    with pytest.raises(KeyboardInterrupt, match="resume"):
        fit(towns(), checkpoint=folder, **SETTINGS)
    end_after(0)
    return folder


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 2}, "of seed 0; got seed 2. Give the arg"),
        (
            {"num_warmup": 60, "chains": 3},
            "of chains 2, num_warmup 40; got chains 3, num_warmup 60",
        ),
        ({"method": "centered"}, "of method marginal; got method centered"),
        ({"dtype": "float32"}, "of dtype float64; got dtype float32"),
        ({"model": "pooled"}, "of model hierarchical; got model pooled"),
        ({"num_advi_steps": 2000}, "of num_advi_steps 1000; got num_advi_steps 2000"),
        ({"priors": Priors.weakly_informative(towns())}, "of priors {"),
        ({"data": towns(2)}, "of data with fingerprint "),
        ({"data": GroupStatistics.from_data(towns())}, ", data kept as rows; got data with finger"),
    ],
)
def test_another_fit_is_refused_and_the_difference_named(kept, change, message):
    before = files(kept)
    with pytest.raises(ValueError, match=re.escape(message)) as refused:
        fit(**{"data": towns(), "checkpoint": kept} | SETTINGS | change)
    assert str(refused.value).startswith(f"Expected to continue the fit in {kept}, of ")
    assert files(kept) == before
    # It is let go.
    with pytest.raises(KeyboardInterrupt, match="resume"):
        resume(kept, progress_bar=False)


def test_other_versions_and_devices_are_refused(kept, monkeypatch):
    module = sys.modules["radon_numpyro.inference.runs.fit_identity"]
    versions = module.package_versions()
    with monkeypatch.context() as patch:
        patch.setattr(module, "package_versions", lambda: versions | {"jax": "99.1"})
        message = f"of jax {versions['jax']}; got jax 99.1"
        for go_on in (
            lambda: resume(kept, progress_bar=False),
            lambda: fit(towns(), checkpoint=kept, **SETTINGS),
        ):
            with pytest.raises(ValueError, match=re.escape(message)):
                go_on()
    monkeypatch.setattr(module.platform, "machine", lambda: "abacus")
    with pytest.raises(ValueError, match=r"of device .*; got device .* \(abacus\)"):
        resume(kept, progress_bar=False)


def of_an_earlier_version(folder, **settings):
    """As if it had been begun when there were these settings too."""
    with checkpoint.Checkpoint.open(folder) as kept:
        kept.header["settings"] |= settings
        kept._write_manifest(kept._parts)


def test_a_setting_that_there_is_no_more_and_every_fit_has_goes_on(kept, end_after):
    of_an_earlier_version(kept, num_devices=1)
    end_after(1)
    with pytest.raises(KeyboardInterrupt, match="resume"):
        fit(towns(), checkpoint=kept, **SETTINGS)
    of_an_earlier_version(kept, num_devices=1)
    end_after(STEPS)
    assert_same_tree(resume(kept, progress_bar=False), uninterrupted())


def test_a_setting_that_no_fit_has_any_more_is_refused(kept):
    of_an_earlier_version(kept, num_devices=2)
    message = f"the fit in {kept}, of num_devices 2; got no num_devices. Give the"
    for go_on in (
        lambda: resume(kept, progress_bar=False),
        lambda: fit(towns(), checkpoint=kept, **SETTINGS),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            go_on()


@pytest.mark.parametrize(
    ("how_far", "message"),
    [
        ({"draws": 3}, "Expected draws to be an integer of at least 4; got 3"),
        ({"target_ess": 0}, "Expected target_ess to be positive; got 0"),
        ({"max_seconds": float("nan")}, "Expected max_seconds to be positive; got nan"),
    ],
)
def test_arguments_out_of_range(kept, how_far, message):
    with pytest.raises(ValueError, match=message):
        resume(kept, **how_far)


def test_wrong_arguments_begin_no_checkpoint(folder):
    for wrong in ({"draws": 1}, {"num_advi_steps": 3}, {"dtype": "int8"}, {"seed": 1.5}):
        with pytest.raises(ValueError, match="Expected"):
            fit(towns(), checkpoint=folder, **SETTINGS | wrong)
    assert not folder.exists()


def test_a_place_that_cannot_be_written_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr("radon_numpyro.inference.advi.windows.begin", None)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(NotADirectoryError, match="to be in a folder"):
        fit(towns(), checkpoint=tmp_path / "file" / "run", **SETTINGS)


def test_a_folder_that_is_no_checkpoint(tmp_path):
    with pytest.raises(ValueError, match=r"Expected .*nowhere to be a checkpoint of fit; got no"):
        resume(tmp_path / "nowhere")


# A full disk


def test_a_full_disk_loses_no_draws(folder, monkeypatch):
    """Room for the beginning, and never again: the fit ends in memory, and says so."""
    write, room = checkpoint.write_arrays, 8

    def full(path, arrays):
        nonlocal room
        room -= 1
        if room < 0:
            raise OSError(28, "No space left on device", str(path))
        return write(path, arrays)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_arrays", full)
        with pytest.warns(RuntimeWarning, match=r"write the checkpoint .*No space left on device"):
            tree = fit(towns(), checkpoint=folder, **SETTINGS)
    assert "No space left on device" in tree.attrs.pop("checkpoint_failure")
    assert tree.attrs["complete"] == 1
    assert_same_tree(tree, uninterrupted())
    # What had been written before is whole, and goes on.
    assert json.loads((folder / "manifest.json").read_text())["parts"]["nuts"]["steps"] == 1
    assert_same_tree(resume(folder, progress_bar=False), uninterrupted())


# Devices

BEGUN_ON_OTHER_DEVICES = """
import sys
sys.path[:0] = [sys.argv[1], f"{sys.argv[1]}/inference"]
import jax
from fits import towns
from radon_numpyro import fit
from radon_numpyro.inference.nuts import blocks
from radon_numpyro.inference.runs.run_control import Run
from test_resume import SETTINGS, STEP

import warnings
from radon_numpyro.data.findings import DataWarning
warnings.simplefilter("ignore", DataWarning)

computed = 0
def step(*args):
    global computed
    if computed == 3:
        raise KeyboardInterrupt
    computed += 1
    return STEP(*args)

Run.step, blocks.BLOCK = step, 20
tree = fit(towns(), checkpoint=sys.argv[2], **SETTINGS | {"chains": 4, "num_advi_steps": 0})
print(jax.local_device_count(), tree["posterior"].sizes["draw"])
"""


@pytest.mark.slow
def test_begun_on_other_devices_and_resumed_here(folder):
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "4", "JAX_PLATFORMS": "cpu"}
    arguments = [BEGUN_ON_OTHER_DEVICES, str(Path(__file__).parents[1]), str(folder)]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "4 20\n"), done.stderr
    tree = resume(folder, progress_bar=False)
    assert tree.attrs["device"] == "1 x cpu (cpu)"
    assert_same_tree(tree, uninterrupted(chains=4, num_advi_steps=0))


def test_the_setting_of_the_caller_is_left_alone(kept, end_after):
    end_after(1000)
    resume(kept, progress_bar=False)
    assert not jax.config.jax_enable_x64
