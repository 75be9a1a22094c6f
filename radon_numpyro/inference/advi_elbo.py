"""The evidence lower bound of a mean-field guide, estimated on a lattice of its draws."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.scipy.special import ndtri
from numpyro import handlers
from numpyro.infer import TraceMeanField_ELBO
from numpyro.infer.elbo import ELBO

from radon_numpyro.inference.programs import latent_transforms
from radon_numpyro.model.regressions import ModelFunction


class LatticeELBO(ELBO):
    r"""NumPyro's ``TraceMeanField_ELBO`` at draws that fill every coordinate evenly.

    .. math:: \widehat{\mathrm{ELBO}} = \frac1S \sum_{s=0}^{S-1} \ell(m + d \odot z_s), \qquad
              z_{sj} = \Phi^{-1}\Big(\big\{\tfrac{s\,g_j}{S} + u_j\big\}\Big)

    with m and d the locations and scales of the guide in the unconstrained space, :math:`\{\}`
    the fractional part, and new :math:`u_j \sim U(0, 1)` and generators :math:`g_j` uniform on
    1..S-1 for every step: a randomly shifted lattice of rank 1. Each draw is standard normal, so
    bound and gradient are unbiased; the S draws of one coordinate are evenly spaced, so whatever
    is a sum over coordinates is integrated nearly without noise. Along the direction in which a
    scale and its coefficients grow together the bound is so flat that this noise, and not the
    number of steps, decides how near to the optimum the answer is.

    Parameters
    ----------
    num_particles
        Number of draws, S. A prime, for else some generators fill a coordinate unevenly.

    References
    ----------
    Cranley and Patterson (1976), Randomization of number theoretic methods for multiple
    integration, doi:10.1137/0713071. Buchholz, Wenzel and Mandt (2018), Quasi-Monte Carlo
    variational inference, arXiv:1807.01604.
    """

    def loss_with_mutable_state(
        self,
        rng_key: Any,
        param_map: dict[str, Any],
        model: ModelFunction,
        guide: Any,
        *args: Any,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Negative bound; the guide is an ``AutoNormal``, whose parameters ``param_map`` holds."""
        # Without barriers what is behind them is compiled into every use, and run for every draw.
        param_map = jax.lax.optimization_barrier(param_map)
        transforms = latent_transforms(model, *args, **kwargs)
        locs = {name: param_map[f"{name}_auto_loc"] for name in transforms}
        scales = {name: param_map[f"{name}_auto_scale"] for name in transforms}
        flat, unravel = ravel_pytree(locs)
        one = TraceMeanField_ELBO()

        def loss(noise: Any) -> Any:
            z = unravel(noise)
            values = {n: t(locs[n] + scales[n] * z[n]) for n, t in transforms.items()}
            at_values = handlers.substitute(guide, data=values)
            return one.loss(rng_key, param_map, model, at_values, *args, **kwargs)

        noise = jax.lax.optimization_barrier(
            lattice_normals(rng_key, self.num_particles, flat.size)
        )
        return {"loss": jax.vmap(loss)(noise).mean(), "mutable_state": None}


def lattice_normals(key: Any, num_draws: int, size: int) -> Any:
    """Standard normal draws on a randomly shifted lattice with random generators.

    They are made in single precision whatever the caller's, for there XLA has a vectorised
    logarithm: normal to seven digits, and 5.2 at the most.

    Parameters
    ----------
    key
        JAX random key.
    num_draws
        Number of draws, S.
    size
        Number of coordinates, D.

    Returns
    -------
    array
        Shape (S, D).
    """
    generator_key, shift_key = jax.random.split(key)
    generator = jax.random.randint(generator_key, (size,), 1, max(num_draws, 2))
    shift = jax.random.uniform(shift_key, (size,), jnp.float32)
    # Whole numbers before the division: the spacing stays even.
    steps = jnp.arange(num_draws)[:, None] * generator % num_draws
    uniform = (steps.astype(jnp.float32) / num_draws + shift) % 1.0
    least = jnp.finfo(jnp.float32).eps
    return ndtri(jnp.clip(uniform, least, 1.0 - least)).astype(jnp.result_type(float))
