"""The cases of the benchmark: which processes run, and in which order."""

from dataclasses import dataclass

import numpy as np

from benchmarks.process import LME4, NUMPYRO, OURS, PYMC, RSTANARM
from benchmarks.rows import Population
from radon_numpyro import load_radon


@dataclass(frozen=True)
class Settings:
    """Numbers of ``rounds`` of processes and of repeated calls in a process (``again``), and sizes.

    ``limit`` is the maximum number of seconds for R, and for a peer on growing data. The next size,
    with ten times as many rows, is skipped if ten times the last time would exceed the limit.
    """

    draws: int = 1000
    chains: int = 4
    rounds: int = 3
    again: int = 5
    steps: int = 100_000
    picked: int = 5
    rows: tuple[int, ...] = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
    groups: tuple[int, ...] = (100, 1_000, 10_000, 100_000)
    rows_per_group: int = 8
    predictors: tuple[int, ...] = (1, 2, 3, 4, 5)
    sets: int = 1000
    folds: int = 10
    many_groups: int = 125_066
    many_rows: int = 500_000
    limit: float = 600.0


QUICK = Settings(
    draws=200,
    chains=2,
    rounds=1,
    again=2,
    steps=1000,
    picked=2,
    rows=(1_000, 10_000),
    groups=(100, 1_000),
    predictors=(1, 2),
    sets=5,
    folds=2,
    many_groups=2_000,
    many_rows=8_000,
    limit=60.0,
)


def radon():
    data = load_radon()
    return data.y, data.x, data.group


def nuts(lab, s):
    """NUTS on the radon data, from the start of the process to checked draws."""
    rows, chains = radon(), {"draws": s.draws, "chains": s.chains}
    contestants = lab.present(OURS, PYMC, NUMPYRO)
    variant = {PYMC: "noncentered"}
    for n in range(s.rounds):
        for temperature in ("cold", "cached"):
            for name in contestants:
                lab.run(
                    name, "nuts", temperature, rows, variant=variant.get(name), seed=n, **chains
                )
        for name in lab.present(LME4, RSTANARM):
            lab.run(name, "nuts", "cold", rows, seed=n, limit=s.limit, **chains)
        for name in contestants:
            for form in ("noncentered", "centered", "mixed") if name == PYMC else (None,):
                again = {"again": s.again, "seed": 100 * n, "variant": form, **chains}
                lab.run(name, "nuts", "compiled", rows, **again)


def integrate(lab, s):
    """Integration over the scales, from a file to a checked posterior on disk, and its peers.

    lme4 reads the same file and writes its estimates; PyMC samples with nutpie.
    """
    rows, chains = radon(), {"draws": s.draws, "chains": s.chains}
    for n in range(s.rounds):
        # Run in pairs, so that changes in the speed of the machine affect both.
        for k in range(s.again):
            lab.run(OURS, "integrate", "cold", rows, seed=s.again * n + k, **chains)
            for name in lab.present(LME4):
                lab.run(name, "nuts", "cold", rows, seed=n, limit=s.limit, **chains)
        lab.run(OURS, "integrate", "compiled", rows, again=s.again, seed=100 * n, **chains)
        for name in lab.present(PYMC):
            lab.run(name, "nuts", "cold", rows, variant="noncentered", seed=n, **chains)
            for form in ("noncentered", "mixed"):
                again = {"again": s.again, "seed": 100 * n, "variant": form, **chains}
                lab.run(name, "nuts", "compiled", rows, **again)


def advi(lab, s):
    """ADVI of the model as written, with a maximum number of steps."""
    rows, contestants = radon(), lab.present(OURS, PYMC, NUMPYRO)
    for n in range(s.rounds):
        for name in contestants:
            lab.run(name, "advi", "cold", rows, steps=s.steps, seed=n)
        for name in contestants:
            # The others take much longer, and the same time in each call.
            again = s.again if name == OURS else 1
            lab.run(name, "advi", "compiled", rows, steps=s.steps, again=again, seed=100 * n)


def tutorial(lab, s):
    """ADVI and NUTS, as in the tutorial."""
    rows = radon()
    task = {"draws": s.draws, "chains": s.chains, "steps": s.steps}
    for n in range(s.rounds):
        for temperature in ("cold", "cached"):
            for name in lab.present(OURS, PYMC, NUMPYRO):
                lab.run(name, "tutorial", temperature, rows, seed=n, **task)


def picked_groups(group, number):
    """Return groups of different sizes, from the smallest to the largest."""
    order = np.argsort(np.bincount(group), kind="stable")
    return order[np.linspace(0, len(order) - 1, number).round().astype(int)].tolist()


def individual(lab, s):
    """A separate regression for each county: all at once, or in a peer's loop over a few."""
    rows = radon()
    task = {"draws": s.draws, "chains": s.chains, "picked": picked_groups(rows[2], s.picked)}
    for n in range(s.rounds):
        for name in lab.present(OURS, PYMC, NUMPYRO):
            lab.run(name, "individual", "cold", rows, seed=n, **task)
        lab.run(OURS, "individual", "compiled", rows, seed=100 * n, again=s.again, **task)


def rows(lab, s):
    """Increasing numbers of rows in 85 groups, as statistics for us and as rows for peers."""
    chains = {"draws": s.draws, "chains": s.chains}
    lab.run(OURS, "rows", "compiled", groups=85, rows=s.rows, again=s.again, **chains)
    for name in lab.present(PYMC, NUMPYRO):
        sizes = [(n, Population(85).draw(n)) for n in s.rows if n <= 100_000]
        _growing(lab, s, name, sizes, again=1)


def groups(lab, s):
    """Increasing numbers of small groups: mean and sd of every coefficient."""
    sizes = [(n, Population(n).draw(n * s.rows_per_group)) for n in s.groups]
    for size, drawn in sizes:
        lab.run(
            OURS,
            "groups",
            "cold",
            drawn,
            label=size,
            draws=s.draws,
            chains=s.chains,
            coefficients="summary",
        )
    for name in lab.present(PYMC, NUMPYRO):
        _growing(lab, s, name, [(n, drawn) for n, drawn in sizes if n <= 10_000])


def _growing(lab, s, name, sizes, **task):
    """Run a peer for each size in its own process, until the next size would take too long.

    The time in excess of the first size is assumed proportional to the size; the rest is
    compilation.
    """
    variant, least, expected = {PYMC: "noncentered"}.get(name), None, 0.0
    task |= {"draws": s.draws, "chains": s.chains, "variant": variant, "limit": s.limit}
    for size, drawn in sizes:
        if expected > s.limit:
            lab.say(f"  {name} {size}: left out, it would take about {expected:.0f} s")
            break
        run = lab.run(name, "nuts", "cold", drawn, label=size, cache=f"growing-{size}", **task)
        if run is None:
            break
        took = run["seconds"]
        least = least or took
        expected = least + 10.0 * (took - least)


def predictors(lab, s):
    """One to five predictors, with as many rows and groups as the radon data."""
    chains = {"draws": s.draws, "chains": s.chains}
    for k in s.predictors:
        drawn = Population(85, k).draw(919)
        for name in lab.present(OURS, PYMC, NUMPYRO):
            variant = {PYMC: "noncentered"}.get(name)
            task = {"label": k, "cache": f"predictors-{k}", "variant": variant, **chains}
            lab.run(name, "nuts", "cold", drawn, **task)
            lab.run(name, "nuts", "compiled", drawn, again=1, seed=100, **task)


def datasets(lab, s):
    """Many data sets of one shape, as in a bootstrap or a calibration."""
    chains = {"draws": s.draws, "chains": s.chains}
    lab.run(OURS, "datasets", "cold", groups=85, rows=919, sets=s.sets, **chains)


def kfold(lab, s):
    """K-fold cross-validation of three models on the radon data."""
    lab.run(OURS, "kfold", "compiled", radon(), again=s.again, folds=s.folds)


def many(lab, s):
    """Very many groups, of which statistics are there: scales, then every coefficient."""
    size = {"groups": s.many_groups, "rows": s.many_rows}
    for what_varies in ("intercepts", "slopes"):
        lab.run(OURS, "many", "compiled", variant=what_varies, again=1, **size)


CASES = {
    case.__name__: case
    for case in (
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
