"""Priors by the name of a coefficient: find the sites that hold it, and parse a prior from text.

Valid names are ``"Intercept"`` and the names of columns for coefficients, ``"sd(Intercept)"`` and
``"sd(COLUMN)"`` for their standard deviations between groups, ``"correlation"`` for all
correlations between them, and ``"eps"`` for the residual standard deviation.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

import numpy as np

from radon_numpyro.data.checks import first_few, suggest
from radon_numpyro.data.design import INTERCEPT, Design
from radon_numpyro.data.labels import Labels
from radon_numpyro.model.correlations import LKJ
from radon_numpyro.model.location_priors import Flat, LocationPrior, PriorFamily
from radon_numpyro.model.scale_priors import FAMILIES, HalfFlat, ScalePrior

LONGEST = 200
EXAMPLE = '"SES=Normal(0, 2)"'


def columns_of_sites(design: Design) -> dict[str, tuple[str, ...]]:
    """Return the columns whose coefficients are the entries of each site, in order.

    Parameters
    ----------
    design
        The columns of the model.

    Returns
    -------
    dict
        Names of columns by site; sites of shape () are left out.
    """
    return {
        "mu_beta": design.means,
        "beta": design.means,
        "sigma_beta": design.slopes,
        "gamma": design.fixed,
    }


def check_sizes(priors: Any, design: Design) -> None:
    """Check that each prior has one entry, or one entry for each coefficient of its site.

    Parameters
    ----------
    priors
        A ``Priors``.
    design
        The columns of the model.

    Raises
    ------
    ValueError
        If a parameter has another number of entries, or ``gamma`` is missing.
    """
    for site, columns in columns_of_sites(design).items():
        prior = getattr(priors, site)
        if prior is None:
            if columns:
                raise ValueError(
                    f"Expected priors with gamma, for the coefficients of {_listed(columns)}; got "
                    "gamma=None. Give one Normal for all of them, or one with an entry for each"
                )
            continue
        for name, value in prior.parameters.items():
            if np.shape(value) not in ((), (len(columns),)):
                raise ValueError(
                    f"Expected {name} of the prior of {site} to be a number, or to have shape "
                    f"({len(columns)},), one entry for each of {_listed(columns) or 'no columns'}; "
                    f"got shape {np.shape(value)}"
                )


def changed_sites(
    priors: Any, changes: Mapping[str, PriorFamily], labels: Labels
) -> dict[str, PriorFamily]:
    """Return the new priors of the sites that change; see :meth:`Priors.with_coefficients`.

    Parameters
    ----------
    priors
        A ``Priors``.
    changes
        Priors by name of the coefficient.
    labels
        Names of the columns, and which of them vary.

    Returns
    -------
    dict
        New priors by site.
    """
    design = labels.design
    targets = _targets(design)
    entries: dict[str, dict[int, PriorFamily]] = {}
    for name, prior in changes.items():
        if name not in targets:
            correlation = ", correlation" if design.correlated else ""
            eps = "" if design.known_errors else ", or eps"
            levels = [known for known in targets if known.startswith(f"{name}[")]
            hint = f"close: {first_few(levels)}" if levels else suggest(name, targets)
            raise ValueError(
                f"Expected the name of a coefficient, sd(...) of one that varies{correlation}"
                f"{eps}; got {name!r} ({hint})"
            )
        for site, k in targets[name]:
            entries.setdefault(site, {})[k] = _checked(name, prior, site)
    columns = columns_of_sites(design)
    check_sizes(priors, design)
    return {
        site: _joined(site, getattr(priors, site), changed, columns[site])
        if site in columns
        else changed[0]
        for site, changed in entries.items()
    }


def _targets(design: Design) -> dict[str, list[tuple[str, int]]]:
    """Return the sites that hold each parameter and its position in them, by its name."""
    targets: dict[str, list[tuple[str, int]]] = {}
    if design.has_mean_intercept:
        targets[INTERCEPT] = [("mu_alpha", 0), ("alpha", 0)]
    for k, name in enumerate(design.means):
        targets[name] = [("mu_beta", k), ("beta", k)]
    for k, name in enumerate(design.fixed):
        targets[name] = [("gamma", k)]
    others = {} if design.known_errors else {"eps": [("eps", 0)]}
    if design.intercept_varies:
        others[f"sd({INTERCEPT})"] = [("sigma_alpha", 0)]
    for k, name in enumerate(design.slopes):
        others[f"sd({name})"] = [("sigma_beta", k)]
    if design.correlated:
        others["correlation"] = [("correlation", 0)]
    for name in others:
        if name in targets:
            raise ValueError(
                f"Expected names of columns that name no other parameter; got {name!r}. Rename the "
                "column, or pass a complete Priors"
            )
    return targets | others


def _checked(name: str, prior: Any, site: str) -> PriorFamily:
    """Return the prior of one parameter, checked to be of a family that its site can have."""
    expected: Any = LocationPrior
    if site in ("sigma_alpha", "sigma_beta", "eps"):
        expected = ScalePrior
        if isinstance(prior, Flat):
            return HalfFlat()
    elif site == "correlation":
        expected = LKJ
    if not isinstance(prior, expected):
        allowed = " or ".join(
            family for family, kind in FAMILIES.items() if issubclass(kind, expected)
        )
        got = str(prior)
        if type(prior).__module__.startswith("numpyro."):
            got = f"{type(prior).__name__} of NumPyro: import priors from radon_numpyro"
        raise TypeError(f"Expected the prior of {name!r} to be {allowed}; got {got}")
    if any(np.ndim(value) for value in prior.parameters.values()):
        raise ValueError(f"Expected numbers in the prior of {name!r}; got {prior}")
    return prior


def _joined(
    site: str, before: Any, changed: dict[int, PriorFamily], columns: tuple[str, ...]
) -> PriorFamily:
    """Return the prior of a site with some of its entries replaced."""
    parts = [changed[k] if k in changed else before.component(k) for k in range(len(columns))]
    families = {type(part).__name__: name for part, name in zip(parts, columns, strict=True)}
    if len(families) > 1:
        what = "standard deviations" if site == "sigma_beta" else "coefficients"
        got = ", ".join(f"{family} of {name!r}" for family, name in families.items())
        raise ValueError(
            f"Expected priors of one family for the {what} of {_listed(columns)}, which share one "
            f"site, {site}; got {got}. Change all of them"
        )
    family = type(parts[0])
    names = parts[0].parameters
    return family(
        **{name: np.array([float(part.parameters[name]) for part in parts]) for name in names}
    )


def _listed(columns: tuple[str, ...]) -> str:
    return ", ".join(map(repr, columns))


def parse_prior(text: str) -> tuple[str, PriorFamily]:
    """Parse a prior in the notation of the command line, such as ``"SES=Normal(0, 2)"``.

    The text is never evaluated as Python: it must be the name of a family and its numbers.

    Parameters
    ----------
    text
        The name of a coefficient, an equals sign, and its prior. The name may contain equals signs.

    Returns
    -------
    name, prior
        An item for :meth:`Priors.with_coefficients`.

    Raises
    ------
    ValueError
        If the text has another form, or the family is unknown.
    """
    name, equals, written = text.rpartition("=")
    name, written = name.strip(), written.strip()
    if not (equals and name and written):
        raise ValueError(
            f"Expected a prior as NAME=FAMILY(NUMBERS), such as {EXAMPLE}; got {text[:LONGEST]!r}"
        )
    return name, _family(written)


def _family(written: str) -> PriorFamily:
    refused = f"Expected a family with its numbers, such as Normal(0, 2); got {written[:LONGEST]!r}"
    if len(written) > LONGEST:
        raise ValueError(refused)
    try:
        call = ast.parse(written, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(refused) from None
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)) or call.keywords:
        raise ValueError(refused)
    if call.func.id not in FAMILIES:
        hint = suggest(call.func.id, FAMILIES)
        raise ValueError(f"Expected a family of priors; got {call.func.id!r} ({hint})")
    family = FAMILIES[call.func.id]
    numbers = [_number(argument, refused) for argument in call.args]
    return family.of_numbers(numbers)


def _number(node: ast.expr, refused: str) -> float:
    sign = 1.0
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        sign, node = (-1.0 if isinstance(node.op, ast.USub) else 1.0), node.operand
    # bool is a subclass of int.
    value = node.value if isinstance(node, ast.Constant) else None
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(refused)
    return sign * float(value)
