"""Posteriors that are hard by name, beside exact references that share no code with the package."""

import numpy as np
import pytest
from scipy import stats
from validation.balanced import Balanced, independent_quadrature, quadrature
from validation.hard_cases import CASES, compared

SLOW = {name for name in CASES if "correlat" in name or "units" in name or "300" in name}
SLOW.add("100 000 groups of 4 rows")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in CASES]
)
def test_hard_posteriors_are_those_of_the_reference(name):
    found = compared(name)
    assert found.posterior.reliable, found.posterior.verdict
    assert found.errors < 4.0, found.worst
    assert found.sds < 0.05
    if found.evidence is not None:
        assert abs(found.evidence) < 4.0 * found.evidence_error + 2e-3


def balanced(x, y, eta=None):
    size = x.shape[1]
    return Balanced.of_rows(
        x,
        y,
        loc=np.zeros(size),
        scale=np.full(size, 3.0),
        log_priors=(stats.halfnorm(0.0, 2.0).logpdf,) * (size + 1),
        upper=np.full(size + 1, np.inf),
        eta=eta,
    )


def test_the_reference_is_the_dense_normal_of_all_rows():
    rng = np.random.default_rng(0)
    x, y = np.column_stack([np.ones(5), rng.normal(size=5)]), rng.normal(size=(4, 5))
    data, sigma = balanced(x, y), np.array([[1.0, 0.3], [0.3, 0.5]])
    rows = np.tile(x, (4, 1))
    covariance = np.kron(np.eye(4), x @ sigma @ x.T) + 0.49 * np.eye(20) + 9.0 * rows @ rows.T
    wanted = stats.multivariate_normal(np.zeros(20), covariance).logpdf(y.ravel())
    assert data.log_likelihood(sigma[None], np.array([0.7]))[0] == pytest.approx(wanted)


def test_both_quadratures_agree():
    """Two independent coefficients with orthogonal columns, by a grid and by nested integrals."""
    rng = np.random.default_rng(1)
    x = np.array([[1.0, 1.0], [1.0, -1.0]] * 3)
    data = balanced(x, rng.normal(size=(8, 2)) @ x.T + rng.normal(size=(8, 6)))
    (evidence, first), (other, second) = quadrature(data), independent_quadrature(data)
    assert evidence == pytest.approx(other, abs=1e-4)
    for name, wanted in second.items():
        np.testing.assert_allclose(first[name], wanted, atol=1e-3)
