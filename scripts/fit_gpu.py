"""Measure what a GPU gains: steps, draws and whole fits on CPU and GPU in both precisions.

    pip install -e '.[cuda13]'
    python scripts/fit_gpu.py [--quick] [--cases NAME ...] [--limit SECONDS] [--out FOLDER]

The fits are of the hierarchical model by the marginal method, with 4 chains of 1000 draws after 500
warm-up iterations. The data are radon, and simulations of 1000 to 100 000 unequal groups with 1 to
3 predictors. For each device and precision the table shows

    a step     time of one gradient of each chain, in compiled blocks of the sampler
    draws      per second, over all chains, in a compiled fit without the time of its warm-up
    cold       time of the whole fit, including compilation, without imports
    compiled   time of the whole fit again, with another seed
    furthest   largest distance of means and sds of the population from those of the first complete
               row of the case, which has another seed, in Monte Carlo standard errors; more than
               4.5 is a disagreement

A fit that takes longer than the limit is stopped, and its row has only the time of a step. "data
sets" are 20 fits of data of one shape in sequence, with the same compiled programs. If JAX sees no
GPU, only the CPU is measured, and the result says so.

Writes FOLDER/fit_gpu.json after each case, and prints a table. The exit status is 1 if two
posteriors disagree.
"""

import argparse
import json
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np
from benchmarks.quality import POPULATION, agreement, moments
from benchmarks.rows import Population

from radon_numpyro import GroupedData, GroupStatistics, Priors, fit, load_radon
from radon_numpyro.data.files.whole_files import check_writable, write_whole
from radon_numpyro.inference.compute.device_choice import (
    choose_device,
    closed_form_guide,
    seconds_a_step,
)
from radon_numpyro.inference.compute.devices import computing_on, describe_current, seen
from radon_numpyro.inference.nuts.blocks import num_cores
from radon_numpyro.inference.settings import Settings

DTYPES = ("float64", "float32")
GROUPS = (1000, 10_000, 100_000)
PREDICTORS = (1, 2, 3)
ROWS_A_GROUP = 10
CHAINS, DRAWS, WARMUP = 4, 1000, 500
DATA_SETS = 20
PACKAGES = ("radon-numpyro", "numpyro", "jax", "jaxlib", "numpy")


def simulated(num_groups, num_predictors, seed=0):
    y, x, group = Population(num_groups, num_predictors, seed).draw(ROWS_A_GROUP * num_groups)
    return GroupStatistics.from_data(GroupedData.from_arrays(y, x, group))


def cases(groups, predictors):
    """Yield names and functions that make the data."""
    yield "radon", lambda: GroupStatistics.from_data(load_radon())
    for c in groups:
        for k in predictors:
            yield f"{c} groups, K = {k}", lambda c=c, k=k: simulated(c, k)


def options(device, dtype, draws, seed):
    return {
        "device": device,
        "dtype": dtype,
        "draws": draws,
        "chains": CHAINS,
        "num_warmup": min(WARMUP, draws),
        "seed": seed,
        "num_advi_steps": 0,
    }


def settings(device, dtype, draws):
    others = ("method", "target_accept_prob", "chain_method", "target_ess", "max_seconds")
    return Settings(
        model="hierarchical",
        max_tree_depth=10,
        coefficients="auto",
        **dict.fromkeys(others),
        **options(device, dtype, draws, seed=0),
    )


def timed_fit(data, **given):
    started = time.perf_counter()
    tree = fit(data, progress_bar=False, **given)
    return time.perf_counter() - started, tree


def measure(data, device, dtype, draws, seed, limit):
    """Measure one row of the table; return it, and population moments if the fits are complete."""
    priors, given = Priors.weakly_informative(data), options(device, dtype, draws, seed)
    row, found = {"device": device, "dtype": dtype}, None
    cold = seconds_within(limit, data, **given | {"seed": seed + 100})
    if cold is not None:
        compiled, tree = timed_fit(data, **given)
        attrs, nuts = tree.attrs, json.loads(tree.attrs["timings"])["draws"]
        gradients = attrs["sampling_gradients"], attrs["warmup_gradients"]
        row |= {
            "chain_method": attrs["chain_method"],
            "draws_a_second": CHAINS * draws * sum(gradients) / (nuts * gradients[0]),
            "cold": cold,
            "compiled": compiled,
            "divergences": int(tree["sample_stats"]["diverging"].sum()),
        }
        posterior = {n: np.asarray(tree["posterior"][n], dtype=float) for n in POPULATION}
        found = moments({n: v.reshape(*v.shape[:2], -1) for n, v in posterior.items()})
    asked = settings(device, dtype, draws)
    with computing_on(device):
        guide = closed_form_guide(asked, data, priors)
        row |= {
            "name": describe_current(),
            "seconds_a_step": seconds_a_step(asked, data, priors, guide),
        }
    return row, found


def seconds_within(limit, data, **given):
    """Return the seconds of a fit, or None if it exceeded the limit."""
    try:
        seconds, tree = timed_fit(data, max_seconds=limit, **given)
    except TimeoutError:
        return None
    return seconds if tree.attrs["complete"] else None


def compare(name, data, devices, draws, limit):
    """Measure a case on all devices in both precisions, and compare with the first complete row."""
    jax.clear_caches()
    rows, reference = [], None
    for seed, (dtype, device) in enumerate([(t, d) for t in DTYPES for d in devices], start=1):
        row, found = measure(data, device, dtype, draws, seed, limit)
        if reference is not None and found is not None:
            row |= agreement(found, reference)
        reference = reference or found
        rows.append({"case": name, "groups": data.num_groups, "predictors": data.num_predictors})
        rows[-1] |= row
        print(line(rows[-1], limit), flush=True)
    chosen = choose_device(
        settings("auto", "float64", draws), data, Priors.weakly_informative(data)
    )
    return rows, {"case": name, **chosen._asdict()}


def data_sets(number, groups, devices, draws):
    """Time fits of many data sets of one shape, after a first fit that compiles."""
    rows = []
    several = [simulated(groups, 1, seed) for seed in range(number + 1)]
    for device in devices:
        given = options(device, "float64", draws, seed=1)
        timed_fit(several[0], **given)
        started = time.perf_counter()
        for data in several[1:]:
            fit(data, progress_bar=False, **given)
        seconds = time.perf_counter() - started
        rows.append({"device": device, "data_sets": number, "groups": groups, "seconds": seconds})
        print(f"{number} data sets of {groups} groups on the {device}: {seconds:.1f} s", flush=True)
    return rows


HEADINGS = (
    "case",
    "device",
    "dtype",
    "us a step",
    "draws a s",
    "cold, s",
    "compiled, s",
    "furthest",
)


def line(row, limit):
    cells = [row["case"], row["device"], row["dtype"], f"{row['seconds_a_step'] * 1e6:,.1f}"]
    if "cold" in row:
        cells += [f"{row['draws_a_second']:,.0f}", f"{row['cold']:.2f}", f"{row['compiled']:.2f}"]
    else:
        cells += ["", f"> {limit:g}", ""]
    return "| " + " | ".join([*cells, f"{row['z']:.1f}" if "z" in row else ""]) + " |"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--cases", nargs="+", metavar="NAME", help="those whose name begins so")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds of a fit; default 600")
    parser.add_argument("--out", type=Path, help="default: figures, or results where it is quick")
    given = parser.parse_args()
    folder = given.out or Path("results" if given.quick else "figures")
    check_writable(folder)
    devices = seen()
    note = "measured on " + " and ".join(devices)
    if "gpu" not in devices:
        note = "JAX sees no GPU: only the CPU was measured"
    print(note)
    groups, predictors, draws, number = GROUPS, PREDICTORS, DRAWS, DATA_SETS
    if given.quick:
        groups, predictors, draws, number = (20,), (2,), 100, 2
    wanted = tuple(given.cases or ("",))
    result = {
        "note": note,
        "settings": {
            "chains": CHAINS,
            "draws": draws,
            "num_warmup": min(WARMUP, draws),
            "limit": given.limit,
        },
        "cores": num_cores(),
        "versions": {"python": platform.python_version(), **{p: version(p) for p in PACKAGES}},
        "fits": [],
        "auto": [],
        "data_sets": [],
    }

    def save():
        text = json.dumps(result, indent=1, allow_nan=False) + "\n"
        write_whole(folder / "fit_gpu.json", lambda path: path.write_text(text))

    print("| " + " | ".join(HEADINGS) + " |")
    print("| --- " * 3 + "| ---: " * 5 + "|")
    for name, make in cases(groups, predictors):
        if name.startswith(wanted):
            found, choice = compare(name, make(), devices, draws, given.limit)
            result["fits"] += found
            result["auto"].append(choice)
            save()
    if "data sets".startswith(wanted):
        result["data_sets"] = data_sets(number, 20 if given.quick else 85, devices, draws)
    save()
    print(f"wrote {folder / 'fit_gpu.json'}")
    return 0 if all(row.get("agrees", True) for row in result["fits"]) else 1


if __name__ == "__main__":
    sys.exit(main())
