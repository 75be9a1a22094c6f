"""The package as a whole: its names, what importing it does, and who may import whom."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import radon_numpyro

FOLDER = Path(radon_numpyro.__file__).parent
ROOMS = sorted(path.parent.name for path in FOLDER.glob("*/__init__.py"))
FILES = {
    ".".join(path.relative_to(FOLDER).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(FOLDER.rglob("*.py"))
    if path != FOLDER / "__init__.py"
}
MODULES = list(FILES)
# Those that draw, or import what does.
FIGURES = {"report.document", "report.figures", "report.sections", "report.tables"}
FIGURES |= {module for module in MODULES if module.split(".")[0] == "plots"}


def test_public_names_resolve_and_are_few():
    assert len(radon_numpyro.__all__) <= 29
    assert len(set(radon_numpyro.__all__)) == len(radon_numpyro.__all__)
    for name in radon_numpyro.__all__:
        assert getattr(radon_numpyro, name).__doc__, name


def test_no_module_has_the_name_of_a_public_function():
    # `import radon_numpyro.fit` would put the module where the function was.
    assert {module.split(".")[0] for module in MODULES} & set(radon_numpyro.__all__) == set()


def test_the_docstring_says_what_to_call_first():
    assert "Start here" in radon_numpyro.__doc__
    for name in ("GroupedData", "fit", "diagnose"):
        assert name in radon_numpyro.__doc__
        assert name in radon_numpyro.__all__


# What importing it does

# Third parties may set what they like: they are imported first, and what comes after is ours.
ON_IMPORT = """
import importlib, json, os, sys, warnings
for name in sys.argv[1:]:
    importlib.import_module(name)
import jax

def state():
    matplotlib = sys.modules.get("matplotlib")
    return {
        "x64": jax.config.jax_enable_x64,
        "jax": {k: repr(v) for k, v in jax.config.values.items()},
        "filters": [repr(f) for f in warnings.filters],
        "environment": dict(os.environ),
        "matplotlib": matplotlib and {k: repr(v) for k, v in matplotlib.rcParams.items()},
        "pyplot": "matplotlib.pyplot" in sys.modules,
        "finders": [repr(f) for f in sys.meta_path],
    }

before = state()
from radon_numpyro import *
import radon_numpyro.model.regressions
after = state()
assert callable(fit) and "radon_numpyro.inference.nuts.sampler" in sys.modules
# Still the caller's to choose: no device has been asked for.
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=3"
os.environ["JAX_PLATFORMS"] = "cpu"
jax.config.update("jax_platforms", "cpu")
print(json.dumps([before, after, jax.device_count()]))
"""


def test_import_sets_nothing():
    third_parties = ("arviz", "arviz_stats.base.array", "jax", "numpyro", "numpyro.infer.autoguide")
    # The report, a public name, draws.
    third_parties += ("optax", "pandas", "scipy", "seaborn", "tqdm.auto", "xarray")
    done = subprocess.run(
        [sys.executable, "-c", ON_IMPORT, *third_parties],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    before, after, devices = json.loads(done.stdout)
    assert after == before
    assert not after["x64"]
    assert devices == 3


# Runs what it is given, as `radon-numpyro` if that is words, and prints what has been imported.
MODULES_OF = """
import json, sys
code, *words = sys.argv[1:]
sys.argv[:] = ["radon-numpyro", *words]
status = 0
try:
    exec(code)
except SystemExit as end:
    status = end.code
print()
print(json.dumps([status, sorted(sys.modules)]))
"""
COMMAND = "from radon_numpyro.cli.app import app; app()"
SLOW = {"jax", "jaxlib", "numpyro", "optax", "arviz", "arviz_base", "arviz_stats", "matplotlib"}
SLOW |= {"seaborn", "scipy.stats", "duckdb", "h5py", "jinja2"}


def modules_of(code, *words):
    """Exit status, output, and names of all modules in the end."""
    done = subprocess.run(
        [sys.executable, "-c", MODULES_OF, code, *words],
        capture_output=True,
        text=True,
        check=True,
    )
    output, _, last = done.stdout.rstrip().rpartition("\n")
    status, names = json.loads(last)
    return status, output, set(names)


def test_importing_the_package_imports_nothing_slow():
    _, _, names = modules_of("import radon_numpyro; dir(radon_numpyro)")
    assert names & (SLOW | {"numpy", "pandas"}) == set()
    assert {name for name in names if name.startswith("radon_numpyro.")} == set()


def test_data_and_priors_need_no_jax():
    code = (
        "from radon_numpyro import GroupStatistics, Priors, load_radon, simulate\n"
        "data = load_radon(); data.audit(); data.to_frame()\n"
        "statistics = GroupStatistics.from_data(data); statistics.merge(statistics).fingerprint()\n"
        "Priors.from_json(Priors.weakly_informative(statistics).to_json())"
    )
    _, _, names = modules_of(code)
    assert "radon_numpyro.model.priors" in names
    assert names & SLOW == set()


RADON = str(FOLDER / "datasets" / "radon_minnesota.csv")
AUDIT = ["audit", RADON, "--y", "log_radon", "--x", "floor", "--group", "county"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--version"], "radon-numpyro 0."),
        (["--help"], "reproduce"),
        (["fit", "--help"], "Usage: radon-numpyro fit"),
        (AUDIT, "919 rows in 85 groups"),
        ([*AUDIT, "--json"], '"summary"'),
        (["fit", "no such file.csv", *AUDIT[2:]], ""),
    ],
    ids=["version", "help", "help of fit", "audit", "audit as JSON", "a file that is not there"],
)
def test_commands_import_nothing_slow_before_they_need_it(words, says):
    status, output, names = modules_of(COMMAND, *words)
    assert status in (0, 3) if says else status == 2
    assert says in output
    assert names & SLOW == set()
    if words[-1].startswith("--h") or words == ["--version"]:
        assert names & {"numpy", "pandas"} == set()


def test_every_public_name_is_found_where_type_checkers_look_for_it():
    body = parse("__init__").body
    (checked,) = (node.body for node in body if ast.unparse(node).startswith("if TYPE_CHECKING"))
    seen = {alias.name: node.module for node in checked for alias in node.names}
    assert seen == {
        name: f"radon_numpyro.{module}" for name, module in radon_numpyro._MODULE_OF.items()
    }
    assert list(radon_numpyro._MODULE_OF) == radon_numpyro.__all__
    assert set(radon_numpyro.__all__) | {"plots", "__all__"} <= set(dir(radon_numpyro))


def test_other_names_are_not_offered():
    with pytest.raises(AttributeError, match="module 'radon_numpyro' has no attribute 'fitt'"):
        radon_numpyro.fitt  # noqa: B018


def parse(module):
    path = FOLDER / "__init__.py" if module == "__init__" else FILES[module]
    return ast.parse(path.read_text(encoding="utf-8"))


def calls(module):
    return {ast.unparse(n.func) for n in ast.walk(parse(module)) if isinstance(n, ast.Call)}


@pytest.mark.parametrize("module", [m for m in MODULES if m not in ("cli.app", "cli.terminal")])
def test_only_the_command_line_prints_and_sets(module):
    forbidden = {"print", "jax.config.update", "numpyro.enable_x64", "numpyro.set_platform"}
    forbidden |= {"numpyro.set_host_device_count", "warnings.filterwarnings", "matplotlib.use"}
    assert calls(module) & forbidden == set()


# Data are data

UNSAFE_CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load"}
UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}


def unsafe(tree):
    """What could run code that comes in with a file: calls, modules, and settings of calls."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name in UNSAFE_MODULES]
        elif isinstance(node, ast.ImportFrom) and node.module in UNSAFE_MODULES:
            found.append(node.module)
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in UNSAFE_CALLS or name.rpartition(".")[2] in ("read_pickle", "to_pickle"):
                found.append(name)
            for keyword in node.keywords:
                value = ast.unparse(keyword.value)
                if keyword.arg in ("shell", "allow_pickle") and value != "False":
                    found.append(f"{keyword.arg}={value}")
    return found


@pytest.mark.parametrize("module", MODULES)
def test_nothing_that_comes_in_is_run(module):
    assert unsafe(parse(module)) == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("import pickle", ["pickle"]),
        ("from dill import loads", ["dill"]),
        ("value = eval(text)", ["eval"]),
        ("yaml.load(file)", ["yaml.load"]),
        ("pd.read_pickle(path)", ["read_pickle"]),
        ("np.load(path, allow_pickle=True)", ["allow_pickle=True"]),
        ("subprocess.run(text, shell=flag)", ["shell=flag"]),
        ("np.load(path, allow_pickle=False)", []),
        ("model.eval()", []),
    ],
)
def test_the_search_for_what_is_unsafe_finds_it(line, found):
    got = unsafe(ast.parse(line))
    assert len(got) == len(found)
    assert all(g.endswith(f) for g, f in zip(got, found, strict=True))


# Who may import whom


def imported(module, *, at_the_top=False):
    """Modules of this package that a module imports, inside functions too unless told otherwise."""
    found = set()
    for node in parse(module).body if at_the_top else ast.walk(parse(module)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            # `from radon_numpyro import marginal` names a module behind the package.
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            head, _, rest = name.partition(".")
            if head == "radon_numpyro" and rest in MODULES:
                found.add(rest)
    return found - {module}


def test_a_room_imports_only_rooms_before_it():
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-logo"],
        cwd=FOLDER.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "1 kept, 0 broken" in done.stdout


def test_the_map_has_every_room_in_order():
    page = (FOLDER.parent / "docs" / "design.md").read_text(encoding="utf-8")
    table = page[page.index("| room | what it holds |") :].split("\n\n")[0]
    rooms = re.findall(r"^\| `(\w+)", table, flags=re.MULTILINE)
    assert sorted(rooms) == sorted([*ROOMS, "pipeline"])
    project = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = project["tool"]["importlinter"]["contracts"]
    assert rooms == contract["layers"][::-1]


@pytest.mark.parametrize("module", MODULES)
def test_no_module_imports_the_whole_package(module):
    whole = {"import radon_numpyro", "from radon_numpyro import *"}
    assert not whole & {ast.unparse(node) for node in ast.walk(parse(module))}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_can_be_read_in_one_sitting(module):
    assert len(FILES[module].read_text(encoding="utf-8").splitlines()) <= 400


def test_there_is_no_cycle():
    order = list(TopologicalSorter({m: imported(m) for m in MODULES}).static_order())
    assert set(order) == set(MODULES)
    names = ("data.checks", "statistics.group_statistics", "pipeline", "comparison.table")
    assert sorted(names, key=order.index) == list(names)


@pytest.mark.parametrize("module", sorted(set(MODULES) - FIGURES))
def test_only_figures_import_matplotlib_at_the_top(module):
    for node in parse(module).body:
        text = ast.unparse(node)
        if isinstance(node, ast.Import | ast.ImportFrom):
            assert "matplotlib" not in text, module
            assert "seaborn" not in text, module
    assert imported(module, at_the_top=True) & FIGURES == set()
