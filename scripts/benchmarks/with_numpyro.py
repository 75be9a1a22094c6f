"""Plain NumPyro: the tutorial's models written by hand, with default settings."""

from benchmarks.worker import serve  # isort: skip  (it starts the clock)

import warnings

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from numpyro.diagnostics import summary
from numpyro.infer import MCMC, NUTS, SVI, Trace_ELBO
from numpyro.infer.autoguide import AutoNormal
from numpyro.infer.reparam import LocScaleReparam

# By default chains run in parallel, one on each device; on a single device they run in sequence.
warnings.filterwarnings("ignore", "There are not enough devices to run parallel chains")


def model(x, group, num_groups, y=None):
    """The model as written in the tutorial, which is centred."""
    mu_alpha = numpyro.sample("mu_alpha", dist.Normal(0.0, 1e4))
    sigma_alpha = numpyro.sample("sigma_alpha", dist.Uniform(0.0, 100.0))
    with numpyro.plate("predictor", x.shape[1]):
        mu_beta = numpyro.sample("mu_beta", dist.Normal(0.0, 1e4))
        sigma_beta = numpyro.sample("sigma_beta", dist.Uniform(0.0, 100.0))
    with numpyro.plate("group", num_groups):
        alpha = numpyro.sample("alpha", dist.Normal(mu_alpha, sigma_alpha))
        beta = numpyro.sample("beta", dist.Normal(mu_beta, sigma_beta).to_event(1))
    eps = numpyro.sample("eps", dist.Uniform(0.0, 100.0))
    mean = alpha[group] + (beta[group] * x).sum(axis=1)
    with numpyro.plate("row", len(group)):
        numpyro.sample("y", dist.Normal(mean, eps), obs=y)


noncentered = numpyro.handlers.reparam(
    model, config={"alpha": LocScaleReparam(0.0), "beta": LocScaleReparam(0.0)}
)


def regression(x, y=None):
    """The regression of a single group."""
    alpha = numpyro.sample("alpha", dist.Normal(0.0, 1e4))
    beta = numpyro.sample("beta", dist.Normal(0.0, 1e4).expand((x.shape[1],)).to_event(1))
    eps = numpyro.sample("eps", dist.Uniform(0.0, 100.0))
    numpyro.sample("outcome", dist.Normal(alpha + x @ beta, eps), obs=y)


def sampler(work, function):
    """Return a sampler with as many warm-up iterations as draws, as in NumPyro's examples."""
    draws, chains = work.task["draws"], work.task["chains"]
    kernel = NUTS(function)
    return MCMC(kernel, num_warmup=draws, num_samples=draws, num_chains=chains, progress_bar=False)


def checked(mcmc, seed, *arguments):
    mcmc.run(jax.random.key(seed), *arguments)
    samples = mcmc.get_samples(group_by_chain=True)
    summary(samples)
    return mcmc, samples


def facts_of(found):
    mcmc, samples = found
    draws = {name: values for name, values in samples.items() if not name.endswith("_decentered")}
    return draws, {"diverging": int(mcmc.get_extra_fields()["diverging"].sum())}


def arguments_of(work):
    return jnp.asarray(work.x), jnp.asarray(work.group), work.num_groups, jnp.asarray(work.y)


def nuts(work):
    """Run NUTS; `again` runs the same object once more, which is also `sampling`."""
    mcmc, arguments = sampler(work, noncentered), arguments_of(work)
    for kind, seed in work.repeats():
        work.time(kind, lambda seed=seed: checked(mcmc, seed, *arguments), facts_of)


def optimised(work, seed):
    guide = AutoNormal(model)
    svi = SVI(model, guide, numpyro.optim.Adam(1e-3), Trace_ELBO())
    steps = work.task["steps"]
    found = svi.run(jax.random.key(seed), steps, *arguments_of(work), progress_bar=False)
    return guide, found.params, jax.block_until_ready(found.losses)


def facts_of_guide(found):
    guide, params, losses = found
    names = [name.removesuffix("_auto_loc") for name in params if name.endswith("_auto_loc")]
    draws = {f"loc of {name}": params[f"{name}_auto_loc"] for name in names}
    draws |= {f"scale of {name}": params[f"{name}_auto_scale"] for name in names}
    sample = guide.sample_posterior(jax.random.key(0), params, sample_shape=(10_000,))
    draws |= {f"mean of {name}": sample[name].mean(axis=0) for name in names}
    draws |= {f"sd of {name}": sample[name].std(axis=0) for name in names}
    return draws, {"steps": len(losses), "num_particles": 1}


def advi(work):
    for kind, seed in work.repeats():
        work.time(kind, lambda seed=seed: optimised(work, seed), facts_of_guide)


def tutorial(work):
    arguments = arguments_of(work)

    def both(seed):
        optimised(work, seed)
        return checked(sampler(work, noncentered), seed, *arguments)

    for kind, seed in work.repeats():
        work.time(kind, lambda seed=seed: both(seed), facts_of)


def individual(work):
    """Loop over some groups, which have different numbers of rows."""
    for code in work.task["picked"]:
        rows = work.group == code
        x, y = jnp.asarray(work.x[rows]), jnp.asarray(work.y[rows])
        work.time(
            f"group {code}",
            lambda x=x, y=y: checked(sampler(work, regression), work.task["seed"], x, y),
            facts_of,
        )


if __name__ == "__main__":
    actions = {action.__name__: action for action in (nuts, advi, tutorial, individual)}
    serve(actions, ["numpyro", "jax"], with_jax=actions)
