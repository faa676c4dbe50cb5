"""Matrices -> their singular values and what follows: norms, ranks, the tail of the spectrum.

A matrix whose smaller side is at most `EXACT` is decomposed as it is, a long side a block of
rows at a time (from the products of its columns, where that loses nothing); of a larger one the leading singular values come from a randomised range finder.

References:
    Halko, Martinsson, Tropp: Finding structure with randomness: probabilistic algorithms for
    constructing approximate matrix decompositions (2011), algorithms 4.3, 4.4 and section 4.3.
    Clauset, Shalizi, Newman: Power-law distributions in empirical data (2009), section 3.
    Martin, Mahoney: Predicting trends in the quality of state-of-the-art neural networks
    without access to training or testing data (2021): alpha of the eigenvalues of W^T W.
    Roy, Vetterli: The effective rank: a measure of effective dimensionality (2007).
"""

from typing import NamedTuple

import numpy as np

__all__ = ["EXACT", "PowerLaw", "leading_values", "power_law", "singular_values"]

EXACT = 2048
_OVER = 16  # columns beyond the wanted rank
_TRIES = 10  # random vectors of the error bound: it fails with a probability of 10^-10
_POWERS = 4
_BOUND_POWERS = 12
_LEAST_TAIL = 8
_SQUARED = 1e-8  # of the largest square: a smaller one lacks digits


class PowerLaw(NamedTuple):
    """The tail of a spectrum: eigenvalues x >= start are distributed as x^-alpha."""

    alpha: float
    error: float
    start: float
    size: int
    distance: float


def singular_values(matrix: np.ndarray) -> np.ndarray:
    """Return all singular values of a matrix, in falling order, in float64.

    >>> singular_values(np.array([[3.0, 0.0], [0.0, -4.0], [0.0, 0.0]])).tolist()
    [4.0, 3.0]
    """
    rows = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    step = 4 * rows.shape[1]
    if rows.shape[0] > step and (found := _of_products(rows, step)) is not None:
        return found
    upper = rows[:0].astype(np.float64)
    for start in range(0, rows.shape[0], step):
        block = np.concatenate([upper, rows[start : start + step]], dtype=np.float64)
        upper = np.linalg.qr(block, mode="r") if rows.shape[0] > step else block
    return np.linalg.svd(upper, compute_uv=False)


def _of_products(rows: np.ndarray, step: int) -> np.ndarray | None:
    """Return the singular values of a tall matrix from the products of its columns.

    Squaring costs digits of the small ones: where the smallest is not right to a part in 10^7,
    None is returned. It takes a tenth of the time of a QR decomposition.
    """
    products = np.zeros((rows.shape[1],) * 2)
    for start in range(0, rows.shape[0], step):
        block = rows[start : start + step].astype(np.float64)
        products += block.T @ block
    squares = np.linalg.eigvalsh(products)[::-1]
    if not squares.size or not squares[-1] > _SQUARED * squares[0]:
        return None
    return np.sqrt(squares)


def leading_values(
    matrix: np.ndarray, rank: int, seed: int = 0
) -> tuple[np.ndarray, float]:
    """Return the leading singular values of a matrix, and a bound of the first one's error.

    No value returned is above the true one. The first is below the norm of the matrix by no
    more than the bound, but for one case in 10^10 and the rounding of the matrix's own format.

    Args:
        matrix: float32 or float64 [m, n].
        rank: how many values.
        seed: of the random vectors.

    >>> values, error = leading_values(np.diag([3.0, 2.0, 0.0, 0.0]), 2)
    >>> np.round(values, 6).tolist(), error < 1e-6
    ([3.0, 2.0], True)
    """
    rng = np.random.default_rng(seed)
    size = min(rank + _OVER, *matrix.shape)
    basis = _orthonormal(matrix @ _normal(rng, matrix.shape[1], size, matrix.dtype))
    for _ in range(_POWERS):
        basis = _orthonormal(matrix @ _orthonormal(matrix.T @ basis))
    found = np.linalg.svd((basis.T @ matrix).astype(np.float64), compute_uv=False)[:rank]
    first = float(found[0])
    left_out = _norm_bound(matrix, basis, rng)
    # A^T A is what was found and what was left out, added: Weyl's inequality
    most = min((first**2 + left_out**2) ** 0.5, _norm_bound(matrix, basis[:, :0], rng))
    return found, max(most - first, 0.0)


def _norm_bound(matrix: np.ndarray, basis: np.ndarray, rng: np.random.Generator) -> float:
    """Return a bound of the norm of R, a matrix less its projection on a basis.

    The largest of ten |P x|, times 10 sqrt(2 / pi), bounds the norm of any P, but for one case
    in 10^10 (Halko et al., lemma 4.1); P = (R R^T)^q R has the norm of R to the power 2 q + 1.
    """
    vectors = _normal(rng, matrix.shape[1], _TRIES, matrix.dtype)
    logs = np.zeros(_TRIES)
    for turn in range(2 * _BOUND_POWERS + 1):
        if turn % 2:
            vectors = matrix.T @ vectors
        else:
            vectors = matrix @ vectors
            vectors -= basis @ (basis.T @ vectors)
        norms = np.linalg.norm(vectors.astype(np.float64), axis=0)
        if not norms.all():
            return 0.0
        logs += np.log(norms)
        vectors /= norms.astype(matrix.dtype)
    largest = logs.max() + np.log(10 * np.sqrt(2 / np.pi))
    return float(np.exp(largest / (2 * _BOUND_POWERS + 1)))


def _orthonormal(columns: np.ndarray) -> np.ndarray:
    return np.linalg.qr(columns)[0]


def _normal(
    rng: np.random.Generator, rows: int, columns: int, dtype: np.dtype
) -> np.ndarray:
    return rng.standard_normal((rows, columns)).astype(dtype)


def power_law(eigenvalues: np.ndarray) -> PowerLaw | None:
    """Return the power law that fits the tail of a spectrum best, by maximum likelihood.

    For each start the exponent is that of Hill, alpha = 1 + n / sum(log(x / start)); of all
    starts the one is taken whose law is nearest to the tail in the distance of Kolmogorov and
    Smirnov. The standard error is (alpha - 1) / sqrt(n).

    Args:
        eigenvalues: of W^T W, the squared singular values; those of rounding are left out.

    Returns:
        None for a spectrum of fewer than 8 different values.
    """
    ascending = np.sort(np.asarray(eigenvalues, np.float64))
    if ascending.size:
        ascending = ascending[ascending > ascending[-1] * 1e-12]
    size = ascending.size
    starts = np.arange(size - _LEAST_TAIL + 1)
    starts = starts[ascending[starts] < ascending[-1]] if starts.size else starts
    if not starts.size:
        return None
    logs = np.log(ascending)
    after = np.cumsum(logs[::-1])[::-1]  # sums of logs from each place on
    number = size - starts
    alphas = 1 + number / np.maximum(after[starts] - number * logs[starts], 1e-300)
    distances = [
        _distance(logs[start:] - logs[start], alpha)
        for start, alpha in zip(starts.tolist(), alphas.tolist(), strict=True)
    ]
    best = int(np.argmin(distances))
    alpha, tail = float(alphas[best]), int(number[best])
    start = float(ascending[starts[best]])
    return PowerLaw(alpha, (alpha - 1) / tail**0.5, start, tail, float(distances[best]))


def _distance(logs: np.ndarray, alpha: float) -> float:
    """Return how far the distribution of a tail is from the law, at most."""
    size = logs.size
    law = 1 - np.exp((1 - alpha) * logs)
    steps = np.arange(size) / size
    return float(np.abs(law - steps).max())
