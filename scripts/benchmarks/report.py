"""Write the result of the benchmark as Markdown and as a figure."""

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.ticker import LogFormatter

from benchmarks.process import NUMPYRO, OURS, PYMC, RSTANARM

TITLES = {
    "nuts": "NUTS alone, radon, from nothing to checked draws",
    "integrate": "Integration over the scales, radon, from a file to a checked posterior on disk",
    "advi": "ADVI alone, radon, 100 000 steps at the most",
    "tutorial": "ADVI and NUTS, radon, as the tutorial goes",
    "individual": "A regression for each of 85 counties on its own",
    "rows": "Ever more rows in 85 groups",
    "groups": "Ever more groups of 8 rows each",
    "predictors": "One to five predictors, 85 groups, 919 rows",
    "datasets": "Many data sets of one shape",
    "kfold": "K-fold cross-validation of three models, radon",
    "many": "125 066 groups, 500 000 rows, of which the statistics are there",
}
COLUMNS = {
    "peer": "",
    "label": "size",
    "cold": "process, cold (s)",
    "cached": "process, cached (s)",
    "cpu_cold": "CPU, cold (s)",
    "cpu_cached": "CPU, cached (s)",
    "first": "first call (s)",
    "again": "again in the process (s)",
    "sampling": "sampling, compiled (s)",
    "cpu_again": "CPU, again (s)",
    "scales": "scales (s)",
    "cpu_scales": "CPU, scales (s)",
    "coefficients": "coefficients (s)",
    "cpu_coefficients": "CPU, coefficients (s)",
    "nodes_ess": "effective nodes",
    "elpd": "log score, hierarchical",
    "loop": "loop of 85 (s)",
    "compiled_loop": "loop of 85, compiled once (s)",
    "total": "process (s)",
    "ess_bulk": "worst bulk ESS",
    "ess_tail": "worst tail ESS",
    "ess_per_second": "bulk ESS a second",
    "gradients_per_second": "gradients a second",
    "r_hat": "largest R-hat",
    "diverging": "divergences",
    "steps": "steps",
    "steps_per_second": "steps a second",
    "bound": "bound (nats)",
    "z": "furthest from the reference (MCSE)",
    "mean_off": "means off (posterior sd)",
    "sd_off": "sds off (relative)",
    "truth_off": "truth off (posterior sd)",
    "good": "right",
    "compiled_first": "programs compiled, first",
    "compiled_again": "programs compiled, again",
    "peak_mib": "memory (MiB)",
}
# Columns of a case; a semicolon starts another table.
SHOWN = {
    "nuts": "peer cold cached cpu_cold cpu_cached again sampling peak_mib; "
    "peer ess_bulk ess_tail ess_per_second r_hat diverging z mean_off sd_off good",
    "integrate": "peer cold cpu_cold sampling ess_bulk ess_per_second r_hat z mean_off sd_off "
    "good peak_mib",
    "advi": "peer cold first again steps steps_per_second bound mean_off sd_off peak_mib",
    "tutorial": "peer cold cached cpu_cold cpu_cached ess_bulk ess_tail r_hat diverging z good "
    "peak_mib",
    "individual": "peer cold again loop compiled_loop r_hat diverging z good peak_mib",
    "rows": "peer label first sampling ess_bulk r_hat truth_off good peak_mib",
    "groups": "peer label cold cpu_cold first ess_bulk r_hat truth_off good peak_mib",
    "predictors": "peer label cold sampling ess_bulk ess_per_second r_hat diverging z good",
    "datasets": "peer total first again gradients_per_second",
    "kfold": "peer again cpu_again elpd good",
    "many": "peer scales cpu_scales coefficients cpu_coefficients nodes_ess truth_off good",
}


def markdown(result):
    """Write the targets, and tables and notes for each case."""
    parts = ["# Benchmark", ""]
    cases = result["cases"]
    parts += [
        "Median and range (in brackets) of processes run in turn. `cold` starts with an empty "
        "compile cache, `cached` with that of the run before; a process counts from its start to "
        "its end, imports and checks included. The furthest of the population's means and sds from "
        "the exact posterior (or, with more predictors, from ours) is given in Monte Carlo "
        "standard errors; `right` says that in most runs R-hat is below 1.01 and bulk and tail ESS "
        "above 400, and in all of them that distance below 4.5.",
        "",
        *target_lines(result["targets"]),
    ]
    for name, case in cases.items():
        parts += ["", f"## {TITLES[name]}", ""]
        for shown in SHOWN[name].split(";"):
            parts += [*_table(shown.split(), case["table"]), ""]
        parts += _notes(case)
        parts += _lines_of(name, case["table"])
    return "\n".join(parts) + "\n"


def target_lines(rows):
    """Return the lines of the table of targets."""
    lines = ["| target | measured | | met | how |", "| --- | ---: | ---: | --- | --- |"]
    for row in rows:
        measured = "not run" if row["measured"] is None else _number(row["measured"])
        met = {None: "", True: "yes", False: "no"}[row["met"]]
        target = "" if row["target"] is None else f"{row['sense']} {_number(row['target'])}"
        lines.append(f"| {row['name']} | {measured} | {target} | {met} | {row['how']} |")
    return lines


def _table(shown, rows):
    columns = [c for c in shown if any(r.get(c) is not None for r in rows)]
    lines = ["| " + " | ".join(COLUMNS[c] for c in columns) + " |"]
    lines.append("| --- |" + " ---: |" * (len(columns) - 1))
    for row in rows:
        lines.append("| " + " | ".join(_cell(row, c) for c in columns) + " |")
    return lines


def _cell(row, column):
    value, number = row.get(column), _number
    if column == "peer":
        return f"{value}, {row['variant']}" if row.get("variant") else value
    if column == "r_hat":
        number = "{:.3f}".format
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, dict):
        return number(value)
    low, middle, high = (number(value[name]) for name in ("low", "median", "high"))
    return middle if low == high else f"{middle} ({low} to {high})"


def _number(value):
    """Format a number with three digits, without decimals if it is large."""
    if value is None:
        return ""
    if abs(value) >= 100:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.3g}"


def _notes(case):
    m, low, high = case["machine"], *case["load"]
    notes = [
        f"{case['date'][:10]}, {m['cpu']}, {m['cores']} cores, {m['memory_gib']} GiB, "
        f"{m['system']}, Python {m['python']}; load before the runs {low:.1f} to {high:.1f}. "
        + ", ".join(f"{name} {version}" for name, version in case["versions"].items())
        + "."
    ]
    if any(row["peer"] == RSTANARM for row in case["table"]):
        notes.append("rstanarm has its own priors, and so another posterior; lme4 has estimates.")
    notes += [f"Without {name}: {reason}." for name, reason in case["absent"].items()]
    for run in case["failed"]:
        notes.append(f"{run['peer']} {run['task'].get('label') or ''}: {run['failed']}.")
    return notes


def _lines_of(name, table):
    """Return lines on facts that the table of a case does not show."""
    ours = next(row for row in table if row["peer"] == OURS)
    if ours.get("compiled_first") is None or ours.get("compiled_again") is None:
        return []
    again = ours["compiled_again"]["high"]
    return [
        f"{OURS}: {ours['compiled_first']['median']:.0f} programs compiled or read from the cache "
        f"by the first call, {again:.0f} by those after it."
    ]


COLOURS = dict(zip((OURS, PYMC, NUMPYRO), sns.color_palette("colorblind", 3), strict=True))


def figure(result):
    """Draw seconds by case, effective draws per second, and growth with rows and groups."""
    cases = result["cases"]
    growing = [
        (name, column, title)
        for name, column, title in (
            ("rows", "sampling", "Compiled fit by number of rows"),
            ("groups", "cold", "Process, cold, by number of groups"),
        )
        if name in cases
    ]
    places = [["processes", "effective"], [name for name, *_ in growing]]
    mosaic = [row if len(row) == 2 else row * 2 for row in places if row]
    drawn, axes = plt.subplot_mosaic(mosaic, figsize=(10, 3.5 * len(mosaic)), layout="constrained")
    _processes(axes["processes"], cases)
    _effective(axes["effective"], cases)
    for name, column, title in growing:
        _growth(axes[name], cases[name], column, title)
    sns.despine(drawn)
    plt.close(drawn)
    return drawn


def _points(axis, entries, title, unit):
    """Draw entries (label, peer, spread) as medians, with their ranges as lines."""
    axis.set_title(title, loc="left")
    axis.set_xlabel(unit)
    for place, (_, peer, found) in enumerate(entries):
        axis.plot([found["low"], found["high"]], [place] * 2, color=COLOURS[peer], lw=3, alpha=0.5)
        axis.plot(found["median"], place, "o", color=COLOURS[peer])
        axis.text(found["high"], place, f"   {_number(found['median'])}", va="center", fontsize=8)
    axis.set_yticks(range(len(entries)), [label for label, *_ in entries], fontsize=8)
    axis.invert_yaxis()
    axis.margins(x=0.2)


def _processes(axis, cases):
    entries = []
    for name, column, label in (
        ("nuts", "cold", "NUTS, cold"),
        ("nuts", "cached", "NUTS, cached"),
        ("advi", "cold", "ADVI, cold"),
        ("tutorial", "cold", "both, cold"),
    ):
        for row in cases.get(name, {"table": ()})["table"]:
            if row["peer"] in COLOURS and row.get(column):
                entries.append((f"{label}: {row['peer']}", row["peer"], row[column]))
    _points(axis, entries, "Whole process, radon", "seconds")
    axis.set_xlim(left=0)


def _effective(axis, cases):
    rows = [r for r in cases.get("nuts", {"table": ()})["table"] if r["peer"] in COLOURS]
    entries = []
    for row in rows:
        if row.get("ess_per_second"):
            doubt = "" if row["good"] else ", not converged"
            name = f"{row['peer']} {row['variant'] or ''}".strip() + doubt
            entries.append((name, row["peer"], row["ess_per_second"]))
    _points(axis, entries, "Worst bulk ESS a second, compiled", "effective draws a second")
    if entries:
        axis.set_xscale("log")


def _growth(axis, case, column, title):
    axis.set_title(title, loc="left")
    axis.set_xlabel(title.rpartition(" ")[2])
    axis.set_ylabel("seconds")
    for peer, colour in COLOURS.items():
        rows = [r for r in case["table"] if r["peer"] == peer and r.get(column)]
        if rows:
            sizes = [row["label"] for row in rows]
            low, middle, high = ([r[column][k] for r in rows] for k in ("low", "median", "high"))
            axis.plot(sizes, middle, marker="o", color=colour, label=peer)
            axis.fill_between(sizes, low, high, color=colour, alpha=0.2, lw=0)
    if axis.lines:
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(LogFormatter())
        axis.yaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(1, 0.4)))
        axis.legend(frameon=False)
