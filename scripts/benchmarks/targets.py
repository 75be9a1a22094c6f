"""The speed targets of this package, with the measured values from the cases."""

from benchmarks.process import LME4, OURS, PYMC

MEMORY_MIB = 4e9 / 2**20


def targets(cases):
    """Return a row for each target: name, measured, target, met, how.

    ``measured`` is None if the case was not run. A target is met only if the draws are from the
    right posterior.
    """
    return [_row(name, cases, *entry) for name, entry in TARGETS.items()]


def _row(name, cases, case, most, at_least, measure, how):
    row = {"name": name, "measured": None, "target": most, "met": None, "how": how}
    row["sense"] = ">=" if at_least else "<="
    if case not in cases:
        return row | {"how": f"not run: {how}"}
    found = measure(cases[case]["table"])
    if found is None:
        return row | {"how": f"no peer there, or none that converged: {how}"}
    measured, good, *facts = found
    row |= {"measured": measured, "case": case, **dict(*facts)}
    if most is not None:
        within = measured >= most if at_least else measured <= most
        row["met"] = bool(within and good)
    row["date"] = cases[case]["date"]
    if cases[case]["quick"]:
        return row | {"met": None, "how": f"tiny sizes, which tell nothing: {how}"}
    return row if good else row | {"how": f"{how}; the result did not pass its checks"}


def _find(table, peer, **wanted):
    rows = [r for r in table if r["peer"] == peer]
    rows = [r for r in rows if all(r.get(name) == value for name, value in wanted.items())]
    return rows[0] if rows else None


def _ratio(name, theirs=None, variant=None):
    """Return a function for the ratio of our median to that of PyMC."""

    def measure(table):
        ours, other = _find(table, OURS), _find(table, PYMC, variant=variant)
        if ours is None or other is None:
            return None
        ratio = ours[name]["median"] / other[theirs or name]["median"]
        return ratio, ours.get("good", ours.get("converged"))

    return measure


def _cpu_over_lme4(table):
    ours, other = _find(table, OURS), _find(table, LME4)
    if ours is None or other is None:
        return None
    return ours["cpu_cold"]["median"] / other["cpu_cold"]["median"], ours["good"]


def _ess_per_second(table):
    ours = _find(table, OURS)
    theirs = [r for r in table if r["peer"] == PYMC and r["good"]]
    if ours is None or not theirs:
        return None
    best = max(theirs, key=lambda r: r["ess_per_second"]["median"])
    ratio = ours["ess_per_second"]["median"] / best["ess_per_second"]["median"]
    return ratio, ours["good"], {"best": best["variant"]}


def _rows_growth(table):
    ours = sorted((r for r in table if r["peer"] == OURS), key=lambda r: r["label"])
    ratio = ours[-1]["sampling"]["median"] / ours[0]["sampling"]["median"]
    sizes = {"from_rows": ours[0]["label"], "to_rows": ours[-1]["label"]}
    return ratio, all(r["good"] for r in ours), sizes


def _largest_groups(table):
    ours = max((r for r in table if r["peer"] == OURS), key=lambda r: r["label"])
    memory = ours["peak_mib"]["median"]
    facts = {"groups": ours["label"], "memory_mib": memory}
    return ours["cold"]["median"], ours["good"] and memory < MEMORY_MIB, facts


def _cpu_of_many(name, variant=None):
    """Median CPU seconds; of all designs, those of the slowest."""

    def measure(table):
        rows = [r for r in table if r["peer"] == OURS and variant in (None, r["variant"])]
        slowest = max(rows, key=lambda r: r[name]["median"])
        return slowest[name]["median"], all(r["good"] for r in rows)

    return measure


def _cpu_of_kfold(table):
    ours = _find(table, OURS)
    return ours["cpu_again"]["median"], ours["good"]


NONCENTERED = "noncentered"

# For each target: the case; the target, or None if the value is only recorded; whether the target
# is a lower bound; the function that computes the value; and its description.
TARGETS = {
    "nuts_process_cold": (
        "nuts",
        0.4,
        False,
        _ratio("cold", variant=NONCENTERED),
        "whole process with empty compile caches, NUTS alone with its checks, over PyMC with "
        "nutpie, non-centred",
    ),
    "nuts_process_cached": (
        "nuts",
        None,
        False,
        _ratio("cached", variant=NONCENTERED),
        "the same with the compile caches that the run before left, on both sides",
    ),
    "ess_per_second": (
        "nuts",
        25.0,
        True,
        _ess_per_second,
        "worst bulk ESS of any parameter a second of compiled sampling, warm-up included, over "
        "the best of nutpie's parametrisations that converged",
    ),
    "integrate_process_lme4": (
        "integrate",
        1.2,
        False,
        _cpu_over_lme4,
        "CPU seconds of a whole process, from a file to a checked posterior on disk, over those of "
        "Rscript with lme4, from the same file to its estimates",
    ),
    "integrate_process_cold": (
        "integrate",
        0.1,
        False,
        _ratio("cold", variant=NONCENTERED),
        "seconds of the same process over PyMC with nutpie, non-centred, with empty caches",
    ),
    "integrate_ess_per_second": (
        "integrate",
        30.0,
        True,
        _ess_per_second,
        "worst bulk ESS of any parameter, but no more than that of the nodes, a second of "
        "integration and draws in a process, over the best of nutpie's parametrisations that "
        "converged",
    ),
    "advi_cold": (
        "advi",
        0.25,
        False,
        _ratio("first", variant=None),
        "first ADVI of a process with empty caches, imports left out, 100 000 steps allowed, of "
        "which ours takes as many as it needs, over pm.fit of 100 000",
    ),
    "advi_compiled": (
        "advi",
        0.05,
        False,
        _ratio("again", variant=None),
        "ADVI again in the same process, over 100 000 further steps of PyMC's compiled optimiser",
    ),
    "tutorial_process_cold": (
        "tutorial",
        0.35,
        False,
        _ratio("cold", variant=None),
        "whole process with empty caches, ADVI and NUTS, over pm.fit and pm.sample (non-centred)",
    ),
    "individual_85": (
        "individual",
        0.01,
        False,
        _ratio("cold", "loop"),
        "whole process with empty caches, 85 regressions at once, over a PyMC loop of which a few "
        "counties are run: the first, and 84 times the mean of the others",
    ),
    "rows_growth": (
        "rows",
        1.2,
        False,
        _rows_growth,
        "compiled fit of the statistics of the most rows over that of the fewest",
    ),
    "groups_1e5": (
        "groups",
        60.0,
        False,
        _largest_groups,
        "seconds of a whole process with empty caches that ends with the mean and sd of every "
        "group's coefficients, in less than 4 GB",
    ),
    "kfold_10": (
        "kfold",
        2.0,
        False,
        _cpu_of_kfold,
        "CPU seconds of 10 folds of three models on the radon data, in a process",
    ),
    "groups_125k_intercepts": (
        "many",
        0.3,
        False,
        _cpu_of_many("cpu_scales", "intercepts"),
        "CPU seconds from the statistics of 125 066 groups, with three columns that do not vary, "
        "to the posterior of the scales where intercepts vary",
    ),
    "groups_125k_slopes": (
        "many",
        5.0,
        False,
        _cpu_of_many("cpu_scales", "slopes"),
        "the same where slopes of a continuous column vary too, correlated",
    ),
    "groups_125k_coefficients": (
        "many",
        3.0,
        False,
        _cpu_of_many("cpu_coefficients"),
        "CPU seconds more for means and sds of every coefficient, in the slower of these",
    ),
}
