"""Validate the posteriors: calibration of the models, and the radon posterior by quadrature.

    .venv/bin/python scripts/validate.py [--quick] [--out FOLDER]

Calibration covers the three models, the hierarchical model with three columns that do not vary by
group and with three correlated coefficients, and integration over the scales, also with weights of
the rows and with known standard errors. Parameters are drawn from the priors and data from the
parameters. Then the rank of each true value among draws of the posterior is computed, for every
parameter and for the log likelihood. If the draws are from the posterior, ranks are uniform. An
envelope contains the deviations from uniformity, at all points and for all quantities of a model
together, with a probability of 99 %.

The reference is the exact posterior of the tutorial's model on the radon data on a grid, whose
algebra shares no code with the package. The scales and means by the two recommended
parametrisations of NUTS must agree with it within Monte Carlo error. The centred parametrisation,
as published, must fail its diagnostics.

Writes FOLDER/validation.json and validation.png. The exit status is 0 if all checks pass, else 1.
"""

import argparse
import json
import platform
import re
import sys
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import arviz as az
import numpy as np
from benchmarks.reference import radon_moments
from validation.calibration import (
    FIXED_COLUMNS,
    RANKS,
    THREE_PREDICTORS,
    Setting,
    ecdf_differences,
    envelope,
    p_values,
    ranks,
)
from validation.figure import figure

from radon_numpyro import Priors, diagnose, fit, load_radon
from radon_numpyro.data.files.whole_files import check_writable, write_whole

# Settings with draws by NUTS or exact draws, and settings with integration over the scales.
SETTINGS = {
    "hierarchical": Setting(),
    "individual": Setting("individual"),
    "pooled": Setting("pooled"),
    "with fixed columns": Setting(x=FIXED_COLUMNS, num_fixed=3),
    "correlated": Setting(x=THREE_PREDICTORS[:, :2], correlated=True),
}
SETTINGS |= {
    f"integrated: {name}": replace(setting, method="integrate")
    for name, setting in {
        "independent": SETTINGS["hierarchical"],
        "correlated": SETTINGS["correlated"],
        "weights": Setting(column="weights"),
        "known errors": Setting(column="se"),
        "fixed columns": SETTINGS["with fixed columns"],
    }.items()
}
OFFERED = ("marginal", "noncentered")
PROBABILITY = 0.99
# Largest allowed share of data sets whose integration is reported as unreliable.
MOST_LEFT_OUT = 0.02
MIN_ESS = 400
MAX_Z = 4.5
PACKAGES = ("radon-numpyro", "numpyro", "jax", "jaxlib", "arviz", "numpy")


def say(text):
    print(text, file=sys.stderr, flush=True)


def calibrate(name, num_data_sets, seed):
    """Calibrate one setting: the distribution of ranks, and whether it is in the envelope."""
    started = time.perf_counter()
    counts, names = ranks(SETTINGS[name], num_data_sets, seed)
    points, differences = ecdf_differences(counts)
    lower, upper = envelope(len(counts), 1 - (1 - PROBABILITY) / len(names))
    quantities = {
        name: {
            "inside": bool(((lower <= difference) & (difference <= upper)).all()),
            "largest_difference": float(np.abs(difference).max()),
            "chi_square_p": float(p),
            "difference": difference.round(6).tolist(),
        }
        for name, difference, p in zip(names, differences.T, p_values(counts), strict=True)
    }
    outside = [name for name, quantity in quantities.items() if not quantity["inside"]]
    left_out = num_data_sets - len(counts)
    say(
        f"{name}: {len(names)} quantities, outside the envelope: {', '.join(outside) or 'none'}; "
        f"{left_out} of {num_data_sets} data sets left out"
    )
    return {
        "data_sets": len(counts),
        "left_out": left_out,
        "seed": seed,
        "seconds": round(time.perf_counter() - started),
        "outside": outside,
        "points": points.tolist(),
        "lower": lower.round(6).tolist(),
        "upper": upper.round(6).tolist(),
        "quantities": quantities,
    }


def compare(exact, method, draws, seed):
    """Compare one parametrisation of the hierarchical model with the exact moments."""
    started = time.perf_counter()
    tree = fit(
        load_radon(),
        method=method,
        priors=Priors.tutorial(),
        draws=draws,
        num_warmup=1000,
        seed=seed,
        progress_bar=False,
    )
    diagnosis, sites = diagnose(tree), {}
    for name, (mean, sd) in exact.items():
        values = tree["posterior"][name].values.reshape(4, -1)
        errors = {kind: float(az.mcse(values, method=kind)) for kind in ("mean", "sd")}
        sites[name] = {
            "mean": float(values.mean()),
            "sd": float(values.std(ddof=1)),
            "mean_off": float((values.mean() - mean) / sd),
            "mean_error": errors["mean"] / sd,
            "z_mean": float((values.mean() - mean) / errors["mean"]),
            "z_sd": float((values.std(ddof=1) - sd) / errors["sd"]),
        }
    mixes = diagnosis.ok and diagnosis.min_ess >= MIN_ESS
    worst = max(abs(site[z]) for site in sites.values() for z in ("z_mean", "z_sd"))
    say(f"{method}: {'mixes' if mixes else 'does not mix'}, furthest {worst:.1f} standard errors")
    return {
        "draws": 4 * draws,
        "seed": seed,
        "seconds": round(time.perf_counter() - started),
        "max_rhat": diagnosis.max_rhat,
        "min_ess": diagnosis.min_ess,
        "divergences": diagnosis.num_divergences,
        "mixes": bool(mixes),
        "furthest": worst,
        "agrees": bool(mixes and worst < MAX_Z),
        "sites": sites,
    }


def validate(*, data_sets, draws):
    """Run all validations and return their results as data."""
    radon = load_radon()
    exact = radon_moments(radon.y, radon.x[:, 0].astype(int), radon.group)
    models = {name: calibrate(name, data_sets, seed=k) for k, name in enumerate(SETTINGS, 1)}
    methods = {method: compare(exact, method, draws, seed=1) for method in (*OFFERED, "centered")}
    calibrated = not any(
        model["outside"] or model["left_out"] > MOST_LEFT_OUT * data_sets
        for model in models.values()
    )
    agrees = all(methods[method]["agrees"] for method in OFFERED)
    return {
        "ok": calibrated and agrees and not methods["centered"]["mixes"],
        "versions": {"python": platform.python_version(), **{p: version(p) for p in PACKAGES}},
        "calibration": {
            "what": f"ranks of the truth among {RANKS} draws; the envelope holds all quantities "
            f"of a model together with probability {PROBABILITY}",
            "models": models,
        },
        "reference": {
            "what": "exact: quadrature over the scales; mean_off: in exact posterior sds; z: in "
            f"Monte Carlo standard errors, fewer than {MAX_Z} allowed",
            "exact": {name: {"mean": mean, "sd": sd} for name, (mean, sd) in exact.items()},
            "methods": methods,
        },
    }


def as_json(result):
    """Write JSON with each list on one line, so that the file and its changes can be read."""
    text = json.dumps(result, indent=1, allow_nan=False)
    return re.sub(r"\[[^][{}]*\]", lambda found: " ".join(found[0].split()), text) + "\n"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--out", type=Path, help="default: figures, or results where it is quick")
    options = parser.parse_args()
    folder = options.out or Path("results" if options.quick else "figures")
    check_writable(folder)
    sizes = {"data_sets": 20, "draws": 400} if options.quick else {"data_sets": 1000, "draws": 4000}
    result = validate(**sizes)
    write_whole(folder / "validation.json", lambda path: path.write_text(as_json(result)))
    write_whole(folder / "validation.png", lambda path: figure(result).savefig(path, dpi=200))
    say("all of it holds" if result["ok"] else "not all of it holds: see validation.json")
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
