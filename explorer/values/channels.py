"""Rows and columns of a matrix that are all zeros, or equal to another one."""

from typing import NamedTuple

import numpy as np

from explorer.storage.pages import check_there, give_back

__all__ = ["AxisLines", "lines_of"]

_BLOCK = 1 << 17  # elements at a time


class AxisLines(NamedTuple):
    """What rows (axis 0) or columns (axis 1) hold.

    Attributes:
        axis: which of both they are.
        number: of all of them.
        zeros: the numbers of those that are all 0.
        equal: of those that are not, the numbers of those that are equal to another one.
    """

    axis: int
    number: int
    zeros: np.ndarray
    equal: np.ndarray


def lines_of(matrix: np.ndarray, is_own: bool = False) -> tuple[AxisLines, AxisLines]:
    """Return what the rows and the columns of a matrix hold, in one pass over it.

    AxisLines are equal that have the same bits: their 64-bit hashes are compared.

    Args:
        matrix: [m, n], contiguous, of at least one row and one column.
        is_own: whether nothing else has seen it: pages of a mapped file are given back.

    >>> rows, columns = lines_of(np.array([[1, 0, 2], [1, 0, 2], [3, 0, 3]]))
    >>> rows.equal.tolist(), columns.zeros.tolist(), columns.equal.tolist()
    ([0, 1], [1], [])
    """
    rows, columns = matrix.shape
    factors = _odd(columns, 0), _odd(rows, 1)
    hashes = np.empty(rows, np.uint64), np.zeros(columns, np.uint64)
    there = np.empty(rows, bool), np.zeros(columns, bool)
    step = max(1, _BLOCK // columns)
    for start in range(0, rows, step):
        here = slice(start, start + step)
        part = matrix[here]
        check_there(part)
        some = part != 0
        there[0][here] = some.any(axis=1)
        there[1][:] |= some.any(axis=0)
        mixed = _mixed(part)
        hashes[0][here] = mixed @ factors[0]
        hashes[1][:] += np.einsum("i,ij->j", factors[1][here], mixed)
        if is_own:
            give_back(part)
    first, second = (
        AxisLines(axis, size, np.flatnonzero(~some), _equal(of, some))
        for axis, size, of, some in zip((0, 1), matrix.shape, hashes, there, strict=True)
    )
    return first, second


def _mixed(part: np.ndarray) -> np.ndarray:
    """Return 64 bits for each element: equal ones for equal elements."""
    size = part.dtype.itemsize
    if size > 8:
        part, size = part.astype(np.float64), 8
    bits = part.view(f"u{size}").astype(np.uint64)
    return bits ^ (bits >> np.uint64(29))


def _odd(number: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**63, number, np.uint64) * 2 + 1


def _equal(hashes: np.ndarray, some: np.ndarray) -> np.ndarray:
    """Return the numbers of lines that share their hash with another one, and hold some."""
    _, inverse, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    return np.flatnonzero((counts[inverse] > 1) & some)
