"""What compiled programs share: precision, types, and the latent sites of a model."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from numpyro import handlers
from numpyro.distributions import biject_to

from radon_numpyro.models import Model
from radon_numpyro.priors import Priors


def precision(dtype: str) -> AbstractContextManager[Any]:
    """Context in which JAX computes in a precision; the caller's setting comes back after it.

    Parameters
    ----------
    dtype
        ``"float64"`` or ``"float32"``.

    Raises
    ------
    ValueError
        If it is neither.
    """
    if dtype not in ("float64", "float32"):
        raise ValueError(f"Expected dtype to be 'float64' or 'float32'; got {dtype!r}")
    context: AbstractContextManager[Any] = jax.enable_x64(dtype == "float64")
    return context


def strong_types(tree: Any) -> Any:
    """Give every array a strong type, so that a program sees the same types at each call.

    Parameters
    ----------
    tree
        Arrays and random keys.
    """

    def strong(x: Any) -> Any:
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return x
        return jax.lax.convert_element_type(x, x.dtype)

    return jax.tree.map(strong, tree)


def latent_sites(model: Model, data: Any, priors: Priors) -> dict[str, Any]:
    """Latent sites of a model, in its order, from one run of it.

    Parameters
    ----------
    model, data, priors
        The model and its arguments.

    Returns
    -------
    dict
        NumPyro's site by name.
    """
    with handlers.block(), handlers.seed(rng_seed=0):
        trace = handlers.trace(model).get_trace(data, priors)
    return {
        name: site
        for name, site in trace.items()
        if site["type"] == "sample" and not site["is_observed"]
    }


def latent_transforms(model: Model, data: Any, priors: Priors) -> dict[str, Any]:
    """Bijection from the unconstrained space to the support of each latent site.

    Parameters
    ----------
    model, data, priors
        The model and its arguments.
    """
    sites = latent_sites(model, data, priors)
    return {name: biject_to(site["fn"].support) for name, site in sites.items()}


def unraveller(model: Model, data: Any, priors: Priors) -> Callable[[Any], dict[str, Any]]:
    """Function from a flat vector of unconstrained coordinates to the sites by name.

    Parameters
    ----------
    model, data, priors
        The model and its arguments.
    """
    sites = latent_sites(model, data, priors)
    unravel: Callable[[Any], dict[str, Any]] = ravel_pytree(
        {name: jnp.zeros(jnp.shape(site["value"])) for name, site in sites.items()}
    )[1]
    return unravel
