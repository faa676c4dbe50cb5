"""Sums of float32 and wider formats: cache-sized blocks, shifted, folded in float64.

A block of 65,536 elements stays in the cache while its sums are taken by dot products; where
the mean is large, an element is subtracted before squaring, so that it does not swallow a tiny
variance. Sums of blocks are folded in float64 by the pairwise update.

References:
    Chan, Golub, LeVeque: Updating formulae and a pairwise algorithm for computing sample
    variances (1979).
"""

from dataclasses import dataclass
from math import isfinite

import numpy as np

__all__ = ["Moments", "moments_of", "moments_of_sorted"]

_BLOCK = 1 << 16
_TINIEST = 5e-324  # the magnitude below which there is zero alone
_ZERO = np.float32(0)
_SAFE = (
    1e15  # magnitudes whose squares, 65,536 of them, neither overflow nor vanish in float32
)


@dataclass(slots=True)
class Moments:
    """Mergeable figures of finite elements: `m2` is the sum of squared deviations."""

    finite: int = 0
    mean: float = 0.0
    m2: float = 0.0
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
            delta = other.mean - self.mean
            share = other.finite / total
            self.m2 += other.m2 + delta * delta * self.finite * share
            self.mean += delta * share
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


def moments_of(flat: np.ndarray, tiny: float) -> Moments:
    """Return the moments of a flat array of real numbers.

    Args:
        flat: of float32 or float64.
        tiny: magnitudes below it that are not zero are subnormal; 0 for integers in float64.
    """
    if 0 < flat.size <= _BLOCK:
        return _block(flat, tiny)
    found = Moments()
    for start in range(0, flat.size, _BLOCK):
        found.merge(_block(flat[start : start + _BLOCK], tiny), start)
    return found


def _block(block: np.ndarray, tiny: float) -> Moments:
    low, high = block.min(), block.max()
    if not (isfinite(low) and isfinite(high)):
        return _with_gaps(block, tiny)
    if block.dtype == np.float32 and 1 / _SAFE < max(-low, high) < _SAFE:
        return _sums(block, float(low), float(high), tiny)
    return _sums(block.astype(np.float64), float(low), float(high), tiny)


def _sums(block: np.ndarray, low: float, high: float, tiny: float) -> Moments:
    """Return the sums of finite elements that can be squared in their own format."""
    size, shift = block.size, 0.0
    ones = _ones(block.dtype, size)
    total = float(np.dot(block, ones))
    squares = float(np.dot(block, block))
    if total * total > 0.1 * squares * size:  # the mean would swallow the variance
        shift = float(block[0])
        moved = block - block[0]
        total = float(np.dot(moved, ones))
        squares = float(np.dot(moved, moved))
    mean = total / size
    sizes = np.abs(block)
    small = zeros = 0
    least = tiny or _TINIEST
    if sizes.min() < least:
        small = int(np.count_nonzero(sizes < least))
        zeros = size - int(np.count_nonzero(block))
    return Moments(
        finite=size,
        mean=shift + mean,
        m2=max(squares - total * mean, 0.0),
        l1=float(np.dot(sizes, ones)),
        low=low,
        high=high,
        zeros=zeros,
        subnormals=small - zeros,
    )


def _with_gaps(block: np.ndarray, tiny: float) -> Moments:
    """Return the moments of a block with NaN or infinities in it."""
    is_nan = np.isnan(block)
    is_inf = np.isinf(block)
    kept = block[~(is_nan | is_inf)]
    found = Moments()
    if kept.size:
        found = _block(kept, tiny)
    found.nan, found.inf = int(is_nan.sum()), int(is_inf.sum())
    found.first_nan = int(is_nan.argmax()) if found.nan else None
    found.first_inf = int(is_inf.argmax()) if found.inf else None
    return found


def moments_of_sorted(ascending: np.ndarray, tiny: float) -> Moments:
    """Return the moments of at most 65,536 finite float32 numbers in ascending order.

    Extremes and zeros are where the order puts them; the median is what is subtracted.
    """
    size = ascending.size
    low, high = float(ascending[0]), float(ascending[-1])
    numbers = ascending
    if not 1 / _SAFE < max(-low, high) < _SAFE:
        numbers = ascending.astype(np.float64)
    first, last = ascending.searchsorted(_ZERO), ascending.searchsorted(_ZERO, "right")
    small = last - first
    if tiny:
        edges = np.array((-tiny, tiny), ascending.dtype)
        small = ascending.searchsorted(edges[1]) - ascending.searchsorted(edges[0], "right")
    ones = _ones(numbers.dtype, size)
    shift = numbers[size // 2]
    moved = numbers - shift
    total = float(np.dot(moved, ones))
    below = float(np.dot(numbers[:first], ones[:first]))
    return Moments(
        finite=size,
        mean=float(shift) + total / size,
        m2=max(float(np.dot(moved, moved)) - total * total / size, 0.0),
        l1=float(np.dot(numbers[last:], ones[last:])) - below,
        low=low,
        high=high,
        zeros=int(last - first),
        subnormals=int(small - (last - first)),
    )


_ONES: dict[np.dtype, np.ndarray] = {}


def _ones(dtype: np.dtype, size: int) -> np.ndarray:
    if dtype not in _ONES:
        _ONES[dtype] = np.ones(_BLOCK, dtype)
    return _ONES[dtype][:size]
