"""Settings of a fit: checked before any work, completed by defaults, and stored in the result.

The methods to compute a posterior are

====================  =========================================================================
``"marginal"``        the coefficients are integrated out; NUTS on the scales of the hierarchical
                      model, exact draws of the other models
``"noncentered"``     NUTS on all parameters, with the coefficients in units of their sds
``"centered"``        NUTS on all parameters as written in the model
``"integrate"``       the scales are also integrated, numerically and without a chain
====================  =========================================================================

This module does not import JAX.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np

from radon_numpyro.data.design import Design
from radon_numpyro.inference.compute.devices import DEVICES, current, num_cores
from radon_numpyro.model.models import MODELS, Model

INTEGRATE, AUTO = "integrate", "auto"
# The methods of each model; the first one is the default.
METHODS = {
    name: ("marginal", *(("noncentered",) if model.population else ()), "centered", INTEGRATE)
    for name, model in MODELS.items()
}
# The time of a step of the marginal method grows with the number of groups and with the cube of the
# number of varying columns. On two cores, a fit of 100 groups with 20 varying slopes takes a
# minute. Columns that do not vary cost little.
MAX_MARGINAL_SLOPES = 20
# Chains with a larger R-hat disagree.
MAX_RHAT = 1.01


def choose_method(model: str, method: str | None, design: Design) -> tuple[str, str]:
    """Return the method to use, and the reason if it is neither requested nor the default.

    Parameters
    ----------
    model
        Name of the model.
    method
        A name in ``METHODS``; None for the default; or ``"auto"``, which starts with integration.
    design
        Which columns vary by group, and which of them correlate.

    Returns
    -------
    method, reason
        The reason is empty if the method was requested or is the default of the model.

    Raises
    ------
    ValueError
        If the model is unknown, too many slopes vary for the requested method, or the method does
        not support correlated coefficients.
    """
    num_slopes = len(design.slopes)
    population = Model.named(model).population
    default, *others = METHODS[model]
    if population and design.correlated:
        if num_slopes > MAX_MARGINAL_SLOPES:
            raise ValueError(
                f"Expected at most {MAX_MARGINAL_SLOPES} slopes that vary by group where "
                f"coefficients correlate; got {num_slopes}. Write || for independent coefficients"
            )
        if method not in (None, default, INTEGRATE, AUTO):
            raise ValueError(
                f"Expected method={default!r} or {INTEGRATE!r}, the only ones for correlated "
                f"coefficients; got method={method!r}"
            )
    if not population or num_slopes <= MAX_MARGINAL_SLOPES:
        if method == AUTO:
            return INTEGRATE, ""
        return default if method is None else method, ""
    if method in ("marginal", INTEGRATE):
        raise ValueError(
            f"Expected method={others[0]!r} for {num_slopes} slopes that vary by group, or at most "
            f"{MAX_MARGINAL_SLOPES} such slopes, for which the coefficients can be integrated out "
            f"in reasonable time; got method={method!r}"
        )
    if method not in (None, AUTO):
        return method, ""
    return others[0], (
        f"the marginal method takes at most {MAX_MARGINAL_SLOPES} slopes that vary by group, and "
        f"here there are {num_slopes}"
    )


# ADVI takes, and averages, this number of steps at a time.
WINDOW = 500
CHAIN_METHODS = ("sequential", "parallel", "vectorized")
MAX_DRAWS_BYTES = 2**30
MAX_ADVI_STEPS, MANY_COEFFICIENTS = 100_000, 2000
FEW_GROUPS = 20
# An integration with fewer nodes cannot pass its verdict.
MIN_NODES = 256
COEFFICIENTS = ("auto", "draws", "summary", "none")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All arguments of a fit except data and priors.

    Attributes
    ----------
    model, method
        Names of the model and of the method. If the method is None, it is the model's default.
    draws, chains, num_warmup, seed, num_advi_steps, target_accept_prob, max_tree_depth
        As in :func:`radon_numpyro.fit`.
    chain_method, coefficients, dtype, device, target_ess, max_seconds
        As in :func:`radon_numpyro.fit`.

    Raises
    ------
    ValueError
        If a setting is out of range; the message names it.
    """

    model: str
    method: str | None
    draws: int
    chains: int
    num_warmup: int
    seed: int
    num_advi_steps: int = 0
    target_accept_prob: float | None
    max_tree_depth: int
    chain_method: str | None
    coefficients: str
    dtype: str
    device: str = "auto"
    target_ess: float | None
    max_seconds: float | None

    def __post_init__(self) -> None:
        population = Model.named(self.model).population
        if self.method is None:
            object.__setattr__(self, "method", METHODS[self.model][0])
        _check_one_of("method", self.method, METHODS[self.model], f" of the {self.model} model")
        if self.chain_method is not None:
            _check_one_of("chain_method", self.chain_method, CHAIN_METHODS)
        _check_one_of("coefficients", self.coefficients, COEFFICIENTS)
        least = {"draws": 4, "chains": 1, "num_warmup": 20, "seed": 0, "max_tree_depth": 1}
        for name, minimum in least.items():
            value = getattr(self, name)
            if not isinstance(value, Integral) or value < minimum:
                raise ValueError(
                    f"Expected {name} to be an integer of at least {minimum}; got {value}"
                )
        if self.num_advi_steps != 0 and self.num_advi_steps < 2 * WINDOW:
            raise ValueError(
                f"Expected num_advi_steps to be 0 or at least {2 * WINDOW}; "
                f"got {self.num_advi_steps}"
            )
        integrated = population and self.method in ("marginal", INTEGRATE)
        if self.coefficients in ("summary", "none") and not integrated:
            raise ValueError(
                "Expected method='marginal' or 'integrate' of the hierarchical model for "
                f"coefficients={self.coefficients!r}; got {self.method!r} of the {self.model} model"
            )
        accept = self.target_accept_prob
        if accept is not None and not 0 < accept < 1:
            raise ValueError(f"Expected target_accept_prob to be between 0 and 1; got {accept}")
        for name in ("target_ess", "max_seconds"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, Real) and float(value) > 0):
                raise ValueError(f"Expected {name} to be positive; got {value}")
        check_dtype(self.dtype)
        _check_one_of("device", self.device, ("auto", *DEVICES))

    @property
    def is_exact(self) -> bool:
        """Whether draws come from the exact posterior, without a Markov chain."""
        return self.method == "marginal" and not Model.named(self.model).population

    def sampler(self) -> dict[str, Any]:
        """Return the settings of the NUTS blocks, except the acceptance, with defaults."""
        return {
            "chain_method": self.chain_method
            or default_chain_method(self.chains, current().platform),
            "num_warmup": self.num_warmup,
            "max_tree_depth": self.max_tree_depth,
        }

    def acceptances(self, num_groups: int) -> tuple[float, ...]:
        """Return the target acceptance probabilities to try in turn until no draw diverges.

        With few groups the posterior of the scales is skewed and steep at its lower end, so it
        needs shorter steps.

        Parameters
        ----------
        num_groups
            Number of groups with rows.
        """
        if self.target_accept_prob is not None:
            return (self.target_accept_prob,)
        if self.method != "marginal":
            return (0.9,)
        return (0.95, 0.99) if num_groups <= FEW_GROUPS else (0.8, 0.95, 0.99)

    def coefficients_kept(self, num_groups: int, num_varying: int) -> str:
        """Return what to keep of alpha and beta: ``"draws"``, ``"summary"`` or ``"none"``.

        Parameters
        ----------
        num_groups
            Number of groups.
        num_varying
            Number of columns that vary by group, including the constant.
        """
        if self.coefficients != "auto":
            return self.coefficients
        numbers = self.draws * self.chains * num_groups * num_varying
        too_many = numbers * np.dtype(self.dtype).itemsize > MAX_DRAWS_BYTES
        integrated = self.method in ("marginal", INTEGRATE)
        return "summary" if integrated and too_many else "draws"


def check_integration(settings: Settings, nodes: Any, checkpoint: Any, *, auto: bool) -> None:
    """Check the arguments that integration uses, or does not support.

    Parameters
    ----------
    settings
        Settings of the fit.
    nodes, checkpoint
        As in :func:`radon_numpyro.fit`.
    auto
        Whether another method continues if integration is not reliable.

    Raises
    ------
    ValueError
        If an argument does not apply to the method; the message names it.
    """
    if settings.method != INTEGRATE and not auto:
        if nodes is not None:
            raise ValueError(
                f"Expected nodes only with method='integrate' or 'auto'; got nodes={nodes!r} and "
                f"method={settings.method!r}"
            )
        return
    if nodes is not None and not (isinstance(nodes, int | np.integer) and nodes >= MIN_NODES):
        raise ValueError(f"Expected nodes to be an integer of at least {MIN_NODES}; got {nodes!r}")
    if auto:
        return
    if checkpoint is not None:
        raise ValueError(
            "Expected no checkpoint with method='integrate', which has no steps to save; got "
            f"checkpoint={os.fspath(checkpoint)!r}"
        )
    if settings.dtype != "float64":
        raise ValueError(
            "Expected dtype='float64' with method='integrate', whose weights need it; got "
            f"dtype={settings.dtype!r}"
        )


def default_advi_steps(model: str, method: str | None, num_coefficients: int) -> int:
    """Return the default maximum number of ADVI steps.

    It is 0 if the marginal method integrates out more than 2000 coefficients; then the guide stays
    at its closed-form start. That is sufficient: the sampler uses only the scales of the guide, and
    its draws do not depend on the guide's accuracy. ADVI would move all coefficients, and with many
    small groups its optimum collapses to scales of 0.

    Parameters
    ----------
    model, method
        As in :func:`radon_numpyro.fit`.
    num_coefficients
        Number of intercepts and slopes of all groups.
    """
    marginal = (method or METHODS[model][0]) == "marginal"
    return 0 if marginal and num_coefficients > MANY_COEFFICIENTS else MAX_ADVI_STEPS


def default_chain_method(chains: int, device: str) -> str:
    """Return the default way to run chains on a kind of device.

    On a GPU, chains are vectorized. On a CPU they run in parallel if there are several cores. They
    are not vectorized there, because a vectorized NUTS waits for the longest trajectory of all
    chains.

    Parameters
    ----------
    chains
        Number of chains.
    device
        ``"cpu"``, or another.
    """
    if device != "cpu":
        return "vectorized"
    return "parallel" if min(chains, num_cores()) > 1 else "sequential"


def check_dtype(dtype: str) -> None:
    """Raise ValueError for an unknown dtype.

    Parameters
    ----------
    dtype
        ``"float64"`` or ``"float32"``.

    Raises
    ------
    ValueError
        If the dtype is neither.
    """
    if dtype not in ("float64", "float32"):
        raise ValueError(f"Expected dtype to be 'float64' or 'float32'; got {dtype!r}")


def _check_one_of(name: str, value: Any, known: tuple[str, ...], owner: str = "") -> None:
    if value not in known:
        raise ValueError(f"Expected {name}{owner} to be one of {', '.join(known)}; got {value!r}")
