"""Check the convergence of draws, and their agreement with a reference posterior."""

import warnings

import arviz_stats
import numpy as np
import pandas as pd
import xarray as xr

POPULATION = ("mu_alpha", "sigma_alpha", "mu_beta", "sigma_beta", "eps")
# Number of entries of a site that are checked.
CHECKED = 200
# Number of standard errors that one of 10 000 correct runs exceeds, in ten comparisons.
ALLOWED = 4.5
MAX_RHAT = 1.01
MIN_ESS = 400


def load(path):
    """Load draws by site, each (chains, draws, numbers); only the first numbers are kept."""
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
    """Return the smallest bulk and tail effective sample sizes and the largest R-hat."""
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
    """Compute the mean and sd of each entry of sites, with their Monte Carlo standard errors."""
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
    """Return distances of means and sds from a reference, in its sds and in standard errors.

    The Monte Carlo errors of both sides are included; those of an exact reference are 0.
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
    """Return means and sds of the population under a guide; their Monte Carlo error is small."""
    return {
        f"{name}[{k}]": {
            "mean": float(np.ravel(draws[f"mean of {name}"])[k]),
            "sd": float(np.ravel(draws[f"sd of {name}"])[k]),
        }
        for name in POPULATION
        for k in range(np.size(draws[f"mean of {name}"]))
    }


def estimates(path):
    """Return the estimates of lme4 with their standard errors, without scales, which have none."""
    table = pd.read_csv(path)
    return {
        f"{name}[0]": {"mean": float(table[name][0]), "sd": float(table[name][1])}
        for name in table
        if np.isfinite(table[name][1])
    }
