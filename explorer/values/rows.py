"""Sums of each row of a matrix: as many rows at a time as stay in the cache, all passes over them.

A large tensor is cut into rows of 131,072 elements; small tensors of one size are rows as they are.
The sums of a row are dot products of runs of it, added in float64; where a row's mean is large, what the sum says of it is
subtracted before squaring, so that the mean does not swallow a tiny variance.
"""

import threading
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

__all__ = ["BLOCK", "RUN", "RowSums", "is_extreme", "sums_of_rows"]

BLOCK = 1 << 17  # elements that stay in the cache
RUN = 1024  # elements of a dot product; the sums of several are added in float64
_TINIEST = 5e-324  # the magnitude below which there is zero alone
_SAFE = 1e15  # magnitudes whose squares neither overflow nor vanish in float32
_SAFE_WIDE = 1e140  # and in float64


class RowSums(NamedTuple):
    """Figures of each row, in float64 and int64 [rows].

    Attributes:
        size: elements of each row.
        low, high: extremes.
        least: the smallest magnitude, where zeros were counted.
        mean, m2: and the sum of squared deviations.
        l1: sum of magnitudes.
        zeros: how many elements are 0.
        small: how many are smaller than any normal number, zeros among them.
        odd: rows that hold NaN or infinities, or numbers whose squares their format does not
            hold: their figures have no meaning.
    """

    size: int
    low: np.ndarray
    high: np.ndarray
    least: np.ndarray
    mean: np.ndarray
    m2: np.ndarray
    l1: np.ndarray
    zeros: np.ndarray
    small: np.ndarray
    odd: np.ndarray


def is_extreme(largest: Any, safe: float = _SAFE_WIDE) -> Any:
    """Return whether the squares of numbers, of which the largest is given, are not held.

    >>> is_extreme(1e200), is_extreme(1e-200), is_extreme(1.0), is_extreme(0.0)
    (True, True, False, False)
    """
    return ((largest <= 1 / safe) | (largest >= safe)) & (largest != 0)


class _Scratch(threading.local):
    """Memory for a block, of each thread its own."""

    def __init__(self) -> None:
        self.sizes: dict[np.dtype, np.ndarray] = {}
        self.ones: dict[np.dtype, np.ndarray] = {}

    def of(self, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
        if dtype not in self.ones:
            self.sizes[dtype] = np.empty(BLOCK, dtype)
            self.ones[dtype] = np.ones(BLOCK, dtype)
        return self.sizes[dtype], self.ones[dtype]


_scratch = lru_cache(1)(_Scratch)


def sums_of_rows(rows: np.ndarray, tiny: float | None) -> RowSums:
    """Return the sums of the rows of a matrix.

    Args:
        rows: float32 or float64 [rows, size], contiguous, 0 < size <= BLOCK.
        tiny: magnitudes below it that are not zero are subnormal; 0 for integers in float64;
            None where neither they nor zeros are to be counted.

    >>> found = sums_of_rows(np.float32([[3, -1], [0, 1]]), 2.0**-126)
    >>> found.mean.tolist(), found.l1.tolist(), found.zeros.tolist()
    ([1.0, 0.5], [4.0, 1.0], [0, 1])
    """
    number, size = rows.shape
    step = max(1, BLOCK // size)
    run = size if size % RUN else RUN
    sums = _Sums(np.empty((3, number), rows.dtype), number, size // run, rows.dtype)
    with np.errstate(over="ignore", invalid="ignore"):  # of rows that are odd
        for at in range(0, number, step):
            _add(sums, rows[at : at + step], slice(at, min(at + step, number)), run, tiny)
        return _finished(size, sums)


class _Sums:
    """Sums of each run of each row, folded later: in the rows' own format [rows, runs]."""

    def __init__(self, edges: np.ndarray, number: int, runs: int, dtype: np.dtype) -> None:
        self.low, self.high, self.least = edges
        self.total, self.squares, self.l1 = np.empty((3, number, runs), dtype)
        self.shift = np.zeros(number, dtype)
        self.zeros, self.small = np.zeros((2, number), np.int64)


def _add(sums: _Sums, part: np.ndarray, here: slice, run: int, tiny: float | None) -> None:
    """Set the sums of some rows: all passes, while they are in the cache."""
    size = part.shape[1]
    memory, ones = _scratch().of(part.dtype)
    magnitudes, ones = memory[: part.size].reshape(part.shape), ones[:run]
    runs = part.reshape(len(part), -1, run)
    runs_of_magnitudes = magnitudes.reshape(runs.shape)
    np.minimum.reduce(part, 1, out=sums.low[here])
    np.maximum.reduce(part, 1, out=sums.high[here])
    np.vecdot(runs, ones, out=sums.total[here])
    np.vecdot(runs, runs, out=sums.squares[here])
    np.abs(part, out=magnitudes)
    np.vecdot(runs_of_magnitudes, ones, out=sums.l1[here])
    if tiny is not None:
        least = sums.least[here]
        np.minimum.reduce(magnitudes, 1, out=least)
        normal = tiny or _TINIEST
        if not least.min() >= normal:
            np.sum(magnitudes < normal, 1, out=sums.small[here])
            sums.zeros[here] = size - np.count_nonzero(part, 1)
    total = sums.total[here].sum(1)
    drawn = total * total > 0.1 * size * sums.squares[here].sum(1)
    if drawn.any():  # the mean would swallow the variance
        sums.shift[here] = np.where(drawn, total / size, 0)
        np.subtract(part, sums.shift[here, None], out=magnitudes)
        np.vecdot(runs_of_magnitudes, ones, out=sums.total[here])
        np.vecdot(runs_of_magnitudes, runs_of_magnitudes, out=sums.squares[here])


def _finished(size: int, sums: _Sums) -> RowSums:
    """Return the figures in float64, and which rows have none."""
    low, high = sums.low, sums.high
    odd = ~(np.isfinite(low) & np.isfinite(high))
    largest = np.maximum(-low, high)
    odd |= is_extreme(largest, _SAFE_WIDE if low.dtype == np.float64 else _SAFE)
    total, squares, l1 = (
        each.sum(1, dtype=np.float64) for each in (sums.total, sums.squares, sums.l1)
    )
    mean = total / size
    return RowSums(
        size=size,
        low=low.astype(np.float64),
        high=high.astype(np.float64),
        least=sums.least.astype(np.float64),
        mean=sums.shift + mean,
        m2=np.maximum(squares - total * mean, 0.0),
        l1=l1,
        zeros=sums.zeros,
        small=sums.small,
        odd=odd,
    )
