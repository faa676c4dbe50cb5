"""Sums of float32 and wider formats: cache-sized blocks, shifted, folded in float64.

The sums of blocks (`rows`) are folded in float64 by the pairwise update. Kept are the mean and the
deviation, not the sums that they come from, whose squares overflow where numbers of float64 do
not; blocks of very large or small numbers are scaled by a power of two.

References:
    Chan, Golub, LeVeque: Updating formulae and a pairwise algorithm for computing sample
    variances (1979).
"""

from dataclasses import dataclass
from math import frexp, hypot, isfinite, ldexp

import numpy as np

from explorer.values.rows import BLOCK, RUN, RowSums, is_extreme, sums_of_rows

__all__ = ["Moments", "moments_of", "moments_of_rows", "moments_of_sorted", "settle_mean"]

_ZERO = np.float32(0)


@dataclass(slots=True)
class Moments:
    """Mergeable figures of finite elements: `std` is the deviation of the population."""

    finite: int = 0
    mean: float = 0.0
    std: float = 0.0
    l1: float = 0.0
    low: float = np.inf
    high: float = -np.inf
    zeros: int = 0
    subnormals: int = 0
    nan: int = 0
    inf: int = 0
    first_nan: int | None = None
    first_inf: int | None = None

    def merge(self, other: "Moments", offset: int = 0) -> None:
        """Add the figures of elements that follow `offset` elements of these."""
        total = self.finite + other.finite
        if other.finite:
            share, rest = other.finite / total, self.finite / total
            delta, both = other.mean - self.mean, (share * rest) ** 0.5
            if isfinite(delta):
                between, mean = both * delta, self.mean + delta * share
            else:
                between = both * other.mean - both * self.mean
                mean = self.mean * rest + other.mean * share
            self.std = hypot(rest**0.5 * self.std, share**0.5 * other.std, between)
            self.mean = mean
        self.finite = total
        self.l1 += other.l1
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        self.zeros += other.zeros
        self.subnormals += other.subnormals
        self.nan += other.nan
        self.inf += other.inf
        if self.first_nan is None and other.first_nan is not None:
            self.first_nan = offset + other.first_nan
        if self.first_inf is None and other.first_inf is not None:
            self.first_inf = offset + other.first_inf


def moments_of(flat: np.ndarray, tiny: float | None) -> Moments:
    """Return the moments of a flat array of real numbers.

    Args:
        flat: of float32 or float64.
        tiny: magnitudes below it that are not zero are subnormal; 0 for integers in float64.
    """
    found, start = Moments(), 0
    for size in (BLOCK, max(RUN, flat.size % BLOCK // RUN * RUN), max(1, flat.size % RUN)):
        rows = flat[start : start + (flat.size - start) // size * size].reshape(-1, size)
        if len(rows):
            _add_rows(found, rows, tiny, start)
        start += rows.size
    return found


def _add_rows(found: Moments, rows: np.ndarray, tiny: float | None, start: int) -> None:
    """Add the moments of rows that begin at an element, one after the other."""
    sums = sums_of_rows(rows, tiny)
    if not sums.odd.any():
        found.merge(_folded(sums))
        return
    for at, one in enumerate(moments_of_rows(rows, tiny, sums)):
        found.merge(one, start + at * sums.size)


def _folded(sums: RowSums) -> Moments:
    """Return the moments of rows together: none of them is odd."""
    number = len(sums.mean)
    mean = float(sums.mean.mean())
    between = sums.mean - mean
    zeros, small = int(sums.zeros.sum()), int(sums.small.sum())
    return Moments(
        finite=number * sums.size,
        mean=mean,
        std=float((sums.m2.sum() / sums.size + between @ between) / number) ** 0.5,
        l1=float(sums.l1.sum()),
        low=float(sums.low.min()),
        high=float(sums.high.max()),
        zeros=zeros,
        subnormals=small - zeros,
    )


def moments_of_rows(
    rows: np.ndarray, tiny: float | None, sums: RowSums | None = None
) -> list[Moments]:
    """Return the moments of each row of a matrix.

    Args:
        rows: float32 or float64 [rows, size], contiguous, 0 < size <= BLOCK.
        tiny: as of `sums_of_rows`.
        sums: the sums of the rows, where they are known.
    """
    sums = sums or sums_of_rows(rows, tiny)
    size = sums.size
    figures = (
        sums.mean, np.sqrt(sums.m2 / size), sums.l1, sums.low, sums.high, sums.zeros, sums.small - sums.zeros
    )  # fmt: skip
    found = [Moments(size, *each) for each in zip(*(a.tolist() for a in figures))]
    for at in np.flatnonzero(sums.odd).tolist():
        found[at] = _of_odd(rows[at], tiny)
    for one, row in zip(found, rows, strict=True):
        settle_mean(one, row)
    return found


def settle_mean(found: Moments, flat: np.ndarray) -> None:
    """Sum numbers again in float64 where their mean is so small that runs in float32 blur it.

    Args:
        found: the moments of the numbers.
        flat: all of them.
    """
    is_blurred = abs(found.mean) * found.finite**0.5 < found.std
    if flat.dtype != np.float32 or not is_blurred:
        return
    if found.finite < flat.size:
        flat = flat[np.isfinite(flat)]
    found.mean = float(np.add.reduce(flat, dtype=np.float64)) / found.finite


def _of_odd(row: np.ndarray, tiny: float | None) -> Moments:
    """Return the moments of a row with NaN or infinities, or to be summed up in float64."""
    is_nan, is_inf = np.isnan(row), np.isinf(row)
    kept = row[~(is_nan | is_inf)].astype(np.float64)
    found = _of_finite(kept, tiny) if kept.size else Moments()
    found.nan, found.inf = int(is_nan.sum()), int(is_inf.sum())
    found.first_nan = int(is_nan.argmax()) if found.nan else None
    found.first_inf = int(is_inf.argmax()) if found.inf else None
    return found


def _of_finite(numbers: np.ndarray, tiny: float | None) -> Moments:
    """Return the moments of finite float64 numbers, of any size."""
    sizes = np.abs(numbers)
    largest = float(sizes.max())
    if not is_extreme(largest):
        return moments_of(numbers, tiny)
    shift = frexp(largest)[1]
    found = moments_of(np.ldexp(numbers, -shift), None)
    with np.errstate(over="ignore"):  # of a sum that float64 does not hold
        found.l1 = float(np.ldexp(found.l1, shift))
    found.mean, found.std = ldexp(found.mean, shift), ldexp(found.std, shift)
    found.low, found.high = float(numbers.min()), float(numbers.max())
    if tiny is not None:
        found.zeros = int(np.count_nonzero(sizes == 0))
        found.subnormals = int(np.count_nonzero(sizes < tiny)) - found.zeros * (tiny > 0)
    return found


def moments_of_sorted(ascending: np.ndarray, tiny: float) -> Moments:
    """Return the moments of at most 65,536 finite float32 numbers in ascending order.

    Extremes and zeros are where the order puts them; the median is what is subtracted.
    """
    size = ascending.size
    numbers = ascending.astype(np.float64)
    first, last = ascending.searchsorted(_ZERO), ascending.searchsorted(_ZERO, "right")
    small = last - first
    if tiny:
        edges = np.array((-tiny, tiny), ascending.dtype)
        small = ascending.searchsorted(edges[1]) - ascending.searchsorted(edges[0], "right")
    shift = numbers[size // 2]
    below, above = float(numbers[:first].sum()), float(numbers[last:].sum())
    mean = (below + above) / size
    numbers -= shift
    total = float(numbers.sum())
    m2 = max(float(np.dot(numbers, numbers)) - total * total / size, 0.0)
    return Moments(
        finite=size,
        mean=mean,
        std=(m2 / size) ** 0.5,
        l1=above - below,
        low=float(ascending[0]),
        high=float(ascending[-1]),
        zeros=int(last - first),
        subnormals=int(small - (last - first)),
    )
