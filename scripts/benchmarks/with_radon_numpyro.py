"""This package, by its public functions only."""

from benchmarks.worker import serve  # isort: skip  (it starts the clock)

import numpy as np
import pandas as pd

from benchmarks.rows import Population, many_groups
from radon_numpyro import GroupedData, GroupStatistics, Priors, diagnose, fit, save_fit

CHUNK = 1_000_000
PRIORS = Priors.tutorial()


def grouped(y, x, group, num_groups):
    """Return the data with the group codes of the rows, as the peers have them."""
    return GroupedData.from_arrays(y, x, pd.Categorical.from_codes(group, np.arange(num_groups)))


def rows_of(work):
    return grouped(work.y, work.x, work.group, work.num_groups)


def settings(work, seed):
    names = ("draws", "chains", "coefficients")
    given = {name: work.task[name] for name in names if name in work.task}
    return {"priors": PRIORS, "seed": seed, "progress_bar": False, **given}


def fitted(work, data, seed, model="hierarchical", steps=0, **options):
    """Fit; without ADVI steps, NUTS starts from the closed-form guide."""
    return fit(data, model=model, num_advi_steps=steps, **settings(work, seed), **options)


def checked(*arguments, **options):
    """Fit and diagnose, because PyMC also checks its draws before it returns."""
    tree = fitted(*arguments, **options)
    return tree, diagnose(tree)


def facts_of(tree):
    """Return the draws, and the number of gradients of NUTS in warm-up and sampling."""
    draws = {name: values.values for name, values in tree["posterior"].data_vars.items()}
    if "coefficients" in tree.children:
        for moment in ("means", "sds"):
            sites = tree[f"coefficients/{moment}"].data_vars
            draws |= {f"{moment} of {name}": values.values for name, values in sites.items()}
    taken = (tree.attrs.get(f"{phase}_gradients", 0) for phase in ("warmup", "sampling"))
    return draws, {"gradients": int(sum(taken))}


def facts_of_checked(found):
    tree, diagnosis = found
    draws, facts = facts_of(tree)
    return draws, facts | {"trusted": diagnosis.ok, "diverging": diagnosis.num_divergences}


def facts_of_draws(found):
    taken = found.warmup_gradients + int(found.stats["n_steps"].sum())
    return dict(found.draws), {"gradients": taken, "diverging": int(found.stats["diverging"].sum())}


def facts_of_guide(found):
    parts = {"loc": found.locs, "scale": found.scales, "mean": found.means, "sd": found.sds}
    draws = {f"{part} of {name}": v for part, sites in parts.items() for name, v in sites.items()}
    facts = {"steps": found.num_steps, "num_particles": found.num_particles}
    return draws, facts | {"converged": found.converged, "khat": found.khat}


def nuts(work):
    """Run NUTS; `sampling` is from a guide to draws, as nutpie samples a compiled model."""
    data = rows_of(work)
    for kind, seed in work.repeats():
        work.time(kind, lambda seed=seed: checked(work, data, seed), facts_of_checked)
    if work.task["again"]:
        from radon_numpyro import fit_advi, sample_nuts

        statistics = GroupStatistics.from_data(data)
        guide = fit_advi(statistics, num_steps=0, priors=PRIORS, progress_bar=False)
        for kind, seed in work.repeats():
            if kind == "again":
                work.time(
                    "sampling",
                    lambda seed=seed: sample_nuts(statistics, guide, **settings(work, seed)),
                    facts_of_draws,
                )


def integrate(work):
    """Integrate from a file to a checked posterior on disk; repeats go from statistics to draws."""

    def read():
        rows = pd.read_csv(work.folder / "rows.csv")
        return GroupedData.from_frame(rows, y="y", x="x1", group="group")

    def whole(seed):
        tree, diagnosis = checked(work, read(), seed, method="integrate")
        save_fit(tree, work.folder / "fit.nc")
        return tree, diagnosis

    def facts(tree, **more):
        return facts_of(tree)[0], {"nodes_ess": float(tree["nodes"].attrs["ess"]), **more}

    statistics = GroupStatistics.from_data(read()) if work.task["again"] else None
    for kind, seed in work.repeats():
        if kind == "first":
            work.time(
                kind,
                lambda seed=seed: whole(seed),
                lambda found: facts(found[0], trusted=found[1].ok),
            )
        else:
            work.time(
                "sampling",
                lambda seed=seed: fitted(work, statistics, seed, method="integrate"),
                facts,
            )


def advi(work):
    from radon_numpyro import fit_advi

    data, steps = rows_of(work), work.task["steps"]
    for kind, seed in work.repeats():
        work.time(
            kind,
            lambda seed=seed: fit_advi(
                data, num_steps=steps, seed=seed, priors=PRIORS, progress_bar=False
            ),
            facts_of_guide,
        )


def tutorial(work):
    data, steps = rows_of(work), work.task["steps"]
    for kind, seed in work.repeats():
        work.time(kind, lambda seed=seed: checked(work, data, seed, steps=steps), facts_of_checked)


def individual(work):
    """Fit all groups at once with the individual model, by their distribution functions."""
    data = rows_of(work)
    for kind, seed in work.repeats():
        work.time(
            kind,
            lambda seed=seed: checked(work, data, seed, "individual", method="integrate"),
            facts_of_checked,
        )


def kfold(work):
    """K-fold cross-validation of the three models, in one process."""
    from radon_numpyro.comparison.cross_validation import kfold as cross_validated

    data = rows_of(work)
    models = {name: (name, PRIORS) for name in ("hierarchical", "individual", "pooled")}

    def facts(found):
        # Without a proper posterior of eps a house has no score under the individual model.
        return {}, {name: float(np.nansum(held.log_score)) for name, held in found.items()}

    for kind, seed in work.repeats():
        work.time(
            kind,
            lambda seed=seed: cross_validated(data, models, folds=work.task["folds"], seed=seed),
            facts,
        )


def many(work):
    """From statistics of very many groups to the scales, and on to every group's coefficients."""
    from radon_numpyro.gaussian.normal_equations import NormalEquations
    from radon_numpyro.inference.integration.resampling import moments_over_nodes
    from radon_numpyro.inference.integration.scale_posterior import integrate_scales

    slopes = work.task["variant"] == "slopes"
    table = many_groups(work.task["groups"], work.task["rows"], slopes=slopes)
    varying = "x + colour + size + depth + (1 + x | group)"
    formula = "y ~ " + (varying if slopes else "colour + size + depth + (1 | group)")
    data = GroupedData.from_formula(formula, pd.DataFrame(table))
    statistics = GroupStatistics.from_data(data)
    priors = Priors.weakly_informative(statistics)

    def facts_of_scales(found):
        moments = found.moments()
        facts = {"reliable": found.reliable, "ess": found.ess}
        for k, kind in enumerate(("means", "sds")):
            facts[kind] = {name: np.ravel(pair[k]).tolist() for name, pair in moments.items()}
        return {}, facts

    def facts_of_coefficients(found):
        return {}, {"finite": all(np.isfinite(pair).all() for pair in found.values())}

    def timed(kind, seed):
        def scales():
            return integrate_scales(NormalEquations.from_statistics(statistics), priors, seed=seed)

        posterior = work.time(kind, scales, facts_of_scales)
        work.time(
            f"{kind}, coefficients",
            lambda: moments_over_nodes(posterior, seed=seed),
            facts_of_coefficients,
        )

    for kind, seed in work.repeats():
        timed(kind, seed)


def groups(work):
    """Fit from rows to the mean and sd of every coefficient."""
    data = rows_of(work)
    for kind, seed in work.repeats():
        work.time(kind, lambda seed=seed: fitted(work, data, seed), facts_of)


def reduced(population, size):
    """Return statistics of any number of rows, with at most a million of them in memory."""
    num_groups, statistics = len(population.alpha), None
    for chunk in range(max(1, size // CHUNK)):
        drawn = grouped(*population.draw(min(size, CHUNK), chunk), num_groups)
        statistics = statistics.update(drawn) if chunk else GroupStatistics.from_data(drawn)
    return statistics


def rows(work):
    """Fit statistics of increasing numbers of rows in turn; the reduction is not timed."""
    population = Population(work.task["groups"])
    statistics = {size: reduced(population, size) for size in work.task["rows"]}
    for kind, seed in work.repeats():
        for size, reduction in statistics.items():
            work.time(
                f"{kind} {size}",
                lambda seed=seed, data=reduction: fitted(work, data, seed),
                lambda tree, size=size: (facts_of(tree)[0], facts_of(tree)[1] | {"rows": size}),
            )


def datasets(work):
    """Fit data sets of one shape in sequence, all with the programs that the first compiled."""
    num_groups = work.task["groups"]
    drawn = (
        Population(num_groups, seed=n).draw(work.task["rows"]) for n in range(work.task["sets"])
    )
    first, *others = (GroupStatistics.from_data(grouped(*rows, num_groups)) for rows in drawn)
    work.time("first", lambda: fitted(work, first, 0), facts_of)
    work.time(
        "others",
        lambda: sum(
            facts_of(fitted(work, data, n))[1]["gradients"] for n, data in enumerate(others)
        ),
        lambda taken: ({}, {"sets": len(others), "gradients": taken}),
    )


if __name__ == "__main__":
    with_jax = (nuts, advi, tutorial, groups, rows, datasets)
    actions = (*with_jax, integrate, individual, kfold, many)
    serve(
        {action.__name__: action for action in actions},
        ["radon-numpyro", "jax", "numpyro", "arviz"],
        with_jax=[action.__name__ for action in with_jax],
    )
