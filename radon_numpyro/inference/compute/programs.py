"""Compiled programs, their precision and types, and the latent sites of a model."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cache, update_wrapper
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from numpyro import handlers
from numpyro.distributions import biject_to
from numpyro.infer import init_to_feasible
from numpyro.primitives import _PYRO_STACK

from radon_numpyro.data.labels import Labels
from radon_numpyro.inference.compute.compilation import Compilation, compile_in_turn
from radon_numpyro.inference.compute.devices import current
from radon_numpyro.inference.runs import interrupts
from radon_numpyro.inference.settings import check_dtype
from radon_numpyro.model.priors import Priors
from radon_numpyro.model.regressions import ModelFunction
from radon_numpyro.statistics.group_statistics import GroupStatistics


def precision(dtype: str) -> AbstractContextManager[Any]:
    """Return a context in which JAX has this precision; afterwards it has the caller's setting.

    Parameters
    ----------
    dtype
        ``"float64"`` or ``"float32"``.

    Raises
    ------
    ValueError
        If the dtype is neither.
    """
    check_dtype(dtype)
    context: AbstractContextManager[Any] = jax.enable_x64(dtype == "float64")
    return context


# These programs are loops of many small operations. On the CPU, LLVM takes most of the compile time
# at XLA's default optimisation level, and its code is not faster than that of level 1. On an NVIDIA
# GPU, the host would wait for the condition of each iteration of each loop, unless the loops are
# part of CUDA graphs.
_LEVEL = 1
_COMPILER_OPTIONS: dict[str, dict[str, Any]] = {
    "gpu": {
        "xla_gpu_enable_command_buffer": "FUSION,WHILE,CONDITIONAL",
        "xla_gpu_graph_min_graph_size": 1,
    },
}


class Program:
    """A function that is compiled at its first call, with options for the kind of device.

    Parameters
    ----------
    function
        The function to compile.
    static_argnames
        Names of the keyword arguments that are constants of the program.
    once
        Whether a fit runs the program only once or so, without a loop. On the CPU it is then
        compiled without optimisation.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        static_argnames: tuple[str, ...],
        *,
        once: bool = False,
    ) -> None:
        self._function, self._static_argnames, self._once = function, static_argnames, once
        self._compilations: dict[Any, Compilation] = {}
        update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the program; wait for its compilation if that has already started."""
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(args)):
            return self.compiled()(*args, **kwargs)
        compilation = self._prepared(args, kwargs)
        result = self.compiled()(*args, **kwargs)
        compilation.release()
        return result

    def prepare(self, *args: Any, **kwargs: Any) -> None:
        """Trace and compile the program for arguments like these, unless that has been done.

        Call this before calls in threads, for two reasons: NumPyro's handlers are shared by all
        threads of the process, and only in this call can a signal or the time limit end a run at
        once.

        Parameters
        ----------
        *args, **kwargs
            Arguments of the later calls; a ``jax.ShapeDtypeStruct`` may replace an array.

        Raises
        ------
        KeyboardInterrupt, TimeoutError
            On a signal, or when the time is up; see :mod:`radon_numpyro.inference.runs.interrupts`.
        """
        self._prepared(args, kwargs)

    def compile_ahead(self, *args: Any, **kwargs: Any) -> Any:
        """Trace the program now and compile it in another thread; XLA releases Python's GIL.

        The next call raises the error of the compiler, if there is one.

        Parameters
        ----------
        *args, **kwargs
            As in :meth:`prepare`.

        Returns
        -------
        pytree of jax.ShapeDtypeStruct
            Shapes and dtypes of the results of the call.
        """
        signature = self._signature(args, kwargs)
        compilation = self._compilations.get(signature)
        if compilation is None:
            compilation = self._traced(signature, args, kwargs)
            compile_in_turn(compilation)
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), compilation.shapes)

    def _prepared(self, args: Any, kwargs: Any) -> Compilation:
        """Return the finished compilation for arguments like these."""
        signature = self._signature(args, kwargs)
        compilation = self._compilations.get(signature)
        if compilation is None:
            compilation = self._traced(signature, args, kwargs)
        if not compilation.ready:
            try:
                compilation.wait()
            except Exception:
                # Forget only a failed compilation, so that the next call tries again. After an
                # interrupt the compiler is still running.
                if compilation.failed:
                    self._compilations.pop(signature, None)
                raise
        return compilation

    def _traced(self, signature: Any, args: Any, kwargs: Any) -> Compilation:
        depth = len(_PYRO_STACK)
        try:
            with interrupts.at_once():
                lowered = self.lower(*args, **kwargs)
        except BaseException:
            # An interrupt inside a NumPyro handler can leave the handler on its stack.
            del _PYRO_STACK[depth:]
            raise
        return self._compilations.setdefault(signature, Compilation(lowered))

    def _signature(self, args: Any, kwargs: Any) -> Any:
        """Return the key of a compilation. If JAX distinguishes more, it compiles again."""
        static = {name: kwargs[name] for name in self._static_argnames if name in kwargs}
        rest = {name: value for name, value in kwargs.items() if name not in static}
        leaves, structure = jax.tree.flatten((args, rest))
        settings = (current().platform, jax.config.jax_default_device, jax.config.jax_enable_x64)
        return (*settings, tuple(static.items()), structure, *map(_type, leaves))

    def lower(self, *args: Any, **kwargs: Any) -> Any:
        """Trace the program in this thread, for the current kind of device.

        Parameters
        ----------
        *args, **kwargs
            As in :meth:`prepare`.
        """
        return self.compiled().lower(*args, **kwargs)

    def compiled(self) -> Any:
        """Return the jitted function for the current kind of device."""
        return self._compiled_for(current().platform)

    @cache  # noqa: B019
    def _compiled_for(self, platform: str) -> Any:
        options = _COMPILER_OPTIONS.get(platform)
        if platform == "cpu":
            options = {"xla_backend_optimization_level": 0 if self._once else _LEVEL}
        return jax.jit(
            self._function, static_argnames=self._static_argnames, compiler_options=options
        )


def _type(leaf: Any) -> Any:
    """Return shape, dtype and weak type of an argument."""
    like = leaf if isinstance(leaf, jax.ShapeDtypeStruct) else jax.typeof(leaf)
    return like.shape, like.dtype, bool(like.weak_type)


def program(*static_argnames: str, once: bool = False) -> Callable[[Callable[..., Any]], Program]:
    """Return a decorator that makes a function a :class:`Program`.

    Parameters
    ----------
    *static_argnames
        Names of the arguments that are constants of the program.
    once
        As in :class:`Program`.
    """
    return lambda function: Program(function, static_argnames, once=once)


def in_threads(function: Callable[..., Any], *arguments: Any, threads: int) -> list[Any]:
    """Map a function over arguments in threads, with this thread's precision and default device.

    Parameters
    ----------
    function
        The function. The programs that it calls must be prepared before
        (:meth:`Program.prepare`).
    *arguments
        Sequences of arguments.
    threads
        Number of threads.
    """
    x64, device = bool(jax.config.jax_enable_x64), jax.config.jax_default_device

    def call(*some: Any) -> Any:
        with jax.enable_x64(x64), jax.default_device(device):
            return function(*some)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(call, *arguments))


def random_key(seed: int) -> Any:
    """Make JAX's random key for a seed without compiling a program.

    Parameters
    ----------
    seed
        An integer from 0 to 2^64 - 1.
    """
    words: Any = np.array([seed >> 32, seed & 0xFFFFFFFF], dtype=np.uint32)
    return jax.random.wrap_key_data(words, impl="threefry2x32")


def strong_types(tree: Any) -> Any:
    """Give every array a strong type, so that a program has the same types at each call.

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
    """Remove the names, which are static: each set of names would need its own compilation.

    Parameters
    ----------
    statistics
        Statistics by group.
    """
    design = statistics.labels.design.anonymous()
    labels = Labels("", design.predictors, "", (), design)
    nothing: dict[str, Any] = {"left_out": (), "lost_groups": (), "centers": ()}
    return replace(statistics, labels=labels, formula="", notes=(), **nothing)


def latent_sites(model: ModelFunction, data: Any, priors: Priors) -> dict[str, Any]:
    """Run a model once and return its latent sites, in its order.

    Parameters
    ----------
    model, data, priors
        The model and its arguments.

    Returns
    -------
    dict
        NumPyro's sites by name.
    """
    # Use feasible values instead of draws, because a flat prior cannot be sampled.
    seeded = handlers.seed(model, rng_seed=0)
    feasible = handlers.substitute(seeded, substitute_fn=init_to_feasible)
    with handlers.block():
        trace = handlers.trace(feasible).get_trace(data, priors)
    return {
        name: site
        for name, site in trace.items()
        if site["type"] == "sample" and not site["is_observed"]
    }


def latent_transforms(model: ModelFunction, data: Any, priors: Priors) -> dict[str, Any]:
    """Return the bijection from the unconstrained space to the support, for each latent site.

    Parameters
    ----------
    model, data, priors
        The model and its arguments.
    """
    sites = latent_sites(model, data, priors)
    return {name: biject_to(site["fn"].support) for name, site in sites.items()}


def unraveller(model: ModelFunction, data: Any, priors: Priors) -> Callable[[Any], dict[str, Any]]:
    """Return a function from a flat vector of unconstrained coordinates to the sites by name.

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
