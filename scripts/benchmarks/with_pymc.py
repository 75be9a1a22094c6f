"""PyMC with its default sampler nutpie: the tutorial's models in three parametrisations."""

from benchmarks.worker import serve  # isort: skip  (it starts the clock)

import nutpie
import pymc as pm


def hierarchical(work, parametrisation):
    """Return the model; ``"mixed"`` centres the well-determined intercepts, but not the slopes."""
    groups, predictors = work.num_groups, work.x.shape[1]
    with pm.Model() as model:
        mu_alpha = pm.Normal("mu_alpha", 0.0, 1e4)
        sigma_alpha = pm.Uniform("sigma_alpha", 0.0, 100.0)
        mu_beta = pm.Normal("mu_beta", 0.0, 1e4, shape=predictors)
        sigma_beta = pm.Uniform("sigma_beta", 0.0, 100.0, shape=predictors)
        if parametrisation == "noncentered":
            unit = pm.Normal("unit_alpha", 0.0, 1.0, shape=groups)
            alpha = pm.Deterministic("alpha", mu_alpha + sigma_alpha * unit)
        else:
            alpha = pm.Normal("alpha", mu_alpha, sigma_alpha, shape=groups)
        if parametrisation == "centered":
            beta = pm.Normal("beta", mu_beta, sigma_beta, shape=(groups, predictors))
        else:
            unit = pm.Normal("unit_beta", 0.0, 1.0, shape=(groups, predictors))
            beta = pm.Deterministic("beta", mu_beta + sigma_beta * unit)
        eps = pm.Uniform("eps", 0.0, 100.0)
        mean = alpha[work.group] + (beta[work.group] * work.x).sum(axis=1)
        pm.Normal("y", mean, eps, observed=work.y)
    return model


def regression(y, x):
    """Return the regression of a single group, whose rows can be replaced."""
    with pm.Model() as model:
        alpha = pm.Normal("alpha", 0.0, 1e4)
        beta = pm.Normal("beta", 0.0, 1e4, shape=x.shape[1])
        eps = pm.Uniform("eps", 0.0, 100.0)
        mean = alpha + (beta * pm.Data("x", x)).sum(axis=1)
        pm.Normal("outcome", mean, eps, observed=pm.Data("y", y))
    return model


def sampled(work, model, seed):
    return pm.sample(
        work.task["draws"],
        chains=work.task["chains"],
        random_seed=seed,
        model=model,
        progressbar=False,
    )


def sampled_by_nutpie(work, compiled, seed, draws=None):
    return nutpie.sample(
        compiled,
        draws=draws or work.task["draws"],
        chains=work.task["chains"],
        seed=seed,
        progress_bar=False,
    )


def facts_of(tree):
    sites = ("mu_alpha", "sigma_alpha", "mu_beta", "sigma_beta", "eps", "alpha", "beta")
    posterior = tree["posterior"].to_dataset()
    draws = {name: posterior[name].values for name in sites if name in posterior}
    return draws, {"diverging": int(tree["sample_stats"]["diverging"].sum())}


def nuts(work):
    """Run NUTS; `again` repeats the call, `sampling` is nutpie with a compiled model."""
    model = hierarchical(work, work.task["variant"])
    for kind, seed in work.repeats():
        work.time(kind, lambda seed=seed: sampled(work, model, seed), facts_of)
    if work.task["again"]:
        compiled = nutpie.compile_pymc_model(model)
        sampled_by_nutpie(work, compiled, seed=0, draws=10)
        for kind, seed in work.repeats():
            if kind == "again":
                work.time(
                    "sampling", lambda seed=seed: sampled_by_nutpie(work, compiled, seed), facts_of
                )


def facts_of_guide(approximation):
    """Return location and scale in the coordinates of the optimiser, and moments from draws."""
    draws = {}
    for part, found in (("loc", approximation.mean), ("scale", approximation.std)):
        flat = found.eval()
        for name, places, shape, _ in approximation.ordering.values():
            site = name.removesuffix("_interval__")
            draws[f"{part} of {site}"] = flat[places].reshape(shape)
    sample = approximation.sample(10_000, random_seed=0)["posterior"].to_dataset()
    for name, values in sample.data_vars.items():
        draws[f"mean of {name}"] = values.values[0].mean(axis=0)
        draws[f"sd of {name}"] = values.values[0].std(axis=0)
    return draws, {"steps": len(approximation.hist), "num_particles": 1}


def advi(work):
    """Run ADVI; `again` takes as many further steps with the compiled optimiser."""
    steps = work.task["steps"]
    with hierarchical(work, "centered"):
        inference = pm.ADVI(random_seed=work.task["seed"])

    def run(kind):
        start = inference.fit if kind == "first" else inference.refine
        start(steps, progressbar=False)
        return inference.approx

    for kind, _ in work.repeats():
        work.time(kind, lambda kind=kind: run(kind), facts_of_guide)


def tutorial(work):
    """Run ADVI of the model as written, then NUTS of a parametrisation that nutpie can sample."""

    def both(seed):
        with hierarchical(work, "centered"):
            pm.fit(work.task["steps"], method="advi", random_seed=seed, progressbar=False)
        return sampled(work, hierarchical(work, "noncentered"), seed)

    for kind, seed in work.repeats():
        work.time(kind, lambda seed=seed: both(seed), facts_of)


def individual(work):
    """Loop over some groups, first with new models, then with one model whose data are replaced."""
    picked = {c: work.group == c for c in work.task["picked"]}
    compiled, seed = None, work.task["seed"]
    for code, rows in picked.items():
        y, x = work.y[rows], work.x[rows]
        work.time(f"group {code}", lambda y=y, x=x: sampled(work, regression(y, x), seed), facts_of)
    for code, rows in picked.items():
        y, x = work.y[rows], work.x[rows]
        compiled = compiled or nutpie.compile_pymc_model(regression(y, x))
        replaced = compiled.with_data(x=x, y=y)
        work.time(
            f"compiled, group {code}",
            lambda replaced=replaced: sampled_by_nutpie(work, replaced, seed),
            facts_of,
        )


if __name__ == "__main__":
    actions = (nuts, advi, tutorial, individual)
    serve({action.__name__: action for action in actions}, ["pymc", "nutpie", "pytensor"])
