"""What one pass over numbers gives, merged with that of others, and the statistics of it."""

from dataclasses import dataclass, field
from math import hypot, isfinite

import numpy as np

from explorer.values.far_bins import add_far, far_middles
from explorer.values.moments import Moments
from explorer.values.records import Statistics
from explorer.values.rows import is_extreme
from explorer.values.sketch import BINS, ERROR, Band, Sketch, middles_of, quantile_ranks

__all__ = ["QUANTILES", "Summed", "named_quantiles", "order_statistics", "statistics_of"]

QUANTILES = (0.1, 1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0, 99.9)
_NAMES = [f"{share:g}" for share in QUANTILES]


@dataclass(slots=True)
class Summed:
    """What one pass gives: `quantiles`, where the pass knows them, within `error`.

    The bins of one pass are a `sketch`; those of several are `dense`, and a `band` that is not
    yet added to it; `far` are those of numbers that no normal float32 is near.
    Without bins (`has_bins`) only counts and moments are known: no histogram, no quantiles.
    """

    count: int = 0
    moments: Moments = field(default_factory=Moments)
    histogram: dict[int, int] = field(default_factory=dict)
    dense: np.ndarray | None = None
    band: Band | None = None
    sketch: Sketch | Band | None = None
    far: dict[int, int] = field(default_factory=dict)
    quantiles: dict[str, float] | None = None
    error: float = 0.0
    has_bins: bool = True

    def merge(self, other: "Summed") -> None:
        """Add the elements of another pass after these."""
        self.moments.merge(other.moments, self.count)
        self.count += other.count
        for exponent, number in other.histogram.items():
            self.histogram[exponent] = self.histogram.get(exponent, 0) + number
        self.quantiles = None
        self.has_bins = self.has_bins and other.has_bins
        if not self.has_bins:
            return
        add_far(self.far, other.far)
        dense = self._own_bins()
        if isinstance(other.sketch, Band):
            self._add_band(other.sketch)
        elif other.sketch is not None:
            other.sketch.add_to(dense)
        elif other.dense is not None:
            dense += other.all_bins()

    def _own_bins(self) -> np.ndarray:
        """Return the bins of several passes."""
        if self.dense is None:
            self.dense = np.zeros(BINS, np.int64)
            if self.sketch is not None:
                self.sketch.add_to(self.dense)
                self.sketch = None
        return self.dense

    def _add_band(self, band: Band) -> None:
        """Add a band: those of one batch are of the same bins, and are added up first."""
        if self.band is not None and self.band.is_like(band):
            np.add(self.band.counts, band.counts, out=self.band.counts)
            return
        self.all_bins()
        self.band = Band(band.low, band.counts.astype(np.int64))

    def all_bins(self) -> np.ndarray:
        """Return how many elements are in each bin: int64 [65536]."""
        dense = self._own_bins()
        if self.band is not None:
            self.band.add_to(dense)
            self.band = None
        return dense


def order_statistics(values: np.ndarray, ranks: np.ndarray) -> dict[str, float]:
    """Return the values at whose rank a share of all elements is reached."""
    if not ranks.size:
        return {}
    at = np.searchsorted(ranks, quantile_ranks(int(ranks[-1]), QUANTILES))
    return named_quantiles(values[at])


def named_quantiles(values: np.ndarray) -> dict[str, float]:
    """Return the values at each share of QUANTILES by that share in percent."""
    return dict(zip(_NAMES, values.tolist(), strict=True))


def statistics_of(summed: Summed) -> Statistics:
    """Return the statistics of what was summed up."""
    moments = summed.moments
    some = moments.finite > 0
    rms, l2 = _norms(moments)
    quantiles, error = summed.quantiles, summed.error
    if not summed.has_bins:
        quantiles, error = {}, ERROR
    elif quantiles is None:
        quantiles, error = _approximate(summed), ERROR
    return Statistics(
        count=summed.count,
        finite=moments.finite,
        min=moments.low if some else None,
        max=moments.high if some else None,
        mean=moments.mean if some else None,
        std=moments.std if some else None,
        rms=rms if some else None,
        l1=_held(moments.l1),
        l2=_held(l2),
        zeros=moments.zeros,
        subnormals=moments.subnormals,
        nan=moments.nan,
        inf=moments.inf,
        first_nan=moments.first_nan,
        first_inf=moments.first_inf,
        quantiles=quantiles,
        quantile_error=error,
        histogram=dict(sorted(summed.histogram.items())) if summed.has_bins else {},
    )


def _norms(moments: Moments) -> tuple[float, float]:
    """Return the root mean square, and the root of the sum of squares."""
    rms = hypot(moments.std, moments.mean)
    if is_extreme(rms):
        return rms, rms * moments.finite**0.5
    squares = moments.std**2 + moments.mean**2
    return squares**0.5, (moments.finite * squares) ** 0.5


def _held(value: float) -> float | None:
    return value if isfinite(value) else None


def _approximate(summed: Summed) -> dict[str, float]:
    """Return order statistics within 2^-8 of their magnitude, from the bins."""
    sketch = summed.sketch
    if sketch is None:
        sketch = Sketch.of(summed.all_bins())
    sketch = sketch.ascending()
    values, counts = middles_of(sketch.upper), sketch.counts
    if summed.far:
        far = np.array(list(summed.far))
        values = np.concatenate([values, far_middles(far)])
        counts = np.concatenate([counts, list(summed.far.values())])
        order = np.argsort(values)
        values, counts = values[order], counts[order]
    values = np.clip(values, summed.moments.low, summed.moments.high)
    return order_statistics(values, np.cumsum(counts))
