"""A flat array -> its statistics, by the pass that fits its format.

Formats of at most 16 bits are counted by bit pattern, small tensors are sorted, the others are
summed in blocks and binned by the upper half of their float32.
"""

import numpy as np

from explorer.values.counts import add_counts_of_upper, counts_of, has_patterns, patterns_of
from explorer.values.moments import Moments, moments_of
from explorer.values.sketch import BINS, NEGATIVE, Sketch
from explorer.values.small import SMALL, SORTED, sum_up_small
from explorer.values.summed import Summed, order_statistics

__all__ = ["sum_up"]

_BLOCK = 1 << 20
_SMALLEST = {np.dtype(np.float64): 2.0**-1022}
_F32_TINY = 2.0**-126
_NORMAL = 0x80  # the upper half of the smallest normal float32
_LOW, _HIGH = np.finfo(np.float32).min, np.finfo(np.float32).max


def sum_up(flat: np.ndarray, bins: bool = True) -> Summed:
    """Return what one pass over a flat, contiguous array of real numbers gives.

    Args:
        flat: the numbers.
        bins: whether quantiles and a histogram are wanted, which take most of the time.
    """
    is_f32 = flat.dtype == np.float32
    if is_f32 and not bins:
        return Summed(flat.size, moments_of(flat, _F32_TINY), has_bins=False)
    if flat.size <= (SORTED if is_f32 else SMALL if flat.dtype.itemsize == 2 else -1):
        found = sum_up_small(flat)
    elif has_patterns(flat.dtype):
        found = _by_patterns(flat)
    else:
        found = _binned(flat) if is_f32 else _wide(flat, bins)
    found.has_bins = bins
    return found


def _by_patterns(flat: np.ndarray) -> Summed:
    """Every figure from the counts of bit patterns: exact."""
    patterns = patterns_of(flat.dtype)
    counts = counts_of(flat)
    of = counts[patterns.order]
    there = np.flatnonzero(of)
    values, number = patterns.values[there], of[there]
    moments = _weighted(values, number)
    moments.zeros = int(number[patterns.is_zero[there]].sum())
    moments.subnormals = int(number[patterns.is_subnormal[there]].sum())
    moments.nan = int(counts[patterns.nan].sum())
    moments.inf = int(counts[patterns.inf].sum())
    if moments.nan:
        moments.first_nan = _first(np.isnan, flat)
    if moments.inf:
        moments.first_inf = _first(np.isinf, flat)
    binned = ~(patterns.is_zero | patterns.is_subnormal)[there]
    keys, sizes = _summed_by(patterns.upper[there], number)
    return Summed(
        count=flat.size,
        moments=moments,
        histogram=_histogram(patterns.exponents[there][binned], number[binned]),
        sketch=Sketch(keys, sizes),
        quantiles=order_statistics(values, np.cumsum(number)),
    )


def _weighted(values: np.ndarray, number: np.ndarray) -> Moments:
    """Return the moments of ascending values, each of which occurs so many times."""
    finite = int(number.sum())
    if not finite:
        return Moments()
    weight = number.astype(np.float64)
    mean = float(values @ weight) / finite
    deviation = values - mean
    return Moments(
        finite=finite,
        mean=mean,
        m2=float((deviation * deviation) @ weight),
        l1=float(np.abs(values) @ weight),
        low=float(values[0]),
        high=float(values[-1]),
    )


def _summed_by(keys: np.ndarray, number: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return keys, equal ones in a row, once each, with the sums of their numbers."""
    starts = np.flatnonzero(np.diff(keys.astype(np.int64), prepend=-1))
    sizes = np.add.reduceat(number, starts) if starts.size else number[:0]
    return keys[starts], sizes


def _histogram(exponents: np.ndarray, number: np.ndarray) -> dict[int, int]:
    if not exponents.size:
        return {}
    low = int(exponents.min())
    sizes = np.bincount(exponents - low, number).astype(np.int64)
    return {low + i: n for i, n in enumerate(sizes.tolist()) if n}


def _first(test: np.ufunc, flat: np.ndarray) -> int | None:
    for start in range(0, flat.size, _BLOCK):
        found = test(flat[start : start + _BLOCK].astype(np.float32))
        if found.any():
            return start + int(found.argmax())
    return None


def _binned(flat: np.ndarray) -> Summed:
    """Moments from the values; quantiles, histogram and what is tiny from their upper halves."""
    moments = Moments()
    counts = np.zeros(BINS, np.int64)
    small = 0
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK]  # which is in a cache when it is counted
        moments.merge(moments_of(block, None), start)
        add_counts_of_upper(block, counts)
        before, small = small, _small_in(counts)
        if small > before:
            moments.zeros += block.size - int(np.count_nonzero(block))
    moments.subnormals = small - moments.zeros
    found = Summed(count=flat.size, moments=moments)
    _set_bins(found, *Sketch.of(counts))
    return found


def _small_in(counts: np.ndarray) -> int:
    """Return how many elements are zero or subnormal, by counts of upper halves."""
    return int(counts[:_NORMAL].sum() + counts[NEGATIVE : NEGATIVE + _NORMAL].sum())


def _set_bins(found: Summed, upper: np.ndarray, counts: np.ndarray) -> None:
    """Set what float32's bins give: the sketch and the histogram."""
    exponents = ((upper >> 7) & 0xFF) - 127  # -127: zero, subnormals; 128: not finite
    finite = exponents < 128
    upper, counts, exponents = upper[finite], counts[finite], exponents[finite]
    normal = exponents > -127
    found.sketch = Sketch(upper, counts)
    found.histogram = _histogram(exponents[normal], counts[normal])


def _wide(flat: np.ndarray, bins: bool) -> Summed:
    """float64, and integers of 32 and 64 bits in float64: block by block."""
    found = Summed()
    tiny = _SMALLEST.get(flat.dtype, 0.0)
    for start in range(0, flat.size, _BLOCK):
        exact = flat[start : start + _BLOCK].astype(np.float64, copy=False)
        part = Summed(count=exact.size, moments=moments_of(exact, tiny), has_bins=bins)
        if bins:
            _set_wide_bins(part, exact[np.isfinite(exact)], tiny)
        found.merge(part)
    return found


def _set_wide_bins(part: Summed, finite: np.ndarray, tiny: float) -> None:
    sizes = np.abs(finite)
    normal = sizes[(sizes >= tiny) & (sizes > 0)]
    part.histogram = _histogram(*_runs_of(np.frexp(normal)[1] - 1))
    narrow = np.clip(finite, _LOW, _HIGH).astype(np.float32)
    counts = np.zeros(BINS, np.int64)
    add_counts_of_upper(narrow, counts)
    part.sketch = Sketch.of(counts)


def _runs_of(exponents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.unique(exponents, return_counts=True)
