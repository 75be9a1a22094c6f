"""Where does the integration over the scales fail? 1344 designs, from easy ones to hopeless ones.

    python scripts/stress_integration.py [--fraction 0.1] [--workers 2] [--seed 0]

One to four varying coefficients, independent or correlated; 2 to 1000 groups of 1 to 50 rows; true
standard deviations of 0 to 10 times the residual one; the uniform priors of the tutorial and the
half-normal ones of a fit by default. A design fails if Pareto k-hat is 0.5 or more, or fewer than a
tenth of the nodes are effective. 4096 nodes are taken, more only where these are not enough.
"""

import argparse
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product

import numpy as np

from radon_numpyro.data.design import Design
from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.data.labels import Labels
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.inference.importance_sampling import MAX_KHAT
from radon_numpyro.inference.integration import ScalePosterior, integrate_scales
from radon_numpyro.model.priors import Priors
from radon_numpyro.statistics.group_statistics import GroupStatistics

GROUPS, ROWS, SDS = (2, 3, 5, 10, 100, 1000), (1, 2, 10, 50), (0.0, 0.3, 1.0, 10.0)
KINDS = [(size, correlated) for size in (1, 2, 3, 4) for correlated in (False, True)]
KINDS.remove((1, True))
# With the residual standard deviation 1.
CORRELATION, NODES, LEAST_SHARE = 0.5, 4096, 0.1


@dataclass(frozen=True)
class Case:
    """One design: P coefficients that vary, groups of as many rows each, their sds and priors."""

    size: int
    correlated: bool
    groups: int
    rows: int
    sd: float
    uniform: bool

    @property
    def kind(self):
        if self.rows == 1:
            return f"one row a group, {'<= 10' if self.groups <= 10 else '>= 100'} groups"
        if self.size == 1:
            return "P = 1"
        word = "correlated" if self.correlated else "independent"
        if (self.size, self.correlated) == (4, True):
            word += f", {'<= 5' if self.groups <= 5 else '>= 10'} groups"
        return f"P = {self.size} {word}"

    def equations(self, rng):
        group = np.repeat(np.arange(self.groups), self.rows).astype(np.int32)
        x = rng.normal(size=(len(group), self.size - 1))
        names = tuple(f"x{k + 1}" for k in range(self.size - 1))
        design = Design.with_fixed(names, (), correlated=self.correlated)
        correlation = np.full((self.size, self.size), CORRELATION if self.correlated else 0.0)
        np.fill_diagonal(correlation, 1.0)
        root = self.sd * np.linalg.cholesky(correlation)
        coefficients = 1.0 + rng.normal(size=(self.groups, self.size)) @ root.T
        columns = np.column_stack([np.ones(len(group)), x])
        y = (columns * coefficients[group]).sum(1) + rng.normal(size=len(group))
        labels = Labels("y", names, "g", tuple(map(str, range(self.groups))), design)
        return GroupStatistics.from_data(GroupedData(y, x, group, labels))


@dataclass(frozen=True)
class Outcome:
    """What came of a case: its k-hat, share of effective nodes, nodes and seconds."""

    case: Case
    khat: float
    share: float
    nodes: int
    seconds: float

    @property
    def failed(self):
        return not (self.khat < MAX_KHAT and self.share >= LEAST_SHARE)


def cases():
    every = product(KINDS, GROUPS, ROWS, SDS, (True, False))
    return [Case(*kind, *others) for kind, *others in every]


def integrated(case: Case, seed: int) -> ScalePosterior:
    """The posterior with more nodes where 4096 are not enough."""
    number = cases().index(case)
    statistics = case.equations(np.random.default_rng([seed, number]))
    priors = Priors.tutorial() if case.uniform else Priors.weakly_informative(statistics)
    return integrate_scales(
        NormalEquations.from_statistics(statistics), priors, ess=LEAST_SHARE * NODES, seed=seed
    )


def outcome(case, seed):
    begin = time.perf_counter()
    try:
        found = integrated(case, seed)
        khat, share, nodes = found.khat, found.ess / found.num_nodes, found.num_nodes
    except (FloatingPointError, np.linalg.LinAlgError):
        khat, share, nodes = np.inf, 0.0, 0
    return Outcome(case, khat, share, nodes, time.perf_counter() - begin)


def table(outcomes):
    """Lines of a table by kind."""
    by_kind = {}
    for found in outcomes:
        by_kind.setdefault(found.case.kind, []).append(found)
    lines = ["| kind | designs | failed | ESS / nodes: median (10 % quantile) | seconds |"]
    lines += ["| --- | ---: | ---: | --- | ---: |"]
    for kind, some in [*by_kind.items(), ("all", outcomes)]:
        share = np.array([found.share for found in some])
        failed = sum(found.failed for found in some)
        seconds = sum(found.seconds for found in some)
        middle, low = np.quantile(share, [0.5, 0.1])
        lines += [f"| {kind} | {len(some)} | {failed} | {middle:.2f} ({low:.2f}) | {seconds:.0f} |"]
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fraction", type=float, default=1.0, help="share of the designs")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chosen = cases()
    number = max(1, round(options.fraction * len(chosen)))
    order = np.random.default_rng(options.seed).permutation(len(chosen))[:number]
    chosen = [chosen[k] for k in sorted(order)]
    with ProcessPoolExecutor(options.workers) as pool:
        outcomes = list(pool.map(outcome, chosen, [options.seed] * len(chosen), chunksize=4))
    print("\n".join(table(outcomes)))
    print("\nFailed:")
    for found in outcomes:
        if found.failed:
            print(f"  {found.case}: k-hat {found.khat:.2f}, ESS {found.share:.3f} of {found.nodes}")


if __name__ == "__main__":
    main()
