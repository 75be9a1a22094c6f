"""Are the draws good, and are they of the right posterior? A fast wrong answer is no answer."""

import warnings

import arviz_stats
import numpy as np
import pandas as pd
import xarray as xr

POPULATION = ("mu_alpha", "sigma_alpha", "mu_beta", "sigma_beta", "eps")
# Of larger sites the first so many numbers are checked.
CHECKED = 200
# As many standard errors as a correct run exceeds in one of 10 000 runs, over ten comparisons.
ALLOWED = 4.5
MAX_RHAT = 1.01
MIN_ESS = 400


def load(path):
    """Draws by site, each (chains, draws, numbers), of which the first few are kept."""
    if path.suffix == ".csv":
        table = pd.read_csv(path)
        chains = table.pop("chain").nunique()
        return {name: table[name].to_numpy().reshape(chains, -1, 1) for name in table}
    with np.load(path) as file:
        draws = {name: np.asarray(file[name], dtype=float) for name in file.files}
    return {
        name: values.reshape(*values.shape[:2], -1)[..., :CHECKED] if " of " not in name else values
        for name, values in draws.items()
    }


def convergence(draws):
    """Worst bulk and tail effective sample sizes and R-hat over all sites."""
    dataset = xr.Dataset(
        {
            name: (("chain", "draw", f"{name}_dim"), values)
            for name, values in draws.items()
            if " of " not in name
        }
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = arviz_stats.summary(dataset, kind="diagnostics", round_to="none").astype(float)
    return {
        "ess_bulk": float(table["ess_bulk"].min(skipna=False)),
        "ess_tail": float(table["ess_tail"].min(skipna=False)),
        "r_hat": float(table["r_hat"].max(skipna=False)),
    }


def converged(quality):
    return quality["r_hat"] < MAX_RHAT and min(quality["ess_bulk"], quality["ess_tail"]) > MIN_ESS


def moments(draws, sites=POPULATION):
    """Mean and sd of each number of some sites, with their Monte Carlo standard errors."""
    found = {}
    for name in sites:
        for k in range(draws[name].shape[-1] if name in draws else 0):
            values = draws[name][..., k]
            found[f"{name}[{k}]"] = {
                "mean": float(values.mean()),
                "sd": float(values.std(ddof=1)),
                "mcse_mean": float(arviz_stats.mcse(values, method="mean")),
                "mcse_sd": float(arviz_stats.mcse(values, method="sd")),
            }
    return found


def agreement(found, reference):
    """How far means and sds are from a reference, in its sds and in Monte Carlo standard errors.

    The errors of both sides count; those of an exact reference are 0.
    """
    mean_off, sd_off, z = [], [], []
    for name, exact in reference.items():
        ours = found[name]
        mean_off.append(abs(ours["mean"] - exact["mean"]) / exact["sd"])
        sd_off.append(abs(ours["sd"] / exact["sd"] - 1.0))
        for moment in ("mean", "sd"):
            error = np.hypot(ours.get(f"mcse_{moment}", 0.0), exact.get(f"mcse_{moment}", 0.0))
            if error > 0:
                z.append(float(abs(ours[moment] - exact[moment]) / error))
    off = {"mean_off": max(mean_off), "sd_off": max(sd_off)}
    return off | ({"z": max(z), "agrees": max(z) < ALLOWED} if z else {})


def guide_moments(draws):
    """Means and sds of the population under a guide, whose Monte Carlo error is negligible."""
    return {
        f"{name}[{k}]": {
            "mean": float(np.ravel(draws[f"mean of {name}"])[k]),
            "sd": float(np.ravel(draws[f"sd of {name}"])[k]),
        }
        for name in POPULATION
        for k in range(np.size(draws[f"mean of {name}"]))
    }


def estimates(path):
    """Estimates of lme4 and their standard errors, of which scales have none."""
    table = pd.read_csv(path)
    return {
        f"{name}[0]": {"mean": float(table[name][0]), "sd": float(table[name][1])}
        for name in table
        if np.isfinite(table[name][1])
    }
