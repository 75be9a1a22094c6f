"""Find the designs for which integration over the scales fails, among 1344 easy and hard ones.

    python scripts/stress_integration.py [--fraction 0.1] [--check 100] [--workers 2] [--seed 0]
    python scripts/stress_integration.py --cases

The designs have one to four varying coefficients, independent or correlated; 2 to 1000 groups of 1
to 50 rows; true standard deviations of 0 to 10 times the residual one; and the uniform priors of
the tutorial or the default half-normal priors of a fit. A design fails if Pareto k-hat is 0.5 or
more, or if less than a tenth of the nodes are effective. More than 4096 nodes are used only if
these are not enough.

--check compares a random sample of the designs that pass with independent Markov chains, which
start from the whole range of the scales. The chains share only the density with the integration,
and the tests compare each term of this density with dense Normal distributions.

--cases compares posteriors that are known to be difficult with exact references
(``validation/hard_cases.py``).
"""

import argparse
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product

import numpy as np
from validation.hard_cases import case_table
from validation.walkers import walked

from radon_numpyro.data.design import Design
from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.data.labels import Labels
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.inference.integration.importance_sampling import MAX_KHAT
from radon_numpyro.inference.integration.scale_density import ScaleDensity
from radon_numpyro.inference.integration.scale_posterior import ScalePosterior, integrate_scales
from radon_numpyro.model.models import Model
from radon_numpyro.model.priors import Priors
from radon_numpyro.statistics.group_statistics import GroupStatistics

GROUPS, ROWS, SDS = (2, 3, 5, 10, 100, 1000), (1, 2, 10, 50), (0.0, 0.3, 1.0, 10.0)
KINDS = [(size, correlated) for size in (1, 2, 3, 4) for correlated in (False, True)]
KINDS.remove((1, True))
# The residual standard deviation is 1.
CORRELATION, NODES, LEAST_SHARE = 0.5, 4096, 0.1
# Number and length of the chains for comparison, and the largest allowed number of standard errors.
CHAINS, STEPS, ALLOWED = 400, 1500, 5.0
HIERARCHICAL = Model.named("hierarchical")


@dataclass(frozen=True)
class Case:
    """One design: the varying coefficients, the groups and their rows, the true sd, the priors."""

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

    def simulated(self, rng):
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
    """The outcome of a case: k-hat, share of effective nodes, number of nodes, and seconds."""

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


def data_of(case, seed):
    """Return the statistics of simulated rows, and the priors."""
    statistics = case.simulated(np.random.default_rng([seed, cases().index(case)]))
    priors = Priors.tutorial() if case.uniform else Priors.weakly_informative(statistics)
    return statistics, priors


def integrated(case: Case, seed: int) -> ScalePosterior:
    """Return the posterior, with more than 4096 nodes if these are not enough."""
    statistics, priors = data_of(case, seed)
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


def features(scales):
    """Return functions of the scales with stable means, by name, of shape (S, any number)."""
    found = {
        name: np.arcsinh(values.reshape(len(values), -1) / 0.3)
        for name, values in scales.items()
        if name != "correlation"
    }
    if "correlation" in scales:
        above = np.triu_indices(scales["correlation"].shape[1], 1)
        found["correlation"] = scales["correlation"][:, *above]
    return found


def disagreement(case, seed):
    """Return the largest difference of a mean, in standard errors and in posterior sds."""
    found = integrated(case, seed)
    statistics, priors = data_of(case, seed)
    density = ScaleDensity(NormalEquations.from_statistics(statistics), priors, HIERARCHICAL)
    coordinates, rng = density.coordinates, np.random.default_rng([seed, 1])

    def log_density(points):
        # Extend the density symmetrically to negative scales.
        return density.at_nodes(np.where(coordinates.positive, np.abs(points), points))[0]

    num, steps = CHAINS if case.groups <= 100 else CHAINS // 2, STEPS
    start = coordinates.coarse(rng.random((num, coordinates.size)))
    late = walked(log_density, start, steps, rng)
    points = np.where(coordinates.positive, np.abs(late), late).reshape(-1, coordinates.size)
    drawn = features(density.scales(points))
    worst = (0.0, 0.0, "")
    for name, values in features(found.scales).items():
        mean, sd, own_error = found.nodes.average(values)
        by_chain = drawn[name].reshape(*late.shape[:2], -1).mean(0)
        error = np.hypot(own_error, by_chain.std(0, ddof=1) / np.sqrt(num))
        off = np.abs(by_chain.mean(0) - mean)
        k = int(np.argmax(off / error))
        worst = max(worst, (off[k] / error[k], off[k] / sd[k], name))
    return worst


def table(outcomes):
    """Return the lines of a table by kind of design."""
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
    parser.add_argument("--check", type=int, default=0, help="designs to compare with chains")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", action="store_true", help="the hard cases alone")
    options = parser.parse_args()
    if options.cases:
        print("\n".join(case_table()))
        return
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
                share = f"ESS {found.share:.3f} of {found.nodes}"
                print(f"  {found.case}: k-hat {found.khat:.2f}, {share}", flush=True)
        passed = [found.case for found in outcomes if not found.failed]
        order = np.random.default_rng(options.seed + 1).permutation(len(passed))[: options.check]
        some = [passed[k] for k in order]
        largest, wrong = 0.0, 0
        found = pool.map(disagreement, some, [options.seed] * len(some))
        for count, (case, (errors, sds, name)) in enumerate(zip(some, found, strict=True), 1):
            largest, wrong = max(largest, errors), wrong + (errors > ALLOWED)
            if errors > ALLOWED:
                print(f"  {case}: {name} by {errors:.1f} standard errors, {sds:.3f} posterior sds")
            print(f"Compared with chains: {count}, of which {wrong} differ by more than", end=" ")
            print(f"{ALLOWED} standard errors; the largest is {largest:.1f}.", flush=True)


if __name__ == "__main__":
    main()
