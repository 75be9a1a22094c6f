"""Summarise the measurements of a case: a row for each peer, with medians and ranges."""

import numpy as np

from benchmarks import quality
from benchmarks.guides import bound
from benchmarks.process import OURS
from benchmarks.reference import radon_moments, regression_moments
from benchmarks.rows import EFFECTS, TRUTH
from radon_numpyro import load_radon


def spread(values):
    """Return the median and range of the finite values, or None if there are none."""
    values = [v for v in values if v is not None and np.isfinite(v)]
    if not values:
        return None
    middle, low, high = np.median(values), min(values), max(values)
    return {"median": float(middle), "low": float(low), "high": float(high), "n": len(values)}


def by_contestant(runs):
    """Return the successful runs by peer, variant and label, in order."""
    found = {}
    for run in runs:
        if "failed" not in run:
            task = run["task"]
            key = (run["peer"], task.get("variant"), task.get("label"))
            found.setdefault(key, []).append(run)
    return found


def calls(runs, kind, temperature=None):
    return [
        call
        for run in runs
        if temperature in (None, run["temperature"])
        for call in run["calls"]
        if call["kind"] == kind
    ]


def seconds(runs, kind, temperature=None):
    return spread([call["seconds"] for call in calls(runs, kind, temperature)])


def processes(runs, temperature):
    return spread([run["seconds"] for run in runs if run["temperature"] == temperature])


def contestant(key, runs):
    """Return the first columns of every row: times and memory."""
    name, variant, label = key
    return {
        "peer": name,
        "variant": variant,
        "label": label,
        "cold": processes(runs, "cold"),
        "cached": processes(runs, "cached"),
        "cpu_cold": spread([run["cpu"] for run in runs if run["temperature"] == "cold"]),
        "cpu_cached": spread([run["cpu"] for run in runs if run["temperature"] == "cached"]),
        "imports": spread([run["imports"] for run in runs]),
        "first": seconds(runs, "first", "cold"),
        "again": seconds(runs, "again"),
        "sampling": seconds(runs, "sampling") or seconds(runs, "again"),
        "peak_mib": spread([r["peak_mib"] for r in runs if r["temperature"] != "compiled"]),
        "compiled_first": spread([c.get("compiled") for c in calls(runs, "first")]),
        "compiled_again": spread([c.get("compiled") for c in calls(runs, "again")]),
    }


def judged(runs, reference=None):
    """Return the quality of the draws of the first call and of the compiled calls.

    Draws are good if most runs converge and all runs agree with the reference. Not all runs need to
    converge, because the largest of many R-hats sometimes exceeds any threshold.
    """
    kinds = {call["kind"] for run in runs for call in run["calls"]}
    kinds &= {"first", "sampling" if "sampling" in kinds else "again"}
    checked, rates = [], []
    for call in (c for run in runs for c in run["calls"] if c["kind"] in kinds and "draws" in c):
        draws = quality.load(call["draws"])
        found = quality.convergence(draws)
        if reference is not None:
            found |= quality.agreement(quality.moments(draws), reference)
        checked.append(found | {"diverging": call.get("diverging")})
        if call["kind"] != "first":
            # The effective size of draws from weighted nodes is at most that of the nodes.
            effective = min(found["ess_bulk"], call.get("nodes_ess", np.inf))
            rates.append(effective / call["seconds"])
    if not checked:
        return {}
    worst = {
        name: float(max(c[name] for c in checked))
        for name in ("mean_off", "sd_off", "z")
        if name in checked[0]
    }
    usual = {
        name: spread([c[name] for c in checked])
        for name in ("ess_bulk", "ess_tail", "r_hat", "diverging")
    }
    converged = 2 * sum(quality.converged(c) for c in checked) > len(checked)
    good = converged and all(c.get("agrees", True) for c in checked)
    return {**usual, **worst, "ess_per_second": spread(rates), "good": good}


def exact_radon():
    """Return the reference moments by the names of the draws."""
    data = load_radon()
    moments = radon_moments(data.y, data.x[:, 0].astype(int), data.group)
    return {f"{name}[0]": {"mean": mean, "sd": sd} for name, (mean, sd) in moments.items()}


def nuts(runs):
    reference, table = exact_radon(), []
    for key, of_key in by_contestant(runs).items():
        row = contestant(key, of_key)
        if key[0] == "lme4":
            estimates = quality.estimates(of_key[0]["calls"][0]["draws"])
            row |= quality.agreement(estimates, {n: reference[n] for n in estimates})
        else:
            row |= judged(of_key, reference)
        if key[0] == OURS and "gradients" in of_key[0]["calls"][0]:
            row["gradients_per_second"] = spread(
                [c["gradients"] / c["seconds"] for c in calls(of_key, "sampling")]
            )
        table.append(row)
    return table


def integrate(runs):
    """Compare with the exact posterior, as for NUTS; integration has no chains or divergences."""
    return nuts(runs)


def advi(runs):
    data, reference, table = load_radon(), exact_radon(), []
    for key, of_key in by_contestant(runs).items():
        row = contestant(key, of_key)
        first = calls(of_key, "first", "cold")
        guides = [quality.load(call["draws"]) for call in first]
        bounds = [bound(guide, data)[0] for guide in guides]
        off = [quality.agreement(quality.guide_moments(guide), reference) for guide in guides]
        timed = calls(of_key, "again") or first
        row |= {
            "steps": spread([call["steps"] for call in first]),
            "steps_per_second": spread([call["steps"] / call["seconds"] for call in timed]),
            "bound": spread(bounds),
            "mean_off": max(o["mean_off"] for o in off),
            "sd_off": max(o["sd_off"] for o in off),
        }
        if "converged" in first[0]:
            row["converged"] = all(call["converged"] for call in first)
            row["particles"] = first[0]["num_particles"]
        table.append(row)
    return table


def tutorial(runs):
    reference = exact_radon()
    return [contestant(k, r) | judged(r, reference) for k, r in by_contestant(runs).items()]


def individual(runs):
    """Extrapolate a loop over all groups from the picked ones.

    The first group of a loop compiles; the mean of the others stands for all other groups.
    """
    data, table = load_radon(), []
    for key, of_key in by_contestant(runs).items():
        row, picked = contestant(key, of_key), of_key[0]["task"]["picked"]
        exact = {c: _exact_group(data, c) for c in picked}
        if key[0] == OURS:
            call = of_key[0]["calls"][0]
            row |= judged(of_key)
            row["by_group"] = {c: _of_group(call, exact[c], c) for c in picked}
        else:
            for kind, name in (("group", "loop"), ("compiled, group", "compiled_loop")):
                row[name] = spread([_whole_loop(run, kind, data.num_groups) for run in of_key])
            row["picked"] = len(picked)
            loop = [c for c in of_key[0]["calls"] if c["kind"].startswith("group")]
            row["by_group"] = {
                c: _of_group(call, exact[c]) for c, call in zip(picked, loop, strict=True)
            }
            row["r_hat"] = max(found["r_hat"] for found in row["by_group"].values())
            row["diverging"] = sum(call["diverging"] for call in loop)
        row["z"] = max(found["z"] for found in row["by_group"].values())
        agree = all(f["agrees"] and quality.converged(f) for f in row["by_group"].values())
        row["good"] = agree and row.get("good", True)
        table.append(row)
    return table


def _whole_loop(run, kind, num_groups):
    """Return the time of a process for all groups from that of a few, or None without a loop."""
    taken = [call["seconds"] for call in run["calls"] if call["kind"].startswith(kind)]
    if not taken:
        return None
    return run["imports"] + taken[0] + (num_groups - 1) * float(np.mean(taken[1:]))


def _exact_group(data, code):
    rows = data.group == code
    moments = regression_moments(data.y[rows], data.x[rows, 0])
    return {f"{name}[0]": {"mean": mean, "sd": sd} for name, (mean, sd) in moments.items()}


def _of_group(call, exact, code=0):
    """Return the agreement of one group with the exact posterior, and its convergence."""
    draws = quality.load(call["draws"])
    draws = {name: draws[name][..., [code]] for name in ("alpha", "beta", "eps")}
    found = quality.moments(draws, ("alpha", "beta", "eps"))
    return quality.convergence(draws) | quality.agreement(found, exact)


def rows(runs):
    """Tabulate our sizes from one process, and the peers' sizes from one process each."""
    table = []
    for key, of_key in by_contestant(runs).items():
        if key[0] != OURS:
            table.append(contestant(key, of_key) | judged(of_key))
            continue
        for size in of_key[0]["task"]["rows"]:
            again = [c for run in of_key for c in run["calls"] if c["kind"] == f"again {size}"]
            draws = quality.load(again[0]["draws"])
            found = quality.convergence(draws)
            table.append(
                {
                    "peer": OURS,
                    "label": size,
                    "sampling": spread([c["seconds"] for c in again]),
                    "gradients": spread([c["gradients"] for c in again]),
                    "compiled_again": spread([c["compiled"] for c in again]),
                    "truth_off": _truth_off(quality.moments(draws)),
                    "good": quality.converged(found),
                    **found,
                }
            )
    return table


def _truth_off(found):
    """Return the largest distance of a true value from the posterior mean, in posterior sds."""
    distance = (abs(m["mean"] - TRUTH[n.partition("[")[0]]) / m["sd"] for n, m in found.items())
    return float(max(distance))


def groups(runs):
    table = []
    for key, of_key in by_contestant(runs).items():
        row = contestant(key, of_key) | judged(of_key)
        row["truth_off"] = _truth_off(quality.moments(quality.load(of_key[0]["calls"][0]["draws"])))
        table.append(row)
    return table


def predictors(runs):
    """Compare the peers with our posterior, whose Monte Carlo error is taken into account."""
    found, table = by_contestant(runs), []
    for key, of_key in found.items():
        reference = None
        if key[0] != OURS:
            ours = found[(OURS, None, key[2])][0]["calls"][0]
            reference = quality.moments(quality.load(ours["draws"]))
        table.append(contestant(key, of_key) | judged(of_key, reference))
    return table


def datasets(runs):
    first, others = runs[0]["calls"]
    return [
        {
            "peer": OURS,
            "sets": others["sets"] + 1,
            "first": spread([first["seconds"]]),
            "again": spread([others["seconds"] / others["sets"]]),
            "total": spread([runs[0]["seconds"]]),
            "compiled_first": spread([first["compiled"]]),
            "compiled_again": spread([others["compiled"]]),
            "gradients_per_second": spread([others["gradients"] / others["seconds"]]),
        }
    ]


def kfold(runs):
    """Seconds of all folds of all models; the scores are those of exact refits, in any run."""
    again = calls(runs, "again")
    scores = {name: [c[name] for c in again] for name in ("hierarchical", "individual", "pooled")}
    finite = all(np.isfinite(values).all() for values in scores.values())
    best = all(h > p for h, p in zip(scores["hierarchical"], scores["pooled"], strict=True))
    return [
        {
            "peer": OURS,
            "again": spread([c["seconds"] for c in again]),
            "cpu_again": spread([c["cpu"] for c in again]),
            "elpd": spread(scores["hierarchical"]),
            "good": finite and best,
        }
    ]


def many(runs):
    """Right is what the verdict relies on, with the truth within the posterior."""
    table = []
    for key, of_key in by_contestant(runs).items():
        found = calls(of_key, "first") + calls(of_key, "again")
        after = calls(of_key, "first, coefficients") + calls(of_key, "again, coefficients")
        off = max(_truth_off_moments(call) for call in found)
        fine = all(c["reliable"] for c in found) and all(c["finite"] for c in after)
        table.append(
            {
                "peer": OURS,
                "variant": key[1],
                "scales": spread([c["seconds"] for c in found]),
                "cpu_scales": spread([c["cpu"] for c in found]),
                "coefficients": spread([c["seconds"] for c in after]),
                "cpu_coefficients": spread([c["cpu"] for c in after]),
                "nodes_ess": spread([c["ess"] for c in found]),
                "truth_off": off,
                "good": fine and off < quality.ALLOWED,
            }
        )
    return table


def _truth_off_moments(call):
    """Largest distance of the truth from a posterior mean, in posterior sds; of all but R."""
    truth = {**{name: [value] for name, value in TRUTH.items()}, "gamma": list(EFFECTS.values())}
    return max(
        abs(mean - true) / sd
        for name, means in call["means"].items()
        if name in truth
        for mean, sd, true in zip(means, call["sds"][name], truth[name], strict=True)
    )


TABLES = {
    t.__name__: t
    for t in (
        nuts,
        integrate,
        advi,
        tutorial,
        individual,
        rows,
        groups,
        predictors,
        datasets,
        kfold,
        many,
    )
}
