"""A flat array -> its statistics, by the pass that fits its format.

Formats of at most 16 bits are counted by bit pattern, small tensors are sorted, the others are
summed in blocks and binned by the upper half of their float32.
"""

import numpy as np

from explorer.values.counts import add_counts_of_upper, counts_of, has_patterns, patterns_of
from explorer.values.far_bins import add_far, far_bins
from explorer.values.moments import Moments, moments_of, settle_mean
from explorer.values.sketch import BINS, NEGATIVE, Sketch
from explorer.values.small import SMALL, SORTED, ranks_of, sum_up_small
from explorer.values.summed import Summed, named_quantiles, order_statistics

__all__ = ["sum_up"]

_BLOCK = 1 << 20
_SETTLED = (
    1 << 22
)  # elements of a tensor that is read again where its mean is next to nothing
_SMALLEST = {np.dtype(np.float64): 2.0**-1022}
_F32_TINY = 2.0**-126
_NORMAL = 0x80  # the upper half of the smallest normal float32
_INFINITE = 0x7F80  # that of infinity
_MAGNITUDE = np.uint64(2**63 - 1)  # the bits of a float64 without its sign
_FIRST = (1023 - 127) << 7  # the bin of float32's lowest exponent, in float64


def sum_up(flat: np.ndarray, bins: bool = True) -> Summed:
    """Return what one pass over a flat, contiguous array of real numbers gives.

    Args:
        flat: the numbers.
        bins: whether quantiles and a histogram are wanted, which take most of the time.
    """
    is_f32 = flat.dtype == np.float32
    if is_f32 and not bins:
        moments = moments_of(flat, _F32_TINY)
        if flat.size <= _SETTLED:
            settle_mean(moments, flat)
        return Summed(flat.size, moments, has_bins=False)
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
        std=(float((deviation * deviation) @ weight) / finite) ** 0.5,
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
    small, far = 0, dict[int, int]()
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK]  # which is in a cache when it is counted
        moments.merge(moments_of(block, None), start)
        add_counts_of_upper(block, counts)
        before, small = small, _small_in(counts)
        if small > before:
            zeros = block.size - int(np.count_nonzero(block))
            moments.zeros += zeros
            if small - before > zeros:
                is_tiny = (np.abs(block) < _F32_TINY) & (block != 0)
                add_far(far, far_bins(block[is_tiny]))
    moments.subnormals = small - moments.zeros
    if flat.size <= _SETTLED:
        settle_mean(moments, flat)
    counts[:_NORMAL] = counts[NEGATIVE : NEGATIVE + _NORMAL] = 0
    counts[0] = moments.zeros
    found = Summed(count=flat.size, moments=moments, far=far)
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
    found = Summed(has_bins=bins)
    tiny = _SMALLEST.get(flat.dtype, 0.0)
    for start in range(0, flat.size, _BLOCK):
        exact = flat[start : start + _BLOCK].astype(np.float64, copy=False)
        part = Summed(count=exact.size, moments=moments_of(exact, tiny), has_bins=bins)
        if bins:
            _set_wide_bins(part, exact)
        found.merge(part)
    if bins and flat.size <= SORTED:
        finite = np.sort(flat[np.isfinite(flat)])
        found.quantiles = (
            named_quantiles(finite[ranks_of(finite.size)]) if finite.size else {}
        )
    if flat.size <= _SETTLED:
        settle_mean(found.moments, flat)
    return found


def _set_wide_bins(part: Summed, numbers: np.ndarray) -> None:
    """Set the bins of float64 numbers by their own bits, which are not rounded."""
    bits = numbers.view(np.uint64)
    places = ((bits & _MAGNITUDE) >> 45).astype(np.intp)
    exponents = np.bincount(places >> 7, minlength=2048)
    there = np.flatnonzero(exponents[1:-1]) + 1  # 0: zero, subnormals; the last: not finite
    part.histogram = {int(e) - 1023: int(exponents[e]) for e in there}
    places -= _FIRST
    is_near = (places >= _NORMAL) & (places < _INFINITE)
    upper = places[is_near] | (bits[is_near] >> 48 & NEGATIVE).astype(np.intp)
    counts = np.bincount(upper, minlength=BINS)
    counts[0] = part.moments.zeros
    part.sketch = Sketch.of(counts)
    if part.moments.finite > int(counts.sum()):
        is_far = ~is_near & np.isfinite(numbers) & (numbers != 0)
        part.far = far_bins(numbers[is_far])
