"""What compiled programs share: precision, types, and the latent sites of a model."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cache, wraps
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from numpyro import handlers
from numpyro.distributions import biject_to

from radon_numpyro.labels import Labels
from radon_numpyro.models import Model
from radon_numpyro.priors import Priors
from radon_numpyro.statistics import GroupStatistics


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
    check_dtype(dtype)
    context: AbstractContextManager[Any] = jax.enable_x64(dtype == "float64")
    return context


def check_dtype(dtype: str) -> None:
    """Refuse a precision that there is not.

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


def program(*static_argnames: str) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function, on the CPU with light optimisation of the machine code.

    LLVM spends most of the time to compile on loops of many small operations, of which these
    programs consist, and the code it makes at XLA's default level runs no faster.

    Parameters
    ----------
    *static_argnames
        Arguments that are constants of the program.

    Returns
    -------
    callable
        Decorator that gives a function like that of ``jax.jit``.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        # Made at the first call: asking for the backend at import would start it.
        @cache
        def compiled() -> Any:
            light = {"xla_backend_optimization_level": 1}
            on_cpu = jax.default_backend() == "cpu"
            return jax.jit(
                function,
                static_argnames=static_argnames,
                compiler_options=light if on_cpu else None,
            )

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            return compiled()(*args, **kwargs)

        call.compiled = compiled  # type: ignore[attr-defined]
        return call

    return decorate


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


def unlabelled(statistics: GroupStatistics) -> GroupStatistics:
    """Leave the names off: they are static, and each set of them would be compiled for anew.

    Parameters
    ----------
    statistics
        Statistics by group.
    """
    return replace(statistics, labels=Labels("", (), "", ()), left_out=())


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
