"""The scripts run for real, on made-up interpreters; the pins against what they promise to fit."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import typer
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from typer.testing import CliRunner

ROOT = Path(__file__).resolve().parents[2]
BASH = shutil.which("bash")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

# An interpreter that runs code as the real one does, but believes what it is told of itself. What
# modules it is asked to run it writes to a log: `venv` alone it acts out, so nothing is installed.
FAKE_PYTHON = """\
#!/bin/sh
case "$1" in
-c) exec {real} -c {prelude} "$0" "$2" ;;
-V) echo "Python {version}" ;;
-m) shift
    echo "$*" >>"$LOG"
    if [ "$1" = venv ]; then
        mkdir -p "$2/bin"
        cp "$0" "$2/bin/python"
        printf '#!/bin/sh\\nprintf "%%s\\\\n" "$0" "$@"\\n' >"$2/bin/radon-numpyro"
        chmod +x "$2/bin/radon-numpyro"
    fi
    case "$*" in *"${{FAIL:-nothing}}"*) exit 1 ;; esac ;;
*) echo "ran $*" ;;
esac
"""
PRELUDE = """
import sys
sys.executable, code = sys.argv[1:]
sys.executable = {executable!r} or sys.executable
sys.version_info = {version!r}
sys.modules.update(dict.fromkeys({missing!r}))
exec(code)
"""


def executable(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def fake_python(path, version="3.12.4", missing=(), reports=None):
    """Write an interpreter of a version, without some modules, that reports a path as its own."""
    numbers = (*map(int, version.split(".")), "final", 0)
    prelude = PRELUDE.format(executable=reports, version=numbers, missing=missing)
    real, prelude = shlex.quote(sys.executable), shlex.quote(prelude)
    return executable(path, FAKE_PYTHON.format(real=real, prelude=prelude, version=version))


def failing_python(path):
    """Write what a pyenv shim is where another version is the chosen one."""
    return executable(path, "#!/bin/sh\necho 'pyenv: command not found' >&2\nexit 127\n")


@pytest.fixture
def machine(tmp_path):
    """A machine of our making: its PATH is one folder, which so far has no Python in it."""
    tools = ["bash", "cat", "chmod", "cksum", "cp", "dirname", "env", "mkdir", "rm", "sort"]
    folder = tmp_path / "tools"
    folder.mkdir()
    for tool in tools:
        (folder / tool).symlink_to(shutil.which(tool))
    return tmp_path


def run(machine, *command, path=(), cwd=None, **environment):
    folders = [*path, machine / "bin", machine / "tools"]
    return subprocess.run(
        [str(part) for part in command],
        env={
            "PATH": os.pathsep.join(map(str, folders)),
            "HOME": str(machine),
            "LOG": str(machine / "log"),
            **{name: str(value) for name, value in environment.items()},
        },
        cwd=cwd or machine,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def find_python(machine, **options):
    script = 'source "$1"; find_python'
    return run(machine, BASH, "-c", script, "bash", ROOT / "scripts/_setup", **options)


def found(machine, **options):
    result = find_python(machine, **options)
    assert (result.returncode, result.stderr) == (0, "")
    return Path(result.stdout.removesuffix("\n"))


# The search for an interpreter


def test_the_real_interpreter_is_found(machine):
    (machine / "bin").mkdir()
    link = machine / "bin/python3.13"
    link.symlink_to(Path(sys.executable).resolve())
    assert found(machine) == link


def test_python3_comes_first(machine):
    python3 = fake_python(machine / "bin/python3")
    fake_python(machine / "bin/python3.14", "3.14.0")
    assert found(machine) == python3


@pytest.mark.parametrize(
    "unfit",
    [
        {"version": "3.11.9"},
        {"version": "3.15.0"},
        {"missing": ["ensurepip"]},
        {"missing": ["venv"]},
    ],
    ids=["too old", "newer than the pins", "no ensurepip", "no venv"],
)
def test_an_unfit_python3_is_passed_over(machine, unfit):
    fake_python(machine / "bin/python3", **unfit)
    fit = fake_python(machine / "bin/python3.13", "3.13.1")
    assert found(machine) == fit


def test_a_command_that_fails_is_passed_over(machine):
    failing_python(machine / "bin/python3")
    failing_python(machine / "bin/python3.14")
    fit = fake_python(machine / "bin/python3.12")
    assert found(machine) == fit


def test_a_failing_shim_does_not_hide_a_command_of_its_name(machine):
    failing_python(machine / "shims/python3.12")
    fit = fake_python(machine / "bin/python3.12")
    assert found(machine, path=[machine / "shims"]) == fit


def test_a_shim_is_seen_through(machine):
    fake_python(machine / "bin/python3", reports="/opt/versions/3.12.4/bin/python3")
    assert found(machine) == Path("/opt/versions/3.12.4/bin/python3")


@pytest.mark.parametrize("chosen", [True, False], ids=["PYENV_ROOT", "HOME"])
def test_the_newest_version_of_pyenv_is_found_without_its_shims(machine, chosen):
    pyenv = machine / ("a pyenv" if chosen else ".pyenv")
    for version in ["3.9.18", "3.12.9", "3.12.10"]:
        fake_python(pyenv / "versions" / version / "bin/python", version)
    expected = pyenv / "versions/3.12.10/bin/python"
    assert found(machine, **({"PYENV_ROOT": pyenv} if chosen else {})) == expected


def test_uv_is_asked_last_and_only_then_to_install(machine):
    managed = fake_python(machine / "managed/python3.12")
    executable(
        machine / "bin/uv",
        f"""#!/bin/sh
        echo "$1 $2" >>"$LOG"
        case "$2" in
        install) echo noise; : >"$HOME/done" ;;
        find) [ -e "$HOME/done" ] && echo {shlex.quote(str(managed))} ;;
        esac""",
    )
    assert found(machine) == managed
    asked = ["python find", "python install", "python find"]
    assert (machine / "log").read_text().splitlines() == asked
    assert found(machine) == managed
    assert (machine / "log").read_text().splitlines() == [*asked, "python find"]
    python3 = fake_python(machine / "bin/python3")
    assert found(machine) == python3
    assert (machine / "log").read_text().splitlines() == [*asked, "python find"]


@pytest.mark.parametrize("with_uv", [False, True])
def test_no_interpreter_is_one_line_that_says_what_to_install(machine, with_uv):
    fake_python(machine / "bin/python3", "3.11.9")
    if with_uv:
        executable(machine / "bin/uv", "#!/bin/sh\necho 'error: no network' >&2\nexit 2\n")
    result = find_python(machine)
    assert result.returncode != 0
    assert result.stdout == ""
    assert re.fullmatch(r"radon-numpyro: found no Python 3\.12.* install .*\n", result.stderr)


# The set-up


@pytest.fixture
def checkout(machine):
    """A checkout on that machine, which has a Python now. Its folder has a space in its name."""
    fake_python(machine / "bin/python3")
    checkout = machine / "a checkout"
    checkout.mkdir()
    shutil.copy(ROOT / "pyproject.toml", checkout)
    for folder in ["scripts", ".ci"]:
        shutil.copytree(ROOT / folder, checkout / folder)
    return checkout


def script(checkout, name, *arguments, **options):
    return run(checkout.parent, checkout / "scripts" / name, *arguments, **options)


def commands(checkout):
    """What the interpreters were asked to do since this was last asked."""
    log = checkout.parent / "log"
    lines = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return lines


PIP = "pip install -qq --constraint scripts/constraints.txt"
TOOLS = ["venv .venv", "pip --version", f"{PIP} pip hatchling editables setuptools"]
INSTALL = f"{PIP} --no-build-isolation --editable ."


def test_reproduce_installs_once(checkout):
    first = script(checkout, "reproduce")
    assert first.returncode == 0
    assert commands(checkout) == [*TOOLS, INSTALL]
    assert [line.split()[1] for line in first.stderr.splitlines()] == ["making", "installing"]
    second = script(checkout, "reproduce")
    assert (second.returncode, second.stderr) == (0, "")
    assert commands(checkout) == []


@pytest.mark.parametrize("name", ["pyproject.toml", "scripts/constraints.txt", "scripts/_setup"])
def test_a_change_of_what_decides_installs_again(checkout, name):
    script(checkout, "reproduce")
    commands(checkout)
    with (checkout / name).open("a") as file:
        file.write("# changed\n")
    script(checkout, "reproduce")
    assert commands(checkout)[-1] == INSTALL


def test_a_checkout_that_moved_installs_again(checkout):
    script(checkout, "reproduce")
    commands(checkout)
    moved = checkout.rename(checkout.with_name("moved"))
    assert script(moved, "reproduce").returncode == 0
    assert commands(moved)[-1] == INSTALL


def test_what_the_tests_need_serves_reproduce_but_not_the_reverse(checkout):
    script(checkout, "reproduce")
    commands(checkout)
    script(checkout, "test")
    assert f"{INSTALL} --group dev" in commands(checkout)
    script(checkout, "reproduce")
    assert commands(checkout) == []


def test_a_failed_install_fails_the_script_and_is_tried_again(checkout):
    failed = script(checkout, "reproduce", FAIL="--editable")
    assert (failed.returncode, failed.stdout) == (1, "")
    commands(checkout)
    assert script(checkout, "reproduce").returncode == 0
    assert commands(checkout)[-1] == INSTALL


def test_a_failed_repeat_does_not_pass_for_the_install_before_it(checkout):
    script(checkout, "reproduce")
    before = (checkout / "pyproject.toml").read_text()
    (checkout / "pyproject.toml").write_text(before + "# changed\n")
    assert script(checkout, "reproduce", FAIL="--editable").returncode == 1
    (checkout / "pyproject.toml").write_text(before)
    commands(checkout)
    script(checkout, "reproduce")
    assert commands(checkout)[-1] == INSTALL


def test_an_environment_without_pip_is_given_one(checkout):
    assert script(checkout, "reproduce", FAIL="pip --version").returncode == 0
    assert commands(checkout) == [*TOOLS[:2], "ensurepip", *TOOLS[2:], INSTALL]


def test_a_venv_that_cannot_be_made_leaves_none_behind(checkout):
    assert script(checkout, "reproduce", FAIL="venv").returncode == 1
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize("kind", ["too old", "empty", "broken"])
def test_an_unfit_venv_is_named_and_left_alone(checkout, kind):
    (checkout / ".venv").mkdir()
    (checkout / ".venv/mine").write_text("mine")
    if kind == "too old":
        fake_python(checkout / ".venv/bin/python", "3.11.9")
    if kind == "broken":
        failing_python(checkout / ".venv/bin/python")
    result = script(checkout, "reproduce")
    assert (result.returncode, result.stdout) == (1, "")
    assert re.fullmatch(r"radon-numpyro: \.venv holds no working .* delete it.*\n", result.stderr)
    assert (checkout / ".venv/mine").read_text() == "mine"
    assert commands(checkout) == []


# The peers of the benchmark

PEERS_PIP = "pip install -qq --constraint scripts/constraints-peers.txt"
PEERS = ["venv .venv-peers", "pip --version", f"{PEERS_PIP} pymc nutpie numpyro"]


def test_benchmark_installs_the_peers_apart_and_once(checkout):
    first = script(checkout, "benchmark", "--quick", cwd=checkout.parent)
    assert (first.returncode, first.stdout) == (0, "ran scripts/benchmark.py --quick\n")
    assert commands(checkout) == [*TOOLS, INSTALL, *PEERS]
    second = script(checkout, "benchmark")
    assert (second.returncode, second.stderr) == (0, "")
    assert commands(checkout) == []


def test_a_change_of_the_peers_installs_them_alone(checkout):
    script(checkout, "benchmark")
    commands(checkout)
    with (checkout / "scripts/constraints-peers.txt").open("a") as file:
        file.write("# changed\n")
    script(checkout, "benchmark")
    assert commands(checkout) == PEERS[1:]
    script(checkout, "reproduce")
    assert commands(checkout) == []


def test_a_failed_install_of_the_peers_fails_and_is_tried_again(checkout):
    failed = script(checkout, "benchmark", FAIL="nutpie")
    assert (failed.returncode, failed.stdout) == (1, "")
    commands(checkout)
    assert script(checkout, "benchmark").returncode == 0
    assert commands(checkout) == PEERS[1:]


@pytest.mark.parametrize("environment", [".venv", ".venv-peers"])
def test_git_knows_neither_environment(environment):
    assert f"/{environment}" in (ROOT / ".gitignore").read_text().splitlines()


# The scripts


@pytest.mark.parametrize("at_root", [True, False])
def test_reproduce_writes_to_figures_unless_told_otherwise(checkout, at_root):
    cwd = checkout if at_root else checkout.parent
    result = script(checkout, "reproduce", "--out", "my figures", cwd=cwd)
    # Relative at the root, so that no results name a folder of this machine.
    ours = "figures" if at_root else str(checkout / "figures")
    # The caller's own comes last, where it wins, as it was given.
    command = [str(checkout / ".venv/bin/radon-numpyro"), "reproduce", "--out", ours]
    assert result.stdout.splitlines() == [*command, "--out", "my figures"]


def test_of_an_option_given_twice_the_last_counts():
    # scripts/reproduce relies on it: typer's own doing, for any option that is no list.
    app = typer.Typer()

    @app.command()
    def reproduce(out: str = "") -> None:
        print(out)

    app.command("other")(lambda: None)
    arguments = ["reproduce", "--out", "figures", "--out", "my figures"]
    assert CliRunner().invoke(app, arguments).stdout == "my figures\n"


STAGES = ["ruff check", "ruff format --check", "mypy", "pytest"]


def stages(checkout):
    done = commands(checkout)
    return [stage for line in done for stage in STAGES if line.startswith(stage)]


def test_test_goes_through_all_stages_from_any_folder(checkout):
    assert script(checkout, "test", cwd=checkout.parent).returncode == 0
    assert stages(checkout) == STAGES


@pytest.mark.parametrize("stage", STAGES)
def test_a_failed_stage_fails_the_whole(checkout, stage):
    assert script(checkout, "test", FAIL=stage).returncode == 1
    assert stages(checkout) == STAGES[: STAGES.index(stage) + 1]


def test_test_leaves_no_test_out_and_hands_on_its_arguments(checkout):
    script(checkout, "test", "tests/test_setup.py", "--last-failed")
    pytest_command = commands(checkout)[-1].split()
    assert pytest_command[0] == "pytest"
    assert pytest_command[-2:] == ["tests/test_setup.py", "--last-failed"]
    options = [*pytest_command[:-2], *PROJECT["tool"]["pytest"]["ini_options"]["addopts"]]
    assert not {"-m", "-k", "--deselect", "--ignore"}.intersection(options)


def ci(checkout, **options):
    return run(checkout.parent, BASH, checkout / ".ci/run", **options)


def test_ci_ends_with_the_tests_and_leaves_none_out(checkout):
    executable(checkout / "scripts/test", '#!/bin/sh\necho "$CI: ran $* in $PWD"; exit 7\n')
    for cwd in [checkout, checkout.parent]:
        result = ci(checkout, cwd=cwd)
        assert (result.returncode, result.stdout) == (7, f"true: ran  in {checkout}\n")
    assert (ROOT / ".ci/run").read_text().splitlines()[-1] == "exec ./scripts/test"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root installs")
def test_ci_installs_the_browser_where_it_is_missing(checkout):
    executable(checkout / "scripts/test", "#!/bin/sh\nchromium\n")
    apt_get = """#!/bin/sh
        echo "$*" >>"$LOG"
        case "$1" in install)
            echo noise
            printf '#!/bin/sh\\necho browser\\n' >"$HOME/bin/chromium"
            chmod +x "$HOME/bin/chromium" ;;
        esac
    """
    executable(checkout.parent / "bin/apt-get", apt_get)
    for asked in (["update -qq", "install -yqq --no-install-recommends chromium"], []):
        result = ci(checkout)
        assert (result.returncode, result.stdout) == (0, "browser\n")
        assert commands(checkout) == asked


@pytest.mark.skipif(os.geteuid() != 0, reason="only root installs")
def test_an_install_that_fails_fails_ci(checkout):
    executable(checkout / "scripts/test", "#!/bin/sh\necho ran\n")
    executable(checkout.parent / "bin/apt-get", '#!/bin/sh\n[ "$1" = update ]\n')
    result = ci(checkout)
    assert (result.returncode, result.stdout) == (1, "")


@pytest.mark.parametrize(
    ("name", "runnable"),
    [
        ("scripts/reproduce", True),
        ("scripts/test", True),
        ("scripts/benchmark", True),
        (".ci/run", True),
        ("scripts/_setup", False),
    ],
)
def test_only_what_is_meant_to_be_run_is_executable(name, runnable):
    assert os.access(ROOT / name, os.X_OK) == runnable


# The pins


def pinned(file="constraints.txt"):
    lines = (ROOT / "scripts" / file).read_text().splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pins}


def requirements():
    project = PROJECT["project"]
    extras = [line for extra in project["optional-dependencies"].values() for line in extra]
    groups = [line for group in PROJECT["dependency-groups"].values() for line in group]
    build = PROJECT["build-system"]["requires"]
    return [*map(Requirement, [*project["dependencies"], *extras, *groups, *build])]


PINNED = pinned()
REQUIREMENTS = requirements()
DIRECT = sorted({canonicalize_name(requirement.name) for requirement in REQUIREMENTS})
INSTALLED = {
    canonicalize_name(distribution.name): distribution.version
    for distribution in metadata.distributions()
}


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=str)
def test_pins_fit_the_ranges(requirement):
    assert PINNED[canonicalize_name(requirement.name)] in requirement.specifier


@pytest.mark.parametrize("file", ["constraints.txt", "constraints-peers.txt"])
def test_a_pin_is_a_name_and_a_version(file):
    lines = (ROOT / "scripts" / file).read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert len(pins) == len(pinned(file)) > len(DIRECT)
    for pin in pins:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9]+(\.[a-z0-9]+)*", pin)


def test_the_peers_stand_on_the_same_versions():
    """Else the benchmark would compare these."""
    peers = pinned("constraints-peers.txt")
    assert {"pymc", "nutpie", "pytensor", "numba", "numpyro", "jax", "arviz"} <= set(peers)
    assert "radon-numpyro" not in peers
    common = set(peers) & set(PINNED)
    assert {"jax", "jaxlib", "numpyro", "numpy", "arviz", "arviz-stats", "scipy"} <= common
    assert {name: peers[name] for name in common} == {name: PINNED[name] for name in common}


@pytest.mark.parametrize("name", [name for name in DIRECT if name in INSTALLED])
def test_what_is_pinned_is_installed(name):
    assert INSTALLED[name] == PINNED[name]


def test_what_a_pinned_package_needs_is_pinned_too():
    known = [name for name, version in PINNED.items() if INSTALLED.get(name) == version]
    assert len(known) >= len(DIRECT) / 2
    for name in known:
        for needed in map(Requirement, metadata.requires(name) or []):
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                assert PINNED[canonicalize_name(needed.name)] in needed.specifier, (name, needed)
