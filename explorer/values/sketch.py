"""Elements by the upper 16 bits of their float32: mergeable counts that give quantiles.

The upper half of a float32 is its sign, its exponent and seven bits of its mantissa, so that a
bin spans 2^-7 of its value, and the middle of a bin is within 2^-8 of every element in it. Keys
are ordered as values are: negative ones first, by falling magnitude.
"""

from typing import NamedTuple

import numpy as np

__all__ = [
    "BINS",
    "ERROR",
    "Sketch",
    "counts_by_key",
    "keys_of",
    "middles_of",
    "quantile_ranks",
]

BINS = 1 << 16
ERROR = 2.0**-8
_BLOCK = 1 << 20


class Sketch(NamedTuple):
    """Counts of the bins that occur, by ascending key: keys int64 [n], counts int64 [n]."""

    keys: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, dense: np.ndarray) -> "Sketch":
        """Return the bins that occur of counts by key [65536]."""
        keys = np.flatnonzero(dense)
        return cls(keys, dense[keys])


def keys_of(upper: np.ndarray) -> np.ndarray:
    """Return the keys of upper halves: uint16 -> uint16, ascending as the values are."""
    return np.where(upper & 0x8000, ~upper, upper | 0x8000).astype(np.uint16)


_KEYS = keys_of(np.arange(BINS, dtype=np.uint16)).astype(np.int64)  # of each upper half


def counts_by_key(counts: np.ndarray) -> np.ndarray:
    """Return counts by upper half [65536] in the order of keys."""
    dense = np.empty_like(counts)
    dense[_KEYS] = counts
    return dense


def middles_of(keys: np.ndarray) -> np.ndarray:
    """Return the middle of each bin, in float64; 0 for the two bins about zero."""
    keys = keys.astype(np.uint16)
    upper = np.where(keys & 0x8000, keys ^ 0x8000, ~keys).astype(np.uint32)
    low = (upper << 16).view(np.float32).astype(np.float64)
    return low * (1 + ERROR)


def quantile_ranks(total: int, shares: tuple[float, ...]) -> list[int]:
    """Return the rank from 1 of the order statistic at each share in percent.

    >>> quantile_ranks(1000, (0.1, 50, 99.9))
    [1, 500, 999]
    """
    return [max(1, -(-int(share * 10) * total // 1000)) for share in shares]
