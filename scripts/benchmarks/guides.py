"""The evidence lower bound of a mean-field guide, with the same estimator for every peer."""

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.infer.util import potential_energy

from radon_numpyro import GroupStatistics, Priors, hierarchical

DRAWS = 20_000


def bound(guide, data):
    """Compute the evidence lower bound in nats, and its standard error.

    Parameters
    ----------
    guide
        ``loc of`` and ``scale of`` each site in the unconstrained space of the centred model. The
        coordinate of a scale with a uniform prior is a logit in both NumPyro and PyMC.
    data
        A GroupedData.
    """
    sites = [name.removeprefix("loc of ") for name in guide if name.startswith("loc of ")]
    with jax.enable_x64(True):
        arguments = (GroupStatistics.from_data(data), Priors.tutorial())

        def integrand(key):
            z, log_q = {}, 0.0
            for name, k in zip(sites, jax.random.split(key, len(sites)), strict=True):
                noise = jax.random.normal(k, np.shape(guide[f"loc of {name}"]))
                scale = jnp.asarray(guide[f"scale of {name}"])
                z[name] = jnp.asarray(guide[f"loc of {name}"]) + scale * noise
                log_q -= (0.5 * noise**2 + jnp.log(scale)).sum()
                log_q -= 0.5 * noise.size * jnp.log(2 * jnp.pi)
            z = {name: value.reshape(_shape(name, value)) for name, value in z.items()}
            return -potential_energy(hierarchical, arguments, {}, z) - log_q

        keys = jax.random.split(jax.random.key(0), DRAWS)
        values = np.asarray(jax.jit(lambda k: jax.lax.map(integrand, k, batch_size=100))(keys))
    return float(values.mean()), float(values.std() / np.sqrt(DRAWS))


def _shape(name, value):
    """Return the shape for one predictor: slopes are (C, 1), their means and scales (1,)."""
    shapes = {"beta": (-1, 1), "mu_beta": (1,), "sigma_beta": (1,), "alpha": (-1,)}
    return shapes.get(name, ())
