"""A flat array -> its statistics, by the pass that fits its format; and parts merged.

Formats of at most 16 bits are counted by bit pattern, small tensors are sorted, the others are
summed in blocks and binned by the upper half of their float32.
"""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from explorer.values.counts import counts_of, has_patterns, patterns_of
from explorer.values.moments import Moments, moments_of
from explorer.values.records import Statistics
from explorer.values.sketch import (
    BINS,
    ERROR,
    Sketch,
    counts_by_key,
    keys_of,
    middles_of,
    quantile_ranks,
)

__all__ = ["QUANTILES", "Summed", "statistics_of", "sum_up"]

QUANTILES = (0.1, 1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0, 99.9)
SMALL = 1 << 16  # elements: below, sorting takes less than binning
_BLOCK = 1 << 20
_SMALLEST = {np.dtype(np.float64): 2.0**-1022}
_F32_TINY = 2.0**-126
_LOW, _HIGH = np.finfo(np.float32).min, np.finfo(np.float32).max


@dataclass(slots=True)
class Summed:
    """What one pass gives: `exact` holds order statistics, where the pass knows them."""

    count: int = 0
    moments: Moments = field(default_factory=Moments)
    subnormals: int = 0
    histogram: Counter[int] = field(default_factory=Counter)
    dense: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    sketch: Sketch | None = None
    exact: dict[str, float] | None = None

    def merge(self, other: "Summed") -> None:
        """Add the elements of another pass after these."""
        self.moments.merge(other.moments, self.count)
        self.count += other.count
        self.subnormals += other.subnormals
        self.histogram.update(other.histogram)
        self.exact = None
        if not self.dense.size:
            self.dense = np.zeros(BINS, np.int64)
            if self.sketch is not None:
                self.dense[self.sketch.keys] = self.sketch.counts
                self.sketch = None
        if other.sketch is not None:
            self.dense[other.sketch.keys] += other.sketch.counts
        elif other.dense.size:
            self.dense += other.dense


def sum_up(flat: np.ndarray) -> Summed:
    """Return what one pass over a flat, contiguous array of real numbers gives."""
    if has_patterns(flat.dtype):
        return _by_patterns(flat)
    if flat.dtype == np.float32:
        return _sorted(flat) if flat.size < SMALL else _binned(flat)
    return _wide(flat)


def _by_patterns(flat: np.ndarray) -> Summed:
    """Every figure from the counts of bit patterns: exact."""
    patterns = patterns_of(flat.dtype)
    counts = counts_of(flat)
    of = counts[patterns.order]
    there = np.flatnonzero(of)
    values, number = patterns.values[there], of[there]
    moments = _weighted(values, number)
    moments.zeros = int(number[patterns.is_zero[there]].sum())
    moments.nan = int(counts[patterns.nan].sum())
    moments.inf = int(counts[patterns.inf].sum())
    if moments.nan:
        moments.first_nan = _first(np.isnan, flat)
    if moments.inf:
        moments.first_inf = _first(np.isinf, flat)
    binned = ~(patterns.is_zero | patterns.is_subnormal)[there]
    keys, sizes = _summed_by(patterns.keys[there], number)
    return Summed(
        count=flat.size,
        moments=moments,
        subnormals=int(number[patterns.is_subnormal[there]].sum()),
        histogram=_histogram(patterns.exponents[there][binned], number[binned]),
        sketch=Sketch(keys, sizes),
        exact=_order_statistics(values, np.cumsum(number)),
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
    """Return ascending keys once each, with the sums of their numbers."""
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    sizes = np.add.reduceat(number, starts) if starts.size else number[:0]
    return keys[starts], sizes


def _histogram(exponents: np.ndarray, number: np.ndarray) -> Counter[int]:
    if not exponents.size:
        return Counter()
    low = int(exponents.min())
    sizes = np.bincount(exponents - low, number).astype(np.int64)
    return Counter({low + i: n for i, n in enumerate(sizes.tolist()) if n})


def _order_statistics(values: np.ndarray, ranks: np.ndarray) -> dict[str, float]:
    """Return the values at whose rank a share of all elements is reached."""
    if not ranks.size:
        return {}
    at = np.searchsorted(ranks, quantile_ranks(int(ranks[-1]), QUANTILES))
    return _named(values[at])


def _named(values: np.ndarray) -> dict[str, float]:
    return dict(zip((f"{q:g}" for q in QUANTILES), values.tolist(), strict=True))


def _first(test: np.ufunc, flat: np.ndarray) -> int | None:
    for start in range(0, flat.size, _BLOCK):
        found = test(flat[start : start + _BLOCK].astype(np.float32))
        if found.any():
            return start + int(found.argmax())
    return None


def _sorted(flat: np.ndarray) -> Summed:
    """A small tensor: sorting gives order statistics, and bins that are runs."""
    moments = moments_of(flat)
    ascending = np.sort(flat)  # NaN last
    if moments.nan or moments.inf:
        ascending = ascending[np.isfinite(ascending)]
    found = Summed(count=flat.size, moments=moments, exact={})
    if ascending.size:
        ranks = np.array(quantile_ranks(ascending.size, QUANTILES)) - 1
        found.exact = _named(ascending[ranks].astype(np.float64))
        upper = ascending.view(np.uint32) >> 16
        _set_bins(found, *_runs(keys_of(upper.astype(np.uint16)).astype(np.int64)))
    return found


def _runs(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ascending keys once each, with how often each occurs."""
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    return keys[starts], np.diff(starts, append=keys.size)


def _binned(flat: np.ndarray) -> Summed:
    """Moments from the values; quantiles and histogram from their upper halves."""
    found = Summed(count=flat.size, moments=moments_of(flat))
    counts = counts_of(_upper_halves(flat))
    _set_bins(found, *Sketch.of(counts_by_key(counts)))
    return found


def _upper_halves(flat: np.ndarray) -> np.ndarray:
    halves = flat.view(np.uint16)
    return halves[1::2] if np.little_endian else halves[::2]


def _set_bins(found: Summed, keys: np.ndarray, counts: np.ndarray) -> None:
    """Set what float32's bins give: the sketch, the histogram, how many are subnormal."""
    exponents = _exponents_of(keys)
    finite = exponents < 128
    keys, counts, exponents = keys[finite], counts[finite], exponents[finite]
    normal = exponents > -127
    found.sketch = Sketch(keys, counts)
    found.histogram = _histogram(exponents[normal], counts[normal])
    found.subnormals = int(counts[~normal].sum()) - found.moments.zeros


def _exponents_of(keys: np.ndarray) -> np.ndarray:
    """Return the exponents of bins: -127 of zero and subnormals, 128 of what is not finite."""
    upper = np.where(keys & 0x8000, keys ^ 0x8000, ~keys)
    return ((upper >> 7) & 0xFF) - 127


def _wide(flat: np.ndarray) -> Summed:
    """float64, and integers of 32 and 64 bits in float64: block by block."""
    found = Summed()
    tiny = _SMALLEST.get(flat.dtype, 0.0)
    for start in range(0, flat.size, _BLOCK):
        exact = flat[start : start + _BLOCK].astype(np.float64, copy=False)
        finite = exact[np.isfinite(exact)]
        sizes = np.abs(finite)
        normal = sizes[(sizes >= tiny) & (sizes > 0)]
        part = Summed(
            count=exact.size,
            moments=moments_of(exact),
            subnormals=int(np.count_nonzero((sizes > 0) & (sizes < tiny))),
            histogram=_histogram(*_runs_of(np.frexp(normal)[1] - 1)),
        )
        narrow = np.clip(finite, _LOW, _HIGH).astype(np.float32)
        dense = counts_by_key(counts_of(_upper_halves(narrow)))
        part.sketch = Sketch.of(dense)
        found.merge(part)
    return found


def _runs_of(exponents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.unique(exponents, return_counts=True)


def statistics_of(summed: Summed) -> Statistics:
    """Return the statistics of what was summed up."""
    moments = summed.moments
    some = moments.finite > 0
    squares = moments.m2 + moments.finite * moments.mean**2
    is_exact = summed.exact is not None
    return Statistics(
        count=summed.count,
        finite=moments.finite,
        min=moments.low if some else None,
        max=moments.high if some else None,
        mean=moments.mean if some else None,
        std=(moments.m2 / moments.finite) ** 0.5 if some else None,
        rms=(squares / moments.finite) ** 0.5 if some else None,
        l1=moments.l1,
        l2=squares**0.5,
        zeros=moments.zeros,
        subnormals=summed.subnormals,
        nan=moments.nan,
        inf=moments.inf,
        first_nan=moments.first_nan,
        first_inf=moments.first_inf,
        quantiles=summed.exact if summed.exact is not None else _approximate(summed),
        quantile_error=0.0 if is_exact else ERROR,
        histogram=dict(sorted(summed.histogram.items())),
    )


def _approximate(summed: Summed) -> dict[str, float]:
    """Return order statistics within 2^-8 of their magnitude, from the bins."""
    sketch = Sketch.of(summed.dense) if summed.sketch is None else summed.sketch
    values = np.clip(middles_of(sketch.keys), summed.moments.low, summed.moments.high)
    return _order_statistics(values, np.cumsum(sketch.counts))
