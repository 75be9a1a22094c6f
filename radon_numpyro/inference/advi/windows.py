"""Windows of ADVI steps as compiled programs: NumPyro's SVI with an AutoNormal guide.

The evidence lower bound is estimated from a lattice of draws of the guide. Every parameter moves in
units of its own standard deviation. The data are arguments of the programs, so one compilation
serves all data sets of the same shape. Comparing windows shows whether the optimisation has
converged.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jax.scipy.special import ndtri
from numpyro import distributions as dist
from numpyro import handlers
from numpyro.infer import SVI, TraceMeanField_ELBO, init_to_value
from numpyro.infer.autoguide import AutoNormal
from numpyro.infer.elbo import ELBO
from numpyro.infer.util import potential_energy

from radon_numpyro.inference.compute.programs import latent_transforms, program, strong_types
from radon_numpyro.model.priors import Priors
from radon_numpyro.model.regressions import ModelFunction
from radon_numpyro.statistics.group_statistics import GroupStatistics


class LatticeELBO(ELBO):
    r"""NumPyro's ``TraceMeanField_ELBO`` at quasi-random draws, evenly spaced in each coordinate.

    .. math:: \widehat{\mathrm{ELBO}} = \frac1S \sum_{s=0}^{S-1} \ell(m + d \odot z_s), \qquad
              z_{sj} = \Phi^{-1}\Big(\big\{\tfrac{s\,g_j}{S} + u_j\big\}\Big)

    where m and d are the locations and scales of the guide in the unconstrained space, :math:`\{\}`
    is the fractional part, and every step has new :math:`u_j \sim U(0, 1)` and generators
    :math:`g_j` uniform on 1..S-1. This is a randomly shifted lattice of rank 1. Each draw is
    standard normal, so bound and gradient are unbiased. The S draws of one coordinate are evenly
    spaced, so sums over coordinates are integrated almost without noise. This matters in the
    direction in which a scale and its coefficients grow together: the bound is so flat there that
    its noise, and not the number of steps, limits the accuracy of the optimum.

    Parameters
    ----------
    num_particles
        Number of draws, S. Prime, because other sizes cover some coordinates unevenly.

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
        """Compute the negative bound for an ``AutoNormal`` guide with parameters ``param_map``."""
        # Without barriers XLA would copy these computations into every use and run them for every
        # draw.
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
    """Return standard normal draws on a randomly shifted lattice with random generators.

    They are always made in single precision, for which XLA has a vectorized logarithm. The draws
    are normal to seven digits and at most 5.2 in size.

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
    # Use integers until the division, so that the spacing is exactly even.
    steps = jnp.arange(num_draws)[:, None] * generator % num_draws
    uniform = (steps.astype(jnp.float32) / num_draws + shift) % 1.0
    least = jnp.finfo(jnp.float32).eps
    return ndtri(jnp.clip(uniform, least, 1.0 - least)).astype(jnp.result_type(float))


WINDOW = 500


@program("model", "num_particles", once=True)
def begin(
    key: Any,
    locs: Any,
    scales: Any,
    statistics: GroupStatistics,
    priors: Priors,
    *,
    model: ModelFunction,
    num_particles: int,
) -> tuple[Any, Any]:
    """Return the initial state of the optimiser, and the unit of each guide parameter.

    Parameters
    ----------
    key
        Random key of the guide; :func:`log_ratios` uses the other half of its split.
    locs, scales
        Location and scale from which the guide starts, by site.
    statistics, priors, model
        The model and its arguments.
    num_particles
        Number of draws of the guide in each step.
    """
    params, units = {}, {}
    for name, loc in locs.items():
        scale = scales[name]
        params[f"{name}_auto_loc"], params[f"{name}_auto_scale"] = loc, scale
        units[f"{name}_auto_loc"] = scale
        # Scales are parametrised by a softplus; this unit is a relative change of 1.
        units[f"{name}_auto_scale"] = scale / -jnp.expm1(-scale)
    svi = _svi(model, num_particles, units, 1.0, statistics, priors)
    state = svi.init(jax.random.split(key)[0], statistics, priors, init_params=params)
    return strong_types(state), strong_types(units)


@program("model", "num_particles")
def advance(
    state: Any,
    units: Any,
    step_size: Any,
    statistics: GroupStatistics,
    priors: Priors,
    *,
    model: ModelFunction,
    num_particles: int,
) -> tuple[Any, Any, Any]:
    """Take one window of steps; return the new state, average parameters, and losses.

    Parameters
    ----------
    state, units
        From :func:`begin`, or the state from an earlier window.
    step_size
        Step size of Adam, in units of each parameter.
    statistics, priors, model, num_particles
        As in :func:`begin`.
    """
    svi = _svi(model, num_particles, units, step_size, statistics, priors)
    svi.init(jax.random.key(0), statistics, priors)

    def step(carry: Any, _: None) -> tuple[Any, Any]:
        state, total = carry
        state, loss = svi.stable_update(state, statistics, priors)
        total = jax.tree.map(jnp.add, total, svi.optim.get_params(state.optim_state))
        return (state, total), loss

    zero = jax.tree.map(jnp.zeros_like, svi.optim.get_params(state.optim_state))
    (state, total), losses = jax.lax.scan(step, (state, zero), None, length=WINDOW)
    return strong_types(state), jax.tree.map(lambda t: t / WINDOW, total), losses


@program("model", "num_draws")
def log_ratios(
    key: Any,
    locs: Any,
    scales: Any,
    statistics: GroupStatistics,
    priors: Priors,
    *,
    model: ModelFunction,
    num_draws: int,
) -> Any:
    """Compute log importance ratios of the posterior and the guide, up to a constant.

    Parameters
    ----------
    key
        Random key of the guide, as in :func:`begin`.
    locs, scales
        Location and scale of the guide, by site.
    statistics, priors, model
        As in :func:`begin`.
    num_draws
        Number of draws of the guide.

    Returns
    -------
    array
        Shape (num_draws,).
    """
    flat, unravel = ravel_pytree(locs)
    log_scale = jnp.log(ravel_pytree(scales)[0]).sum()

    def log_ratio(key: Any) -> Any:
        # Without a barrier XLA would copy the inverse error function into every use.
        noise = jax.lax.optimization_barrier(jax.random.normal(key, flat.shape, flat.dtype))
        z = {n: locs[n] + scales[n] * e for n, e in unravel(noise).items()}
        log_q = dist.Normal().log_prob(noise).sum() - log_scale
        return -potential_energy(model, (statistics, priors), {}, z) - log_q

    keys = jax.random.split(jax.random.split(key)[1], num_draws)
    return jax.lax.map(log_ratio, keys, batch_size=100)


def movement(averages: list[Any], units: Any) -> dict[str, float]:
    """Compute the change between the earlier and the later half, in units of each parameter.

    It is the root mean square over the entries of a site. Each site has its own value, so that a
    hundred converged coefficients cannot hide a scale that still moves.

    Parameters
    ----------
    averages
        Parameters by name, averaged over a window; one item for each window.
    units
        Unit of each parameter, by name.
    """
    half = len(averages) // 2
    earlier, later = average_of(averages[:half]), average_of(averages[-half:])
    return {
        name: float(np.sqrt(np.mean(((later[name] - earlier[name]) / np.asarray(unit)) ** 2)))
        for name, unit in units.items()
    }


def settled(averages: list[Any]) -> list[Any]:
    """Leave out the first quarter, which still moves away from the results of larger steps.

    Parameters
    ----------
    averages
        As in :func:`movement`.
    """
    return averages[len(averages) // 4 :]


def average_of(averages: list[Any]) -> Any:
    """Average each parameter over windows.

    Parameters
    ----------
    averages
        As in :func:`movement`.
    """
    return jax.tree.map(lambda *a: np.mean(a, axis=0), *averages)


def levelled(elbo: list[np.ndarray]) -> bool:
    """Return whether the bound gained less than its noise between the last two windows.

    Parameters
    ----------
    elbo
        The bound at each step of each window; values that are not finite are ignored.
    """
    last, before = (window[np.isfinite(window)] for window in (elbo[-1], elbo[-2]))
    gain = last.mean() - before.mean()
    noise = np.hypot(last.std() / np.sqrt(len(last)), before.std() / np.sqrt(len(before)))
    return bool(gain < 2.0 * noise)


def _svi(
    model: ModelFunction,
    num_particles: int,
    units: Any,
    step_size: Any,
    statistics: GroupStatistics,
    priors: Priors,
) -> SVI:
    """Return SVI with an optimiser that steps in units of each parameter.

    Each traced function must call this itself, because a guide stores the trace that set it up.
    """

    def in_units(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        return jax.tree.map(jnp.multiply, updates, units), state

    optimiser = optax.chain(
        optax.scale_by_adam(b1=0.9, b2=0.999),
        optax.GradientTransformation(lambda params: optax.EmptyState(), in_units),
        optax.scale_by_learning_rate(step_size),
    )
    # The guide needs some values of the sites to set itself up; its parameters are given.
    values = {
        name: transform(jnp.zeros_like(units[f"{name}_auto_loc"]))
        for name, transform in latent_transforms(model, statistics, priors).items()
    }
    guide = AutoNormal(model, init_loc_fn=init_to_value(values=values))
    return SVI(model, guide, optimiser, LatticeELBO(num_particles))
