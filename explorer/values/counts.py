"""Formats of at most 16 bits: every figure, exact, from how often each bit pattern occurs.

Counting the bit patterns is the whole pass: the 256 or 65,536 counts add up over
blocks, shards and processes, and all statistics follow from them in float64.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

__all__ = ["Patterns", "add_counts_of_upper", "counts_of", "has_patterns", "patterns_of"]

_BLOCK = 1 << 18  # elements: patterns are widened to 64 bits to be counted, in the cache


class Patterns(NamedTuple):
    """What the bit patterns of a format mean, in ascending order of their values.

    Attributes:
        order: the patterns of finite values, by value.
        values: those values, in float64.
        exponents: of their magnitudes; of zeros and subnormals meaningless.
        is_zero, is_subnormal: which of them are such.
        upper: the bin of each value in a sketch.
        nan, inf: the patterns that are NaN or infinite.
    """

    order: np.ndarray
    values: np.ndarray
    exponents: np.ndarray
    is_zero: np.ndarray
    is_subnormal: np.ndarray
    upper: np.ndarray
    nan: np.ndarray
    inf: np.ndarray


def has_patterns(dtype: np.dtype) -> bool:
    """Return whether elements of a dtype have at most 16 bits and are real numbers."""
    return dtype.itemsize <= 2 and dtype.kind not in "SUOMmc"


@lru_cache(16)
def patterns_of(dtype: np.dtype) -> Patterns:
    """Return the patterns of a dtype of at most 16 bits."""
    bits = np.arange(1 << (8 * dtype.itemsize), dtype=f"u{dtype.itemsize}")
    with np.errstate(all="ignore"):
        values = bits.view(dtype).astype(np.float64)
    nan, inf = np.isnan(values), np.isinf(values)
    finite = np.flatnonzero(~nan & ~inf)
    order = finite[np.argsort(values[finite], kind="stable")]
    values = values[order]
    exponents = np.frexp(values)[1] - 1
    return Patterns(
        order,
        values,
        exponents,
        values == 0,
        (values != 0) & (np.abs(values) < _smallest_normal(dtype)),
        values.astype(np.float32).view(np.uint32) >> 16,
        np.flatnonzero(nan),
        np.flatnonzero(inf),
    )


def _smallest_normal(dtype: np.dtype) -> float:
    if dtype.kind in "iub":
        return 0.0
    import ml_dtypes

    try:
        return float(ml_dtypes.finfo(dtype).smallest_normal)
    except ValueError:  # integers of 4 and 2 bits have a kind of their own
        return 0.0


def counts_of(flat: np.ndarray) -> np.ndarray:
    """Return how often each bit pattern occurs in a flat array: int64 [256] or [65536]."""
    bits = flat.view(f"u{flat.dtype.itemsize}")
    counts = np.zeros(1 << (8 * flat.dtype.itemsize), np.int64)
    places = np.empty(min(_BLOCK, bits.size), np.intp)
    for start in range(0, bits.size, _BLOCK):
        block = bits[start : start + _BLOCK]
        np.copyto(places[: block.size], block)
        # in place and without a search for the largest: a quarter faster than bincount
        np.add.at(counts, places[: block.size], 1)
    return counts


def add_counts_of_upper(flat: np.ndarray, counts: np.ndarray) -> None:
    """Add how often the upper half of each float32 of a flat array occurs to int64 [65536]."""
    words = flat.view(np.uint32)
    upper = np.empty(min(_BLOCK, words.size), np.uint32)
    places = np.empty(upper.size, np.intp)
    for start in range(0, words.size, _BLOCK):
        block = words[start : start + _BLOCK]
        np.right_shift(block, 16, out=upper[: block.size])
        np.copyto(places[: block.size], upper[: block.size])
        np.add.at(counts, places[: block.size], 1)
