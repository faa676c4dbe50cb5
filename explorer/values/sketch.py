"""Elements by the upper 16 bits of their float32: mergeable counts that give quantiles.

The upper half of a float32 is its sign, its exponent and seven bits of its mantissa, so that a
bin spans 2^-7 of its value, and the middle of a bin is within 2^-8 of every element in it. Bins
are counted by those bits as they are, and put in the order of values when quantiles are asked for.
"""

from typing import NamedTuple

import numpy as np

__all__ = [
    "BINS",
    "ERROR",
    "NEGATIVE",
    "Band",
    "Sketch",
    "middles_of",
    "quantile_ranks",
]

BINS = 1 << 16
NEGATIVE = 1 << 15  # the bit of a negative number's bin
ERROR = 2.0**-8
_BLOCK = 1 << 20


class Sketch(NamedTuple):
    """Counts of the bins that occur: upper halves [n], each once, and int64 [n]."""

    upper: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, dense: np.ndarray) -> "Sketch":
        """Return the bins that occur of counts by upper half [65536]."""
        upper = np.flatnonzero(dense)
        return cls(upper, dense[upper])

    def ascending(self) -> "Sketch":
        """Return the bins in the order of their values."""
        order = np.argsort(keys_of(self.upper))
        return Sketch(self.upper[order], self.counts[order])

    def add_to(self, dense: np.ndarray) -> None:
        """Add the counts to those by upper half [65536]."""
        dense[self.upper] += self.counts


class Band(NamedTuple):
    """Counts of all bins whose magnitudes are in a range, those without elements too.

    `counts` are first the negative numbers', by falling magnitude, then the others', by rising
    magnitude; `low` is the bin of the smallest.
    """

    low: int
    counts: np.ndarray

    def add_to(self, dense: np.ndarray) -> None:
        """Add the counts to those by upper half [65536]."""
        width = self.counts.size // 2
        end = self.low + width
        dense[self.low : end] += self.counts[width:]
        dense[NEGATIVE + self.low : NEGATIVE + end] += self.counts[width - 1 :: -1]

    def is_like(self, other: "Band") -> bool:
        """Return whether the counts of both are of the same bins."""
        return self.low == other.low and self.counts.size == other.counts.size

    def ascending(self) -> Sketch:
        """Return the bins that occur in the order of their values."""
        dense = np.zeros(BINS, np.int64)
        self.add_to(dense)
        return Sketch.of(dense).ascending()


def keys_of(upper: np.ndarray) -> np.ndarray:
    """Return the keys of upper halves: uint16, ascending as the values are."""
    return np.where(upper & 0x8000, ~upper, upper | 0x8000).astype(np.uint16)


def middles_of(upper: np.ndarray) -> np.ndarray:
    """Return the middle of each bin, in float64; 0 for the two bins about zero."""
    low = (upper.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return low * (1 + ERROR)


def quantile_ranks(total: int, shares: tuple[float, ...]) -> list[int]:
    """Return the rank from 1 of the order statistic at each share in percent.

    >>> quantile_ranks(1000, (0.1, 50, 99.9))
    [1, 500, 999]
    """
    return [max(1, -(-int(share * 10) * total // 1000)) for share in shares]
