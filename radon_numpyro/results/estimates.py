"""Estimates of a fit with intervals, for parameters and for groups.

The name of a column shows its kind: ``Sex[Male]`` is a level, and ``SES:Sex[Male]`` is a product.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, NamedTuple
from unicodedata import category

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import ndtri

from radon_numpyro.data.centers import zeros
from radon_numpyro.data.design import INTERCEPT
from radon_numpyro.data.identification import identified_coefficients
from radon_numpyro.data.labels import Labels
from radon_numpyro.data.moments import overall_moments
from radon_numpyro.gaussian import mixtures as mixture
from radon_numpyro.gaussian.predictive import variance_at
from radon_numpyro.gaussian.triangles import population_columns
from radon_numpyro.model.models import Model, coordinates
from radon_numpyro.model.priors import Priors
from radon_numpyro.results.datatree import column_dim, group_dim
from radon_numpyro.results.fit_reader import (
    correlations,
    has_coefficients,
    read_centers,
    read_coefficients,
    read_data,
    read_draws,
    read_labels,
    read_model,
    read_population,
    read_priors,
    read_scales,
    read_statistics,
)
from radon_numpyro.statistics.equal_rows import with_equal_rows
from radon_numpyro.statistics.group_statistics import GroupStatistics


def factors(column: str, columns: Collection[str]) -> tuple[str, ...]:
    """Return the columns whose product is an interaction; for any other column, the column itself.

    A name with a colon is an interaction only if the parts between the colons are columns too.

    Parameters
    ----------
    column
        Name of a column, such as ``"SES:Sex[Male]"``.
    columns
        Names of all columns.
    """
    found = _parts(column)
    return found if len(found) > 1 and set(found) <= set(columns) else (column,)


def level(column: str) -> tuple[str, str] | None:
    """Return variable and level of a name such as ``"Sex[Male]"``, and None for other names.

    The name alone does not show that the column is categorical: its values, 0 and 1, do.

    Parameters
    ----------
    column
        Name of a column.
    """
    found = re.fullmatch(r"(.+?)\[(.+)\]", column, re.DOTALL)
    # A cell of a table, such as c[a]:Sex[Male], is not a level of one variable.
    return (found[1], found[2]) if found and len(_parts(column)) == 1 else None


def _parts(column: str) -> tuple[str, ...]:
    """Split a name at the colons that are outside brackets."""
    parts, depth = [""], 0
    for letter in column:
        depth += (letter in "[(") - (letter in "])")
        if letter == ":" and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return tuple(parts)


ALL_GROUPS, CHOSEN_GROUPS, SAMPLED_GROUPS = 100, 40, 200
BLOCK = 500
# Unicode categories that an SVG file or a line cannot contain: controls, surrogates, unassigned
# code points, line and paragraph separators.
UNFIT = ("Cc", "Cs", "Cn", "Zl", "Zp")


class Estimate(NamedTuple):
    """Posterior mean, standard deviation, and ends of the equal-tailed interval.

    The fields are numbers or arrays of the same shape.
    """

    mean: np.ndarray
    sd: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, draws: np.ndarray, prob: float) -> Estimate:
        """Compute the estimate from draws along the first axis."""
        low, high = np.quantile(draws, (0.5 - prob / 2, 0.5 + prob / 2), axis=0)
        # Far from zero, a plain sum of thousands of draws loses the digits in which they differ.
        from_first = draws - draws[0]
        return cls(draws[0] + from_first.mean(0), from_first.std(0), low, high)


@dataclass(frozen=True, eq=False)
class Numbers:
    """The numbers of a fit for tables and reports.

    Attributes
    ----------
    tree
        The fit.
    prob
        Probability of the intervals.
    """

    tree: xr.DataTree
    prob: float

    @cached_property
    def labels(self) -> Labels:
        """Names of the columns and groups."""
        return read_labels(self.tree)

    @cached_property
    def statistics(self) -> GroupStatistics:
        """The sufficient statistics that were fitted."""
        return read_statistics(self.tree)

    @property
    def zeros(self) -> np.ndarray:
        """Value that the fit subtracts from each predictor, shape (K,)."""
        return zeros(read_centers(self.tree), self.labels.predictors)

    @cached_property
    def priors(self) -> Priors:
        """The priors of the fit."""
        return read_priors(self.tree)

    @property
    def model(self) -> Model:
        """The model."""
        return read_model(self.tree)

    @property
    def top_level(self) -> list[str]:
        """Sites whose prior does not depend on other sites: locations, then scales."""
        return self.model.top_level(self.labels.design)

    @property
    def has_rows(self) -> bool:
        """Whether the tree has the rows, not only their statistics."""
        return "observed_data" in self.tree.children

    @property
    def has_draws(self) -> bool:
        """Whether the tree has draws of the coefficients of the groups, not only summaries."""
        return has_coefficients(self.tree)

    @cached_property
    def displayed(self) -> xr.DataTree:
        """The fit with names that fit into a figure: short, in one line, and still distinct."""
        labels, group = self.labels, group_dim(self.labels)
        short = _display_columns(labels.predictors)
        design = labels.design.renamed(short)
        column, predictors = column_dim(labels), [short[x] for x in labels.predictors]
        coords: dict[str, Any] = {dim: list(x) for dim, x in coordinates(design).items()}
        coords |= {column: predictors, f"{column}_other": predictors}
        if not all(isinstance(label, int) for label in labels.groups):
            coords[group] = display(labels.groups)

        def rename(dataset: xr.Dataset) -> xr.Dataset:
            return dataset.assign_coords({n: v for n, v in coords.items() if n in dataset.dims})

        tree = xr.map_over_datasets(rename, self.tree)
        tree.attrs = self.tree.attrs | {
            "outcome": display([labels.outcome])[0],
            "predictors": json.dumps(predictors),
            "design": json.dumps(asdict(design)),
            "group": display([labels.group])[0],
        }
        return tree

    @cached_property
    def columns(self) -> pd.DataFrame:
        """``mean`` and ``sd`` of each column over all rows, and ``binary``: all values are 0 or 1.

        The index has the predictors, then the outcome. Weights of rows are not used; in a fit of
        statistics, rows count by them within their group. Means are those of the original columns,
        even if the fit subtracts a value from a predictor.
        """
        s = with_equal_rows(self.statistics)
        n = np.asarray(s.total_weight)[:, None]
        means = np.column_stack([s.mean_x + self.zeros, s.mean_y])
        within = np.column_stack([np.einsum("ckk->ck", s.sxx), s.syy])
        mean = (n * means).sum(0) / n.sum()
        sd = np.sqrt((within + n * (means - mean) ** 2).sum(0) / n.sum())
        # If x is 0 or 1, x squared equals x, and the two sums agree in every group.
        sums = n * means
        binary = np.isclose(within + n * means**2, sums, rtol=1e-9, atol=0).all(0)
        if self.labels.design.weighted and self.has_rows:
            rows = read_data(self.tree)
            values = np.column_stack([rows.x + self.zeros, rows.y])
            mean, sd = values.mean(0), values.std(0)
        names = [*self.labels.predictors, self.labels.outcome]
        return pd.DataFrame({"mean": mean, "sd": sd, "binary": binary}, index=names)

    def parameters(self) -> dict[str, np.ndarray]:
        """Return draws (S,) of each parameter that belongs to no group, e.g. ``mu_beta[floor]``."""
        found: dict[str, np.ndarray] = {}
        if self.model.eps_by_group:
            return found
        for site, draws in read_draws(self.tree, self.top_level).items():
            if draws.ndim == 1:
                found[site] = draws
            elif site == "correlation":
                found |= correlations(self.labels.design, draws)
            else:
                (dim,) = self.model.sites(self.labels.design)[site].dims
                for k, x in enumerate(coordinates(self.labels.design)[dim]):
                    found[f"{site}[{x}]"] = draws[:, k]
        return found

    def of_population(self, weights: np.ndarray) -> tuple[Estimate, Estimate | None]:
        """Estimate the line at a row, in the average group and in a new group.

        The second estimate is None if groups do not differ in this value.

        Parameters
        ----------
        weights
            Weights of the constant and of each predictor, shape (J + 1,): 1 and the values at a
            row, or the difference between two rows.
        """
        design = self.labels.design
        of_column = dict(zip((INTERCEPT, *design.predictors), weights, strict=True))
        population = [of_column[name] for name in population_columns(design)]
        own = np.array([of_column[name] for name in design.varying])
        mu = read_population(self.tree) @ population
        if not self.model.population or not own.any():
            return Estimate.of(mu, self.prob), None
        mean, variance = mu[:, None], variance_at(read_scales(self.tree), own)[:, None]
        low, high = mixture.interval(mean, variance, self.prob, "eti")
        moments = mixture.moments(mean, variance)
        new = Estimate(*(value[0] for value in (*moments, low, high)))
        return Estimate.of(mu, self.prob), new

    @cached_property
    def coefficients(self) -> Estimate:
        """Coefficients that vary by group, (C, P), in the order of ``design.varying``.

        The shape is (1, P) in the pooled model. If the coefficients were summarised, not drawn, the
        intervals are those of Normal distributions.
        """
        if self.has_draws:
            size = len(self.labels.groups) if self.model.by_group else 1
            blocks = [
                Estimate.of(read_coefficients(self.tree, slice(first, first + BLOCK)), self.prob)
                for first in range(0, size, BLOCK)
            ]
            return Estimate(*map(np.concatenate, zip(*blocks, strict=True)))
        group = group_dim(self.labels)
        mean, sd = (
            np.column_stack([part[n].transpose(group, ...) for n in ("alpha", "beta") if n in part])
            for part in (
                self.tree[f"coefficients/{kind}"].to_dataset() for kind in ("means", "sds")
            )
        )
        reach = ndtri(0.5 + self.prob / 2) * sd
        return Estimate(mean, sd, mean - reach, mean + reach)

    @cached_property
    def identified(self) -> np.ndarray:
        """Whether the rows of a group determine its coefficients, (C, P), or (1, P) if pooled."""
        s, design = self.statistics, self.labels.design
        weight, mean, sxx = (np.asarray(v) for v in (s.total_weight, s.mean_x, s.sxx))
        k = len(design.slopes)
        if self.model.by_group:
            mean, sxx = mean[:, :k], sxx[:, :k, :k]
        else:
            weight, mean, sxx = overall_moments(weight, mean, sxx)
        has_constant = INTERCEPT in (design.varying if self.model.by_group else design.population)
        if not has_constant:
            # Without a constant, products about 0 determine the slopes, not those about the mean.
            sxx = sxx + weight[:, None, None] * mean[:, :, None] * mean[:, None, :]
            mean = np.zeros_like(mean)
        found = identified_coefficients(weight, mean, sxx)
        return found[:, 0 if design.intercept_varies else 1 : k + 1]

    @cached_property
    def chosen(self) -> np.ndarray:
        """Codes of the groups that a report names, with the highest intercept first.

        These are all groups if there are at most 100. Otherwise they are the 40 groups in which a
        coefficient is farthest from its median over groups, in units of its posterior sd.
        """
        mean, sd = self.coefficients[:2]
        groups = np.arange(len(mean))
        if len(mean) > ALL_GROUPS:
            distance = np.abs(mean - np.median(mean, axis=0)) / sd
            groups = np.argsort(-distance.max(1), kind="stable")[:CHOSEN_GROUPS]
        return groups[np.argsort(-mean[groups, 0], kind="stable")]

    @property
    def sampled(self) -> np.ndarray:
        """Codes of at most 200 groups, spread evenly from the smallest to the largest."""
        by_size = np.argsort(np.asarray(self.statistics.count), kind="stable")
        every = np.linspace(0, len(by_size) - 1, min(len(by_size), SAMPLED_GROUPS))
        return np.sort(by_size[every.round().astype(int)])

    def examples(self) -> list[int]:
        """Return codes of the largest, the median and the smallest group with rows.

        Groups that share a label as text are excluded, because the label does not identify them.
        """
        count, times = np.asarray(self.statistics.count), Counter(map(str, self.labels.groups))
        by_size = [
            code
            for code in np.argsort(-count, kind="stable").tolist()
            if count[code] and times[str(self.group(code))] == 1
        ]
        return list(dict.fromkeys(by_size[k] for k in (0, len(by_size) // 2, -1) if by_size))

    def group(self, code: int) -> Hashable:
        """Return the label of a group."""
        return self.labels.groups[code]


def display(labels: Iterable[Hashable]) -> list[str]:
    """Shorten labels to one line of at most 24 letters, cut in the middle; number equal ones."""
    found: dict[str, None] = {}
    for label in labels:
        letters = (
            c if category(c) not in UNFIT else "\N{REPLACEMENT CHARACTER}" for c in str(label)
        )
        plain = "".join(letters)
        text, number = _cut(plain, 24), 1
        while text in found:
            number += 1
            text = f"{_cut(plain, 18)} {number}"
        found[text] = None
    return list(found)


def _display_columns(columns: Sequence[str]) -> dict[str, str]:
    """Return short names of columns for figures; an interaction keeps the names of its factors."""
    parts = {x: factors(x, columns) for x in columns}
    plain = [x for x in columns if len(parts[x]) == 1]
    shown = dict(zip(plain, display(plain), strict=True))
    return {x: ":".join(shown[part] for part in parts[x]) for x in columns}


def _cut(text: str, most: int) -> str:
    tail = most // 2 - 2
    if len(text) <= most:
        return text
    return f"{text[: most - tail - 1]}\N{HORIZONTAL ELLIPSIS}{text[-tail:]}"
