"""Measure what starting NUTS from ADVI gains: gradients to the same effective sample size.

For each method of the hierarchical model on the radon data, NUTS starts from the guide (its draws
and variances) or as by default in NumPyro (uniform on (-2, 2), identity mass matrix), with a short
or a long warm-up. The cost is

    warm-up gradients + 1000 * sampling gradients / smallest bulk or tail ESS

for the worst parameter, that is, the gradients to reach an ESS of 1000. The median over seeds is
shown. The guide needs gradients too (steps times particles), the same for every row; "closed form"
is the guide at its start, which needs none. Prints a Markdown table.

    .venv/bin/python scripts/benchmark_warm_start.py
"""

import warnings

import arviz as az
import numpy as np

from radon_numpyro import Priors, fit_advi, load_radon, sample_nuts

TARGET = 1000
SEEDS = (0, 1, 2)
METHODS = ("marginal", "noncentered", "centered")
WARMUPS = (100, 500)


def cost(guide, data, priors, seed, **settings):
    """Return the gradients to the target, the largest R-hat, and the number of divergences."""
    found = sample_nuts(data, guide, priors=priors, seed=seed, progress_bar=False, **settings)
    tree = az.from_dict({"posterior": dict(found.draws)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = az.summary(tree, kind="diagnostics", round_to="none").astype(float)
    ess = table[["ess_bulk", "ess_tail"]].min(axis=None)
    gradients = found.warmup_gradients + TARGET * found.stats["n_steps"].sum() / ess
    return gradients, table["r_hat"].max(), found.stats["diverging"].sum()


def main():
    data, priors = load_radon(), Priors.tutorial()
    fitted = fit_advi(data, priors=priors, progress_bar=False)
    closed = fit_advi(data, priors=priors, num_steps=0, progress_bar=False)
    print(f"ADVI: {fitted.num_steps} steps x {fitted.num_particles} particles")
    print("| method | warm-up | start | gradients to ESS 1000 | R-hat | divergences |")
    print("| --- | ---: | --- | ---: | ---: | ---: |")
    for method in METHODS:
        for num_warmup in WARMUPS:
            for name, guide, use in (
                ("ADVI", fitted, True),
                ("closed form", closed, True),
                ("NumPyro's default", fitted, False),
            ):
                runs = [
                    cost(
                        guide,
                        data,
                        priors,
                        seed,
                        method=method,
                        num_warmup=num_warmup,
                        use_guide=use,
                    )
                    for seed in SEEDS
                ]
                gradients, rhat, divergences = np.median(runs, axis=0)
                print(
                    f"| {method} | {num_warmup} | {name} | {gradients:,.0f} | {rhat:.3f} "
                    f"| {divergences:.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
