"""Count which formulas of a list are accepted, by trying each on suitable simulated data.

    .venv/bin/python scripts/formula_share.py FILE.tsv [--fit] [--out FILE.json]

FILE has the columns ``formula``, ``family`` and ``extras`` (``none``, or further arguments of the
call: ``weights`` and ``se`` are taken from columns of these names, and an ``offset`` becomes a term
of the formula). Variables are named y, x1, x2,
... (numbers), c1, ... (categories) and g1, ... (groupings). Formulas of other families than
gaussian are counted but not tried. A formula is accepted, or refused with a message; the shares by
kind of refusal are printed.

With ``--fit``, the coefficients of each accepted formula are drawn from a Normal, an outcome is
simulated from them, and the model is fitted. The distances of posterior means from the true values,
in posterior standard deviations, should follow a standard Normal.
"""

import argparse
import collections
import csv
import json
import re
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from radon_numpyro import GroupedData, fit
from radon_numpyro.data.design import INTERCEPT
from radon_numpyro.model.correlations import correlation_root

ROWS, GROUPS, LEVELS = 1200, 40, 3
# Words in the message of a refusal, and the kind of refusal.
KINDS = {
    "several groupings|nested|grouping of several columns|several memberships": "several groupings",
    "options of a grouping": "known covariance of groups",
    "smooth|splines": "smooth terms",
    "autocorrelated|ar\\(": "autocorrelation",
}
MAX_DISTANCE = 4.5


def frame_for(formula, rng):
    """Simulate rows of every variable that the formula names; numbers are positive."""
    names = sorted(set(re.findall(r"\b[xcg]\d+\b", formula)))
    frame = {"y": rng.lognormal(0.0, 0.5, ROWS)}
    frame |= {"weights": rng.uniform(0.5, 2.0, ROWS), "se": rng.uniform(0.5, 1.5, ROWS)}
    groupings = {n for n in names if re.search(rf"\|[^)]*\b{n}\b", formula)}
    for name in names:
        if name in groupings:
            codes = rng.permutation(np.arange(ROWS) % GROUPS)
            frame[name] = [f"{name}-{code}" for code in codes]
        elif name[0] == "x":
            frame[name] = rng.uniform(0.5, 3.0, ROWS)
        else:
            frame[name] = [f"level {code}" for code in rng.integers(LEVELS, size=ROWS)]
    return pd.DataFrame(frame)


def kind_of(message):
    """Return the kind of refusal from its message."""
    found = [kind for words, kind in KINDS.items() if re.search(words, message)]
    return found[0] if found else "other"


def recovered(data, rng):
    """Return distances of posterior means from the coefficients of the simulation."""
    design, num_groups = data.labels.design, data.num_groups
    columns = dict(zip(design.predictors, np.asarray(data.x).T, strict=True))
    columns[INTERCEPT] = np.ones(data.num_rows)
    size = {
        name: max(values.std(), np.abs(values).mean() * 0.1) for name, values in columns.items()
    }
    truth = {name: rng.normal(0.0, 1.0 / size[name]) for name in design.population}
    y = sum((columns[name] * value for name, value in truth.items()), np.zeros(data.num_rows))
    root = np.eye(len(design.varying))
    if design.pairs:
        root = correlation_root(design, rng.uniform(-0.6, 0.6, len(design.pairs)))
    deviations = root @ rng.normal(size=(len(design.varying), num_groups))
    for name, own in zip(design.varying, deviations, strict=True):
        y = y + columns[name] * 0.5 / size[name] * own[np.asarray(data.group)]
    scatter = 1.0 if design.known_errors else 0.8
    precision = 1.0 if data.precision is None else np.asarray(data.precision)
    y = y + scatter / np.sqrt(precision) * rng.normal(size=data.num_rows)
    with warnings.catch_warnings(action="ignore"):
        tree = fit(
            replace(data, y=y), draws=250, num_warmup=300, num_advi_steps=0, progress_bar=False
        )
    posterior = tree["posterior"].to_dataset()
    sites = [
        (("mu_alpha",), (INTERCEPT,)),
        (("mu_beta",), design.means),
        (("gamma",), design.fixed),
    ]
    distances = {} if design.known_errors else {"eps": _distance(posterior["eps"], scatter)}
    for (site,), names in sites:
        if site not in posterior:
            continue
        for k, name in enumerate(names):
            draws = posterior[site] if posterior[site].ndim == 2 else posterior[site][..., k]
            distances[name] = _distance(draws, truth[name])
    return distances


def _distance(draws, truth):
    return float((draws.mean() - truth) / draws.std())


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--fit", action="store_true", help="simulate, fit, and look for the truth")
    parser.add_argument("--out", type=Path, help="JSON file for what became of each formula")
    options = parser.parse_args()
    with options.file.open(newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t"))
    rng, found = np.random.default_rng(0), []
    for row in rows:
        formula, family, extras = row["formula"], row["family"], row["extras"]
        if family != "gaussian":
            found.append({"formula": formula, "kind": "another family"})
            continue
        known = {name: name for name in ("weights", "se") if extras == name}
        taken = extras in ("none", "offset") or known
        if extras == "offset":
            formula += " + offset(x9)"
        one = {"formula": formula, "kind": "taken" if taken else extras.split(";")[0]}
        try:
            data = GroupedData.from_formula(formula, frame_for(formula, rng), **known)
        except (TypeError, ValueError) as error:
            one |= {"kind": kind_of(str(error)), "sentence": str(error)}
        else:
            if options.fit and one["kind"] == "taken":
                one["distances"] = recovered(data, rng)
                worst = max(one["distances"].values(), key=abs)
                print(f"{worst:6.2f}  {formula}", file=sys.stderr, flush=True)
        found.append(one)
    counts = collections.Counter(one["kind"] for one in found)
    tried = len(found) - counts.pop("another family", 0)
    print(f"{len(found)} formulas, {tried} with a Gaussian outcome")
    for kind, count in counts.most_common():
        print(f"{count:5d}  {count / tried:5.1%}  {kind}")
    distances = [d for one in found for d in one.get("distances", {}).values()]
    if distances:
        rms = float(np.sqrt(np.mean(np.square(distances))))
        far = sum(abs(d) > MAX_DISTANCE for d in distances)
        print(f"{len(distances)} coefficients: root mean square distance {rms:.2f}, {far} too far")
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
