"""Bins of numbers that no normal float32 is near: very large doubles, very small numbers.

Counts by sign, exponent and seven bits of the mantissa, as a sketch has them for the others, so
that the middle of a bin is within 2^-8 of every element in it. There are seldom any.
"""

import numpy as np

__all__ = ["add_far", "far_bins", "far_middles"]

_OFFSET = 1200  # added to exponents: all of float64's are positive then


def far_bins(numbers: np.ndarray) -> dict[int, int]:
    """Return how many numbers are in each bin, by a signed number of the bin.

    >>> far_bins(np.array([1e200, 1e200, -1e-200]))
    {-68675: 1, 238759: 2}
    """
    mantissas, exponents = np.frexp(np.abs(numbers.astype(np.float64)))
    places = (exponents.astype(np.int64) + _OFFSET) << 7
    places += ((mantissas - 0.5) * 256).astype(np.int64)
    keys, counts = np.unique(np.where(numbers < 0, -places, places), return_counts=True)
    return dict(zip(keys.tolist(), counts.tolist(), strict=True))


def far_middles(keys: np.ndarray) -> np.ndarray:
    """Return the middle of each bin, in float64."""
    places = np.abs(keys)
    mantissas = 0.5 + ((places & 127) + 0.5) / 256
    with np.errstate(over="ignore"):
        return np.ldexp(np.where(keys < 0, -mantissas, mantissas), (places >> 7) - _OFFSET)


def add_far(bins: dict[int, int], others: dict[int, int]) -> None:
    """Add the counts of other bins to those of some."""
    for key, number in others.items():
        bins[key] = bins.get(key, 0) + number
