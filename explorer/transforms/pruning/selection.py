"""Scores -> which entries are pruned: exactly so many, ties in the order of memory.

The lowest scores are pruned; of equal ones at the limit, the first. Masks are true where an entry
is pruned.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

__all__ = [
    "Limit",
    "below_limit",
    "limit_of",
    "lowest",
    "lowest_of_rows",
    "ordered_bits",
    "outside_n_of_m",
]

Scores = np.ndarray
Mask = np.ndarray
_HALF = 16  # bits that a pass over all scores counts


def lowest(scores: Scores, number: int) -> Mask:
    """Return the mask of so many entries of an array, those with the lowest scores.

    >>> lowest(np.array([3.0, 1.0, 2.0, 1.0]), 1)
    array([False,  True, False, False])
    """
    flat = scores.reshape(-1)
    if not 0 < number < flat.size:
        return np.full(scores.shape, number >= flat.size)
    limit = np.partition(flat, number - 1)[number - 1]
    mask = flat < limit
    ties = np.flatnonzero(flat == limit)[: number - int(mask.sum())]
    mask[ties] = True
    return mask.reshape(scores.shape)


def lowest_of_rows(scores: Scores, number: int) -> Mask:
    """Return the mask of so many entries of each row, the last axis.

    >>> lowest_of_rows(np.array([[3.0, 1.0, 2.0], [0.0, 0.0, 0.0]]), 2)
    array([[False,  True,  True],
           [ True,  True, False]])
    """
    order = np.argsort(scores, axis=-1, kind="stable")[..., :number]
    mask = np.zeros(scores.shape, bool)
    np.put_along_axis(mask, order, True, -1)
    return mask


def outside_n_of_m(scores: Scores, kept: int, block: int) -> Mask:
    """Return the mask of all but n of each m consecutive entries of the last axis.

    >>> outside_n_of_m(np.array([[4.0, 1.0, 3.0, 2.0]]), 2, 4)
    array([[False,  True, False,  True]])
    """
    grouped = scores.reshape(*scores.shape[:-1], -1, block)
    return lowest_of_rows(grouped, block - kept).reshape(scores.shape)


class Limit(NamedTuple):
    """Scores whose ordered bits are below `bits` are pruned, and the first `ties` equal to it."""

    bits: int
    ties: int


def limit_of(passes: Callable[[], Iterable[Scores]], number: int) -> Limit:
    """Return the limit below which so many scores of several arrays are, in two passes.

    Args:
        passes: yields the arrays of scores, in the same order at each call; they are compared
            as float32.
        number: how many are pruned.

    >>> limit = limit_of(lambda: [np.array([3.0, 1.0]), np.array([2.0, 1.0])], 3)
    >>> [mask.tolist() for mask in below_limit([np.array([3.0, 1.0]), np.array([2.0, 1.0])], limit)]
    [[False, True], [True, True]]
    """
    high, before = _bin_of((ordered_bits(each) >> _HALF for each in passes()), number)
    low_bits = (1 << _HALF) - 1
    inside = (
        ordered[(ordered >> _HALF) == high] & low_bits
        for ordered in map(ordered_bits, passes())
    )
    low, below = _bin_of(inside, number - before)
    return Limit((high << _HALF) | low, number - before - below)


def below_limit(arrays: Iterable[Scores], limit: Limit) -> Iterator[Mask]:
    """Yield the mask of each array of scores, in the order in which `limit_of` had them."""
    ties = limit.ties
    for scores in arrays:
        ordered = ordered_bits(scores)
        mask = ordered < limit.bits
        equal = np.flatnonzero(ordered == limit.bits)[:ties]
        mask[equal] = True
        ties -= len(equal)
        yield mask.reshape(scores.shape)


def _bin_of(parts: Iterable[np.ndarray], number: int) -> tuple[int, int]:
    """Return the value that holds the number-th smallest, and how many are below it."""
    counts = np.zeros(1 << _HALF, np.int64)
    for part in parts:
        counts += np.bincount(part.astype(np.int64), minlength=1 << _HALF)
    ends = np.cumsum(counts)
    found = int(np.searchsorted(ends, number))
    return found, int(ends[found] - counts[found])


def ordered_bits(scores: Scores) -> np.ndarray:
    """Return float32 scores as unsigned numbers of the same order."""
    values = np.ascontiguousarray(scores, np.float32).reshape(-1) + 0.0  # -0 is 0
    bits = values.view(np.uint32)
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))
