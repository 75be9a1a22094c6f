"""Whatever happens to a run, its folder holds what was, and what was not is refused."""

import errno
import hashlib
import json
import shutil
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from radon_numpyro.inference.runs import array_files as arrays
from radon_numpyro.inference.runs import checkpoint
from radon_numpyro.inference.runs.checkpoint import Checkpoint, exists
from radon_numpyro.inference.runs.run_control import Run

HEADER = {"settings": {"seed": 3}, "comment": "São"}
DATA = {"x": np.array([1.5, -0.0, np.nan]), "groups": np.array(["a", "São"])}
STEPS = 5


class Killed(BaseException):
    """The process is gone: nothing after it runs."""


def begin():
    """A state with all that a sampler's has: typed keys, flags, counters, nested, one absent."""
    return {
        "key": jax.random.split(jax.random.key(7), 2),
        "z": (jnp.zeros(3), jnp.ones((), jnp.float32)),
        "count": jnp.zeros((), jnp.int32),
        "flag": jnp.asarray(True),
        "absent": None,
    }


def advance(state):
    keys = jax.vmap(jax.random.split)(state["key"])
    z = state["z"][0] + jax.random.normal(keys[0, 1], (3,))
    new = {
        "key": keys[:, 0],
        "z": (z, state["z"][1] / 3),
        "count": state["count"] + 1,
        "flag": ~state["flag"],
        "absent": None,
    }
    return new, {"z": np.asarray(z), "long": np.full((2, int(new["count"])), int(new["count"]))}


def go(kept, num_steps=STEPS, part="walk"):
    """A run as the samplers make it."""
    run = Run()
    run.checkpoint = kept
    state, records = begin(), []
    for _ in range(num_steps):
        state, record = run.step(part, state, advance)
        records.append(record)
    return state, records


def assert_same(a, b):
    (state, records), (other, others) = a, b
    for x, y in zip(jax.tree.leaves(state), jax.tree.leaves(other), strict=True):
        assert (x.dtype, x.aval.weak_type) == (y.dtype, y.aval.weak_type)
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        np.testing.assert_array_equal(x, y)
    assert len(records) == len(others)
    for x, y in zip(records, others, strict=True):
        assert x.keys() == y.keys()
        for name in x:
            np.testing.assert_array_equal(x[name], y[name])
            assert x[name].dtype == y[name].dtype


@pytest.fixture
def every_step(monkeypatch):
    """Written after every step."""
    monkeypatch.setattr(checkpoint, "INTERVAL", 0.0)
    monkeypatch.setattr(checkpoint, "SHARE", float("inf"))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "made" / "run"


def create(folder):
    return Checkpoint.create(folder, HEADER, DATA)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# What is kept comes back


@pytest.mark.parametrize("first", range(STEPS + 1))
def test_a_run_goes_on_as_if_it_had_never_ended(folder, first):
    with create(folder) as kept:
        go(kept, first)
    with Checkpoint.open(folder) as kept:
        assert kept.header == HEADER
        assert kept.failure == ""
        assert_same(go(kept), go(None))


def test_the_state_that_comes_back_is_the_latest_one(folder):
    with create(folder) as kept:
        state, _ = go(kept)
    with Checkpoint.open(folder) as kept:
        restored, record = kept.replay("walk", begin())
    assert_same((restored, []), (state, []))
    np.testing.assert_array_equal(record["z"], go(None)[1][0]["z"])


def test_what_is_kept_is_not_computed_again(folder):
    with create(folder) as kept:
        go(kept)
    run = Run()
    with Checkpoint.open(folder) as run.checkpoint:
        for _ in range(STEPS):
            run.step("walk", begin(), None)
        assert run.resumed
        with pytest.raises(TypeError, match="not callable"):
            run.step("walk", begin(), None)


def test_the_data_come_back_bit_for_bit(folder):
    with create(folder):
        pass
    with Checkpoint.open(folder) as kept:
        header, data = kept.read(lambda header, data: (header, data))
    assert header == HEADER
    assert data.keys() == DATA.keys()
    for name, values in DATA.items():
        assert data[name].tobytes() == values.tobytes()


def test_parts_are_apart(folder):
    with create(folder) as kept:
        go(kept, 2, "first")
        go(kept, 3, "second")
    with Checkpoint.open(folder) as kept:
        assert_same(go(kept, 3, "second"), go(None, 3))
        assert_same(go(kept, 4, "first"), go(None, 4))


def test_steps_are_added_and_nothing_is_written_twice(folder, every_step):
    with create(folder) as kept:
        go(kept, 2)
        before = {name: (folder / name).stat().st_mtime_ns for name in names(folder)}
        run = Run()
        run.checkpoint = kept
        run.step("walk", go(None, 2)[0], advance)
    assert names(folder) == [
        "data.npz",
        "manifest.json",
        "walk-000000-000001.npz",
        "walk-000001-000002.npz",
        "walk-000002-000003.npz",
        "walk-state-000003.npz",
    ]
    for name in ("data.npz", "walk-000000-000001.npz", "walk-000001-000002.npz"):
        assert (folder / name).stat().st_mtime_ns == before[name]


def test_the_manifest_is_json_and_the_arrays_are_numpy_s_without_pickles(folder, every_step):
    with create(folder) as kept:
        go(kept)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["header"] == HEADER
    assert manifest["parts"]["walk"]["steps"] == STEPS
    for path in folder.glob("*.npz"):
        with np.load(path, allow_pickle=False) as loaded:
            assert all(loaded[name].dtype != object for name in loaded)


# When it is written


def test_writing_takes_a_twentieth_of_the_time_at_the_most(folder, monkeypatch):
    now = 0.0
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now)
    with create(folder) as kept:
        run = Run()
        run.checkpoint = kept
        write, at = kept._extended, []

        def slow(*args):
            nonlocal now
            at.append(now)
            now += 2.0
            return write(*args)

        monkeypatch.setattr(kept, "_extended", slow)
        state = begin()
        for _ in range(60):
            now += 1.0
            state, _ = run.step("walk", state, advance)
        # After 5 seconds, then after 2 / 0.05 more.
        assert at == [5.0, 47.0]
    assert len(at) == 3
    with Checkpoint.open(folder) as kept:
        assert_same(go(kept, 61), go(None, 61))


# Killed


def killed_run(folder, moment):
    """Run until the process is killed at the given moment of the given file; True if it was."""
    count = 0

    def write_or_die(path, write):
        nonlocal count
        aside = path.with_name(f".{path.stem}.123{path.suffix}")
        for step in ("nothing", "half", "aside", "whole"):
            if step == "half":
                write(aside)
                content = aside.read_bytes()
                aside.write_bytes(content[: len(content) // 2])
            elif step == "aside":
                aside.write_bytes(content)
            elif step == "whole":
                aside.replace(path)
            count += 1
            if count == moment:
                raise Killed
        return path

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "write_whole", write_or_die)
        patch.setattr(checkpoint, "write_whole", write_or_die)
        # A killed process writes nothing on its way out.
        patch.setattr(Checkpoint, "close", lambda self: self._unlock())
        try:
            with create(folder) as kept:
                go(kept, 2)
                go(kept, 3, "other")
        except Killed:
            return True
    return False


def test_a_kill_at_any_moment_leaves_a_run_that_was(folder, every_step):
    """Before, within and after the writing of each file, one moment after the other."""
    moment, unbegun = 0, 0
    while killed_run(folder, moment := moment + 1):
        if not exists(folder):
            # Killed before there was anything to go on with: begun again in the same folder.
            with pytest.raises(
                ValueError, match=r"to be a checkpoint of fit; got a folder without"
            ):
                Checkpoint.open(folder)
            unbegun += 1
            kept = create(folder)
        else:
            kept = Checkpoint.open(folder)
        with kept:
            assert not [name for name in names(folder) if name.startswith(".")]
            assert_same(go(kept, 2), go(None, 2))
            assert_same(go(kept, 3, "other"), go(None, 3))
        with Checkpoint.open(folder) as kept:
            assert_same(go(kept, 3, "other"), go(None, 3))
        shutil.rmtree(folder)
    # Four moments each of data and manifest, and of three files of each of five steps.
    assert moment == 4 * 2 + 4 * 3 * 5 + 1
    assert unbegun == 4 + 3


# A full disk


def full(monkeypatch, writes):
    """Every write but the first ``writes`` fails until the disk has room again."""
    room = {"left": writes}
    original = arrays.write_whole

    def write(path, write):
        if room["left"] <= 0:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        room["left"] -= 1
        return original(path, write)

    monkeypatch.setattr(arrays, "write_whole", write)
    monkeypatch.setattr(checkpoint, "write_whole", write)
    return room


@pytest.mark.parametrize("writes", range(2, 9))
def test_a_full_disk_is_one_warning_and_loses_nothing(folder, every_step, monkeypatch, writes):
    room = full(monkeypatch, writes)
    kept = create(folder)
    with pytest.warns(RuntimeWarning, match="No space left on device") as warned:
        assert_same(go(kept), go(None))
    assert "No space left" in kept.failure
    # Once is enough, also on leaving.
    kept.close()
    assert len(warned) == 1
    assert str(folder) in str(warned[0].message)
    room["left"] = 1000
    with Checkpoint.open(folder) as kept:
        assert len(list(kept._kept.get("walk", ()))) == (writes - 2) // 3
    with Checkpoint.open(folder) as kept:
        assert_same(go(kept), go(None))


def test_what_could_not_be_written_is_written_when_there_is_room(folder, every_step, monkeypatch):
    room = full(monkeypatch, 4)
    with create(folder) as kept:
        with pytest.warns(RuntimeWarning, match="The run continues"):
            go(kept)
        room["left"] = 1000
        kept.write()
        assert kept.failure == ""
    run = Run()
    with Checkpoint.open(folder) as run.checkpoint:
        for expected in go(None)[1]:
            _, record = run.step("walk", begin(), None)
            np.testing.assert_array_equal(record["z"], expected["z"])


def test_a_disk_that_is_full_from_the_start_is_an_error(folder, monkeypatch):
    full(monkeypatch, 1)
    with pytest.raises(OSError, match="No space left"):
        create(folder)
    assert not exists(folder)
    # The lock is not held on to.
    monkeypatch.undo()
    create(folder).close()


# What is refused


@pytest.fixture
def whole(folder, every_step):
    with create(folder) as kept:
        go(kept)
    return folder


def read_all(folder):
    with Checkpoint.open(folder) as kept:
        kept.read(lambda header, data: None)
        go(kept)


FILES = ["data.npz", "manifest.json", "walk-000001-000002.npz", "walk-state-000005.npz"]


@pytest.mark.parametrize("name", FILES)
def test_every_change_of_a_byte_is_noticed(whole, name):
    content = (whole / name).read_bytes()
    rng = np.random.default_rng(0)
    for position in rng.choice(len(content), size=25, replace=False):
        changed = bytearray(content)
        changed[position] ^= 1 << rng.integers(7)
        (whole / name).write_bytes(bytes(changed))
        if name == "manifest.json" and changed.split() == content.split():
            continue
        with pytest.raises(ValueError, match=r"Expected .* an undamaged checkpoint; got"):
            read_all(whole)
    (whole / name).write_bytes(content)
    read_all(whole)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("left", [0, 0.5, 0.99])
def test_a_truncated_file_is_refused(whole, name, left):
    content = (whole / name).read_bytes()
    (whole / name).write_bytes(content[: int(left * len(content))])
    with pytest.raises(ValueError, match=r"an undamaged checkpoint; got .*remove it and fit again"):
        read_all(whole)


@pytest.mark.parametrize("name", sorted(set(FILES) - {"manifest.json"}))
def test_a_missing_file_is_refused(whole, name):
    (whole / name).unlink()
    with pytest.raises(ValueError, match=f"an undamaged checkpoint; got no {name}"):
        read_all(whole)


def test_a_folder_that_is_something_else(tmp_path):
    with pytest.raises(ValueError, match=r"none to be a checkpoint of fit; got no folder"):
        Checkpoint.open(tmp_path / "none")
    with pytest.raises(ValueError, match=r"got a folder without manifest\.json"):
        Checkpoint.open(tmp_path)
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match=r"or an empty folder; got one with 'thesis\.tex'"):
        create(tmp_path)
    assert names(tmp_path) == ["thesis.tex"]
    with pytest.raises(NotADirectoryError, match="got the file"):
        create(tmp_path / "thesis.tex" / "run")


def rewrite(folder, change):
    """A manifest as someone who means harm would write it."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest.pop("sha256")
    change(manifest)
    manifest["sha256"] = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.update(format="zarr"),
        lambda m: m.pop("parts"),
        lambda m: m["data"].update(file="../outside.npz"),
        lambda m: m["data"].update(file="/etc/passwd"),
        lambda m: m["parts"]["walk"]["records"][0].update(file="sub/walk-000000-000001.npz"),
        lambda m: m["parts"]["walk"].pop("state"),
        lambda m: m["parts"].update(walk=[]),
        lambda m: m.update(header=3),
    ],
)
def test_a_manifest_of_another_kind(whole, change):
    rewrite(whole, change)
    with pytest.raises(ValueError, match=r"an undamaged checkpoint; got manifest\.json with"):
        Checkpoint.open(whole)
    # It is let go.
    with pytest.raises(ValueError, match=r"manifest\.json with"):
        Checkpoint.open(whole)


@pytest.mark.parametrize("text", ["", "[]", "null", '{"format": 1}', "\x00\xff", "{" * 10000])
def test_a_manifest_that_is_none(whole, text):
    (whole / "manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"an undamaged checkpoint; got manifest\.json with"):
        Checkpoint.open(whole)


def test_pickled_objects_are_not_loaded(whole):
    path = whole / "data.npz"
    np.savez(path, x=np.array([print], dtype=object))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    rewrite(whole, lambda m: m["data"].update(sha256=digest))
    with pytest.raises(ValueError, match=r"an undamaged checkpoint; got .*allow_pickle=False"):
        read_all(whole)
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        Checkpoint.create(whole.parent / "objects", {}, {"x": np.array([print], dtype=object)})


def test_a_state_of_another_run(whole):
    with Checkpoint.open(whole) as kept:
        other = begin() | {"z": (jnp.zeros(4), jnp.ones((), jnp.float32))}
        with pytest.raises(ValueError, match="got a state of other shapes or types"):
            kept.replay("walk", other)


def test_a_folder_in_use(whole):
    with (
        Checkpoint.open(whole),
        pytest.raises(ValueError, match=r"to be free; got a checkpoint that a running fit has"),
    ):
        Checkpoint.open(whole)
    read_all(whole)


def test_the_note_of_the_caller_and_files_of_others_are_left_alone(folder, every_step):
    folder.mkdir(parents=True)
    (folder / "command.json").write_text("{}")
    with create(folder) as kept:
        (folder / "notes.txt").write_text("mine")
        go(kept, 2)
    read_all(folder)
    assert {"command.json", "notes.txt"} < set(names(folder))


def test_the_clock_ends_a_run_between_steps(monkeypatch):
    now = 100.0
    monkeypatch.setattr("radon_numpyro.inference.runs.run_control.time.monotonic", lambda: now)
    run = Run(max_seconds=5)
    step = partial(run.step, "walk", begin(), advance)
    step()
    now = 105.0
    step()
    now = 105.5
    with pytest.raises(TimeoutError, match=r"within max_seconds=5; got none yet\. Allow more"):
        step()
    run.allow(None)
    step()
