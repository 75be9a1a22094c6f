"""Small dense algebra unrolled over P, with the groups as the last axis.

A P x P matrix of each of C groups is a list of P lists of arrays of shape (C,), or shapes that
broadcast with it. XLA fuses the arithmetic into one loop over the groups, where batched calls of
``linalg`` would dominate the cost. NumPy arrays work as well. What is divided by a pivot is
multiplied by its reciprocal, which XLA computes once for all that share it.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def sqrt(value: Any) -> Any:
    """Square root, on the host in float64 whatever JAX's setting; XLA takes longer for a power."""
    return jnp.sqrt(value) if isinstance(value, jax.Array) else np.sqrt(value)


def dot(a: list[Any], b: list[Any]) -> Any:
    """Inner product over P."""
    return sum(x * y for x, y in zip(a, b, strict=True))


def sum_of_logs(values: list[Any]) -> Any:
    r"""Sum over arrays of positive numbers and their last axis of their logarithms.

    With :math:`x = m 2^e`, m from 1 to 2, it is :math:`\log 2\sum e + \log\prod m`: a logarithm
    for some dozens of numbers. XLA computes those of float64 one by one on the CPU.

    Parameters
    ----------
    values
        Arrays of one shape. Their product may be out of range. Ones add exactly 0.
    """
    mantissa, exponent = zip(*map(jnp.frexp, values), strict=True)
    together = math.prod(2.0 * m for m in mantissa)
    # The product of 96 mantissas is in range in float32 too.
    many = max(1, 2 ** int(math.log2(96 / len(values))))
    missing = -together.shape[-1] % many
    rows = jnp.pad(together, [(0, 0)] * (together.ndim - 1) + [(0, missing)], constant_values=1.0)
    logs = jnp.log(rows.reshape(*rows.shape[:-1], -1, many).prod(-1)).sum(-1)
    return logs + math.log(2.0) * sum(e - 1 for e in exponent).sum(-1)


def cholesky(matrix: list[list[Any]], least: list[Any]) -> list[list[Any]]:
    """Lower Cholesky factor of a matrix given by the rows of its lower triangle.

    Pivots below ``least`` are rounding errors and raised to it; those of I + a positive
    semidefinite matrix are at least 1, those of S + a positive semidefinite matrix, S diagonal,
    at least the entries of S.
    """
    factor: list[list[Any]] = []
    for p, row in enumerate(matrix):
        out: list[Any] = []
        for q in range(p + 1):
            rest = row[q] - sum(out[k] * (factor[q] if q < p else out)[k] for k in range(q))
            if p == q:
                rest = rest + (least[p] - rest) * (rest < least[p])
                out.append(sqrt(rest))
            else:
                out.append(rest * (1.0 / factor[q][q]))
        factor.append(out)
    return factor


def solve_lower(factor: list[list[Any]], rhs: list[Any]) -> list[Any]:
    """Solve C v = rhs."""
    out: list[Any] = []
    for p, row in enumerate(factor):
        out.append((rhs[p] - sum(row[k] * out[k] for k in range(p))) * (1.0 / row[p]))
    return out


def solve_upper(factor: list[list[Any]], rhs: list[Any]) -> list[Any]:
    """Solve C' v = rhs."""
    size = len(factor)
    out: list[Any] = [None] * size
    for p in reversed(range(size)):
        rest = rhs[p] - sum(factor[k][p] * out[k] for k in range(p + 1, size))
        out[p] = rest * (1.0 / factor[p][p])
    return out


def updated(factor: list[list[Any]], row: list[Any]) -> list[list[Any]]:
    r"""Upper triangle S with :math:`S'S = F'F + rr'`, by rotations: no square is ever subtracted.

    Triangles are given by their rows from the diagonal on, and so is ``row``, whose first entries,
    as many as it is short of P, are zeros.
    """
    first = len(factor) - len(row)
    rest, out = list(row), list(factor[:first])
    for old in factor[first:]:
        pivot = sqrt(old[0] ** 2 + rest[0] ** 2)
        c, s = old[0] / pivot, rest[0] / pivot
        pairs = list(zip(old[1:], rest[1:], strict=True))
        out.append([pivot, *(c * a + s * b for a, b in pairs)])
        rest = [c * b - s * a for a, b in pairs]
    return out
