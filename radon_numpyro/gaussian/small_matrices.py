"""Dense algebra of many small matrices, for NumPy and JAX.

One array of shape (P, Q, ..., C) contains a P x Q matrix for each of C groups; axes between the
matrix and the groups are batches. A matrix without groups has shape (P, Q). For up to four rows the
algebra is unrolled: XLA fuses it into one loop over the groups, whereas batched calls of ``linalg``
would dominate the cost. For more rows batched ``linalg`` is used, because the time to compile
unrolled algebra grows steeply with P. NumPy does not compile, so that with NumPy many matrices of
up to twelve rows are unrolled too.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import numpy as np

from radon_numpyro.data.pytrees import namespace

UNROLLED = 4
# Maximum size that is unrolled with NumPy, and the smallest batch for which this is faster.
UNROLLED_BY_NUMPY, MANY = 12, 1000


def is_unrolled(size: int, *arrays: Any) -> bool:
    """Return whether sums over ``size`` rows are unrolled, that is, added term by term.

    Parameters
    ----------
    size
        Number of terms.
    arrays
        Matrices or vectors whose axes after the second are batches.
    """
    if size <= UNROLLED:
        return True
    batch = max(math.prod(array.shape[2:]) for array in arrays)
    return size <= UNROLLED_BY_NUMPY and namespace(*arrays) is np and batch >= MANY


def multiply(a: Any, b: Any) -> Any:
    """Multiply matrices (P, R, ...) by matrices (R, Q, ...) or by vectors (R, ...)."""
    xp = namespace(a, b)
    column = b.ndim < a.ndim
    if not len(b):
        return xp.zeros((len(a), *b.shape[1:]))
    if is_unrolled(len(b), a, b):
        return _added([a[:, r] * b[r] if column else a[:, r, None] * b[r] for r in range(len(b))])
    product = xp.matmul(_last(a, xp), _last(b, xp, vector=column))
    return _first(product, xp, vector=column)


def contracted(a: Any, b: Any) -> Any:
    """Contract the first axes of (R, P) and (R, ...) to (P, ...).

    Small sums are unrolled, because XLA fuses them with the surrounding operations and would
    compile a matrix product to a separate call.
    """
    xp = namespace(a, b)
    if a.shape[1] > UNROLLED or len(a) > UNROLLED:
        return xp.tensordot(a, b, (0, 0))
    if not len(a):
        return xp.zeros((a.shape[1], *b.shape[1:]))
    return _added([a[r].reshape(-1, *[1] * (b.ndim - 1)) * b[r] for r in range(len(a))])


def transposed(a: Any) -> Any:
    """Transpose matrices (P, Q, ...) to (Q, P, ...)."""
    return a.swapaxes(0, 1)


def squared_norm(a: Any) -> Any:
    """Sum squares over the first axis."""
    return (a * a).sum(0)


def diagonal(a: Any) -> list[Any]:
    """Return the P entries of the diagonal."""
    return [a[p, p] for p in range(len(a))]


def identity(size: int, ndim: int) -> Any:
    """Return the identity matrix with ``ndim`` axes; those after the second have length 1."""
    return np.eye(size).reshape(size, size, *[1] * (ndim - 2))


def cholesky(matrix: Any) -> Any:
    """Compute lower Cholesky factors; if unrolled, pivots below 0 by rounding are raised to 0."""
    size, xp = len(matrix), namespace(matrix)
    if not is_unrolled(size, matrix):
        cholesky_of = _cholesky_one_by_one if xp is np else xp.linalg.cholesky
        return _first(cholesky_of(_last(matrix, xp)), xp)
    lower = [[matrix[p, q] for q in range(p + 1)] for p in range(size)]
    return _stacked(_factored(lower, 0.0, xp), matrix, xp)


def cholesky_of_one_plus(a: Any) -> Any:
    r"""Compute lower Cholesky factors C of :math:`I + AA'`.

    The unrolled algebra raises pivots that rounding error has made less than 1 to 1.

    Parameters
    ----------
    a
        Upper triangles A, shape (P, P, ...).
    """
    size, xp = len(a), namespace(a)
    if not is_unrolled(size, a):
        return cholesky(multiply(a, transposed(a)) + identity(size, a.ndim))
    lower = [
        [_added([a[p, r] * a[q, r] for r in range(p, size)]) for q in range(p + 1)]
        for p in range(size)
    ]
    for p in range(size):
        lower[p][p] += 1.0
    return _stacked(_factored(lower, 1.0, xp), a, xp)


def _factored(lower: list[list[Any]], least: float, xp: Any) -> list[list[Any]]:
    """Compute rows of the Cholesky factor from rows of the lower triangle of a matrix.

    Squared pivots smaller than ``least`` are raised to it.
    """
    factor: list[list[Any]] = []
    inverse: list[Any] = []
    for p, row in enumerate(lower):
        out: list[Any] = []
        for q in range(p):
            out.append(_less(row[q], [out[k] * factor[q][k] for k in range(q)]) * inverse[q])
        pivot = xp.sqrt(xp.maximum(_less(row[p], [entry * entry for entry in out]), least))
        inverse.append(1.0 / pivot)
        factor.append([*out, pivot])
    return factor


def _added(terms: list[Any]) -> Any:
    """Sum terms without the initial 0 of ``sum``."""
    return sum(terms[1:], start=terms[0])


def _less(value: Any, terms: list[Any]) -> Any:
    """Subtract terms from a value."""
    return value - _added(terms) if terms else value


def solve_lower(factor: Any, rhs: Any) -> Any:
    """Solve C v = rhs for rhs of shape (P, Q, ...) or (P, ...) with the batch axes of C."""
    xp = namespace(factor, rhs)
    if not is_unrolled(len(factor), factor, rhs):
        return _solved(factor, rhs, xp, transpose=False)
    out: list[Any] = []
    for p in range(len(factor)):
        rest = _less(rhs[p], [factor[p, k] * out[k] for k in range(p)])
        out.append(rest * (1.0 / factor[p, p]))
    return xp.stack(out) if out else rhs


def solve_upper(factor: Any, rhs: Any) -> Any:
    """Solve C' v = rhs for rhs of shape (P, Q, ...) or (P, ...) with the batch axes of C."""
    size, xp = len(factor), namespace(factor, rhs)
    if not is_unrolled(size, factor, rhs):
        return _solved(factor, rhs, xp, transpose=True)
    out: list[Any] = [None] * size
    for p in reversed(range(size)):
        rest = _less(rhs[p], [factor[k, p] * out[k] for k in range(p + 1, size)])
        out[p] = rest * (1.0 / factor[p, p])
    return xp.stack(out) if out else rhs


def root_of_one_plus(a: Any) -> Any:
    r"""Compute lower triangles S' with :math:`S'S = I + A'A`, without subtracting squares.

    Parameters
    ----------
    a
        Upper triangles A, shape (P, P, ...).
    """
    size, xp = len(a), namespace(a)
    if not is_unrolled(size, a):
        return transposed(_qr_of_one_plus(a, xp))
    rows, _ = _rotated(a, [None] * size, xp)
    return _stacked([[rows[q][p - q] for q in range(p + 1)] for p in range(size)], a, xp)


def ridge(a: Any, target: Any, noise: Any) -> Any:
    r"""Draw from :math:`N(v, (I + A'A)^{-1})`, where v minimises :math:`|t - Av|^2 + |v|^2`.

    Parameters
    ----------
    a
        Upper triangles A, shape (P, P, ...).
    target
        t, shape (P, ...).
    noise
        Standard normal draws, shape (P, ...).

    Returns
    -------
    array
        The draws, shape (P, ...).
    """
    size, xp = len(a), namespace(a, target, noise)
    if not size:
        return noise
    if not is_unrolled(size, a):
        found = _qr_of_one_plus(xp.concatenate([a, target[:, None]], axis=1), xp)
        # Rows after the first P are zeros, except for the misfit in the last one.
        return solve_upper(transposed(found[:size, :size]), found[:size, size] + noise)
    rows, kept = _rotated(a, list(target), xp)
    out: list[Any] = [None] * size
    for p in reversed(range(size)):
        known = [rows[p][k - p] * out[k] for k in range(p + 1, size)]
        out[p] = _less(kept[p] + noise[p], known) * (1.0 / rows[p][0])
    return xp.stack(out)


def _rotated(a: Any, target: list[Any], xp: Any) -> tuple[list[list[Any]], list[Any]]:
    """Rotate the rows of [A, t] into the rows of [I, 0].

    Returns the rows of the triangle, each from its diagonal on, and the rotated t. None means 0.
    """
    size = len(a)
    rows: list[list[Any]] = [[1.0] + [None] * (size - p) for p in range(size)]
    for row in range(size):
        rest = [*(a[row, q] for q in range(row, size)), target[row]]
        for p in range(row, size):
            old = rows[p]
            pivot = xp.sqrt(old[0] ** 2 + rest[0] ** 2)
            inverse = 1.0 / pivot
            c, s = old[0] * inverse, rest[0] * inverse
            pairs = [_rotation(c, s, x, y) for x, y in zip(old[1:], rest[1:], strict=True)]
            rows[p], rest = [pivot, *(x for x, _ in pairs)], [y for _, y in pairs]
    return [row[:-1] for row in rows], [row[-1] for row in rows]


def _rotation(c: Any, s: Any, x: Any, y: Any) -> tuple[Any, Any]:
    if y is None:
        return x, y
    return (s * y, c * y) if x is None else (c * x + s * y, c * y - s * x)


def _qr_of_one_plus(a: Any, xp: Any) -> Any:
    """Compute the triangle, with positive diagonal, of the rows of [I, 0] stacked on [A, t]."""
    one = xp.broadcast_to(identity(a.shape[1], a.ndim)[: len(a)], a.shape)
    root = _first(xp.linalg.qr(_last(xp.concatenate([one, a]), xp), mode="r"), xp)
    sign = xp.stack([xp.where(pivot < 0, -1.0, 1.0) for pivot in diagonal(root[:, : len(root)])])
    return root * sign[:, None]


def sum_of_logs(values: list[Any]) -> Any:
    r"""Sum the logarithms of positive numbers over arrays and over their last axis.

    With :math:`x = m 2^e` and m between 1 and 2, the sum is :math:`\log 2\sum e + \log\prod m`. It
    takes one logarithm for dozens of numbers, which matters because XLA computes logarithms of
    float64 one by one on the CPU.

    Parameters
    ----------
    values
        Arrays of the same shape. Their product may overflow or underflow. Ones contribute exactly
        0.
    """
    xp = namespace(*values)
    if xp is np:
        return sum(np.log(value).sum(-1) for value in values)
    mantissa, exponent = zip(*map(xp.frexp, values), strict=True)
    together = math.prod(2.0 * m for m in mantissa)
    # The product of 96 mantissas does not overflow, even in float32.
    many = max(1, 2 ** int(math.log2(96 / min(len(values), 96))))
    missing = -together.shape[-1] % many
    rows = xp.pad(together, [(0, 0)] * (together.ndim - 1) + [(0, missing)], constant_values=1.0)
    logs = xp.log(rows.reshape(*rows.shape[:-1], -1, many).prod(-1)).sum(-1)
    return logs + math.log(2.0) * sum(e - 1 for e in exponent).sum(-1)


def _cholesky_one_by_one(matrices: np.ndarray) -> np.ndarray:
    """Factor with NumPy, but return NaN for a matrix that is not positive definite.

    ``numpy.linalg.cholesky`` raises LinAlgError for the whole batch if one matrix is not.
    """
    try:
        return np.linalg.cholesky(matrices)
    except np.linalg.LinAlgError:
        factors = np.full(matrices.shape, np.nan)
        for index in np.ndindex(matrices.shape[:-2]):
            with suppress(np.linalg.LinAlgError):
                factors[index] = np.linalg.cholesky(matrices[index])
        return factors


def _stacked(lower: list[list[Any]], like: Any, xp: Any) -> Any:
    """Stack a lower triangle, given by the entries of its rows, into one array."""
    size = len(lower)
    if not size:
        return like
    shape = np.broadcast_shapes(*(np.shape(entry) for row in lower for entry in row))
    if xp is np:
        out = np.zeros((size, size, *shape))
        for p, row in enumerate(lower):
            for q, entry in enumerate(row):
                out[p, q] = entry
        return out
    zero = xp.zeros(shape)
    rows = [
        xp.stack([xp.broadcast_to(entry, shape) for entry in row] + [zero] * (size - 1 - p))
        for p, row in enumerate(lower)
    ]
    return xp.stack(rows)


def _last(a: Any, xp: Any, *, vector: bool = False) -> Any:
    """Move the two matrix axes to the end, where ``linalg`` expects them."""
    return xp.moveaxis(a[:, None] if vector else a, (0, 1), (-2, -1))


def _first(a: Any, xp: Any, *, vector: bool = False) -> Any:
    """Undo ``_last``."""
    out = xp.moveaxis(a, (-2, -1), (0, 1))
    return out[:, 0] if vector else out


def _solved(factor: Any, rhs: Any, xp: Any, *, transpose: bool) -> Any:
    vector = rhs.ndim < factor.ndim
    left, right = _last(factor, xp), _last(rhs, xp, vector=vector)
    batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    left = xp.broadcast_to(left, (*batch, *left.shape[-2:]))
    right = xp.broadcast_to(right, (*batch, *right.shape[-2:]))
    solved: Any
    if xp is np:
        solved = np.linalg.solve(left.swapaxes(-1, -2) if transpose else left, right)
    else:
        from jax.scipy.linalg import solve_triangular

        solved = solve_triangular(left, right, lower=True, trans=int(transpose))
    return _first(solved, xp, vector=vector)
