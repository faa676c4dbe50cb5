"""Small tensors of float32 and 16-bit formats: sorted, so that every figure is a place in order.

Sorting a few thousand numbers takes less than clearing 65,536 bins for them; extremes, zeros,
quantiles, the histogram and the sketch are then found by bisection.
"""

from functools import lru_cache
from math import frexp, isfinite

import numpy as np

from explorer.values.far_bins import far_bins
from explorer.values.moments import Moments, moments_of_sorted
from explorer.values.sketch import Sketch, quantile_ranks
from explorer.values.summed import QUANTILES, Summed, named_quantiles

__all__ = ["SMALL", "SORTED", "ranks_of", "sum_up_small"]

SMALL = 1 << 16  # elements of 16 bits: from here on, counting takes less
_TINY = 2.0**-126
_POSITIVE = np.float32(0)
SORTED = 1 << 12  # elements of float32: from here on, binning several at a time takes less


def sum_up_small(flat: np.ndarray) -> Summed:
    """Return what a pass over at most SORTED elements of float32, or SMALL of 16 bits, gives."""
    ascending = _as_float32(flat)
    ascending.sort()  # NaN last
    if ascending.size and not (isfinite(ascending[-1]) and isfinite(ascending[0])):
        moments, ascending = _without_gaps(flat, ascending)
    else:
        moments = Moments()
    found = Summed(flat.size, moments, quantiles={})
    if ascending.size:
        tiny = _smallest_normal(flat.dtype)
        moments.merge(moments_of_sorted(ascending, tiny))
        found.quantiles = named_quantiles(ascending[ranks_of(ascending.size)])
        found.histogram = _histogram(ascending, moments, tiny)
        if moments.subnormals and tiny == _TINY:
            is_tiny = (np.abs(ascending) < tiny) & (ascending != 0)
            found.far = far_bins(ascending[is_tiny])
            ascending = ascending[~is_tiny]
        found.sketch = _sketch(ascending)
    return found


def _as_float32(flat: np.ndarray) -> np.ndarray:
    """Return a copy in float32, which holds every number of 16 bits exactly."""
    if flat.dtype.kind == "V":  # bfloat16, of two-byte formats
        wide = flat.view(np.uint16).astype(np.uint32)
        wide <<= 16
        return wide.view(np.float32)
    return flat.astype(np.float32)


def _without_gaps(flat: np.ndarray, ascending: np.ndarray) -> tuple[Moments, np.ndarray]:
    """Return how many NaN and infinities there are, where the first is, and the rest."""
    numbers = _as_float32(flat)
    is_nan, is_inf = np.isnan(numbers), np.isinf(numbers)
    moments = Moments(nan=int(is_nan.sum()), inf=int(is_inf.sum()))
    moments.first_nan = int(is_nan.argmax()) if moments.nan else None
    moments.first_inf = int(is_inf.argmax()) if moments.inf else None
    return moments, ascending[np.isfinite(ascending)]


@lru_cache(8)
def _smallest_normal(dtype: np.dtype) -> float:
    if dtype.kind in "iu":
        return 0.0
    return 2.0**-14 if dtype == np.float16 else _TINY


@lru_cache(4096)
def ranks_of(size: int) -> np.ndarray:
    """Return the places of the quantiles among so many numbers in ascending order."""
    return np.array(quantile_ranks(size, QUANTILES)) - 1


def _histogram(ascending: np.ndarray, moments: Moments, tiny: float) -> dict[int, int]:
    """Return how many magnitudes of normal numbers have each exponent."""
    largest = max(-moments.low, moments.high)
    if not largest or largest < tiny:
        return {}
    high = frexp(largest)[1] - 1
    floor = frexp(tiny)[1] - 1 if tiny else -126
    low = max(high - 48, floor)
    found = _between(ascending, low, high)
    normal = moments.finite - moments.zeros - moments.subnormals
    if sum(found.values()) < normal:  # the magnitudes span more than 48 powers of two
        found = _between(ascending, floor, high)
    return found


def _between(ascending: np.ndarray, low: int, high: int) -> dict[int, int]:
    above, below = _edges(low, high)
    reach = ascending.searchsorted(above) - ascending.searchsorted(below, "right")
    number = (reach[1:] - reach[:-1]).tolist()
    return {low + i: n for i, n in enumerate(number) if n}


@lru_cache(64)
def _edges(low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
    with np.errstate(over="ignore"):
        above = np.ldexp(np.float64(1), np.arange(low, high + 2)).astype(np.float32)
    return above, -above


def _sketch(ascending: np.ndarray) -> Sketch:
    """Return the bins, which are runs of equal upper halves."""
    if not ascending.size:
        return Sketch(np.zeros(0, np.uint16), np.zeros(0, np.int64))
    ascending = ascending + _POSITIVE  # zeros of both signs are in no order
    words = ascending.view(np.uint16)
    upper = np.ascontiguousarray(words[1::2] if np.little_endian else words[::2])
    starts = np.flatnonzero(upper[1:] != upper[:-1]) + 1
    edges = np.empty(starts.size + 2, np.int64)
    edges[0], edges[1:-1], edges[-1] = 0, starts, upper.size
    return Sketch(upper[edges[:-1]], edges[1:] - edges[:-1])
