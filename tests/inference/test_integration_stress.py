"""The script of the stress test: its designs, its table, and the chains that it compares with."""

import numpy as np
import pytest
import stress_integration
from scipy import stats
from stress_integration import Case, Outcome, cases, data_of, disagreement, outcome, table
from validation.walkers import walked

from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.inference.integration.scale_posterior import integrate_scales


def test_there_are_as_many_designs_of_each_kind_as_the_table_says():
    every = cases()
    assert len(every) == len(set(every)) == 1344
    count = {}
    for case in every:
        count[case.kind] = count.get(case.kind, 0) + 1
    assert count == {
        "P = 1": 144,
        "P = 2 independent": 144,
        "P = 2 correlated": 144,
        "P = 3 independent": 144,
        "P = 3 correlated": 144,
        "P = 4 independent": 144,
        "P = 4 correlated, <= 5 groups": 72,
        "P = 4 correlated, >= 10 groups": 72,
        "one row a group, <= 10 groups": 224,
        "one row a group, >= 100 groups": 112,
    }


def test_the_table_counts_what_failed():
    case = Case(1, False, 10, 2, 1.0, True)
    found = [Outcome(case, *v) for v in ((0.1, 0.8, 4096, 0.1), (0.6, 0.8, 4096, 0.1))]
    found += [Outcome(case, 0.1, 0.05, 4096, 0.1)]
    assert table(found)[-1].startswith("| all | 3 | 2 |")


@pytest.mark.parametrize("width", [9.0, 0.0], ids=["far away", "one point"])
def test_chains_reach_a_density_from_anywhere(width):
    """A correlated Normal in three dimensions: means and covariance of independent chains."""
    rng = np.random.default_rng(0)
    wanted = np.array([[1.0, 0.8, 0.0], [0.8, 2.0, -0.3], [0.0, -0.3, 0.5]])
    normal = stats.multivariate_normal([1.0, -2.0, 3.0], wanted)
    late = walked(normal.logpdf, rng.uniform(-width, width, (400, 3)), 600, rng)
    mean = late.mean(0)
    error = mean.std(0, ddof=1) / 20.0
    assert (np.abs(mean.mean(0) - normal.mean) < 4.0 * error).all()
    np.testing.assert_allclose(np.cov(late.reshape(-1, 3).T), wanted, atol=0.2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [
        Case(1, False, 2, 10, 1.0, True),
        Case(2, True, 5, 10, 10.0, True),
        Case(3, False, 10, 2, 0.0, False),
        Case(2, False, 100, 1, 0.3, False),
    ],
    ids=lambda case: case.kind,
)
def test_designs_pass_and_agree_with_chains(case, monkeypatch):
    """A hundred chains instead of four hundred: errors are their own, and twice as large."""
    monkeypatch.setattr(stress_integration, "CHAINS", 100)
    found = outcome(case, 0)
    assert not found.failed
    assert found.nodes <= 4096
    assert disagreement(case, 0)[0] < 5.0


@pytest.mark.slow
def test_further_rounds_make_weights_reliable():
    """One row in each of a hundred groups hardly tells the scales apart."""
    statistics, priors = data_of(Case(4, True, 100, 1, 1.0, False), 0)
    equations = NormalEquations.from_statistics(statistics)
    assert integrate_scales(equations, priors, ess=400.0).reliable
    assert not integrate_scales(equations, priors, ess=400.0, further_rounds=0).reliable
