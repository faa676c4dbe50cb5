"""Norms of changes whose squares float64 does not hold, and changes that it rounds away."""

from collections.abc import Iterator
from math import frexp

import numpy as np

from explorer.values.blocks import Done, flat_blocks, kept, widened

__all__ = ["exact_change", "is_wide", "scaled_figures"]

_LARGE = 2.0**1000  # magnitudes whose differences may overflow


def is_wide(dtype: np.dtype) -> bool:
    """Return whether a format holds numbers that float64 does not."""
    return dtype.itemsize > 8 or (dtype.kind in "iu" and dtype.itemsize == 8)


def exact_change(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return `y - x`, rounded once to float64.

    Integers of 64 bits are subtracted in two halves, each of which float64 holds.

    >>> exact_change(np.array([2**60]), np.array([2**60 + 100])).tolist()
    [100.0]
    """
    if max(x.dtype.itemsize, y.dtype.itemsize) > 8:
        longest = np.longdouble
        return (y.astype(longest) - x.astype(longest)).astype(np.float64)
    (high, low), (other_high, other_low) = _halves(x), _halves(y)
    return (other_high - high) + (other_low - low)


def _halves(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray | float]:
    """Return a multiple of 2^32 and the rest, which add up to each number."""
    if not is_wide(numbers.dtype):
        return widened(numbers).astype(np.float64), 0.0
    high = (numbers >> 32).astype(np.float64) * 2.0**32
    return high, (numbers & 0xFFFFFFFF).astype(np.float64)


def scaled_figures(
    a: np.ndarray, b: np.ndarray, done: Done = kept
) -> tuple[float | None, float | None]:
    """Return the relative norm of the change, and the cosine, of numbers of any size.

    Both sides, and the change, are scaled by a power of two before they are squared.

    Args:
        a, b: float64 of one shape; what is not finite on a side is left out.
        done: called with each part that was read.

    >>> scaled_figures(np.array([1e200, 1.0]), np.array([2e200, 1.0]))
    (1.0, 1.0)
    """
    tops = _tops(a, b, done)
    first, second, third = (-frexp(top)[1] for top in tops)
    aa = bb = dd = ab = 0.0
    for x, y in _finite_blocks(a, b, done):
        change = np.ldexp(_change(x, y, max(tops[:2])), third)
        x, y = np.ldexp(x, first), np.ldexp(y, second)
        aa, bb, ab = aa + float(x @ x), bb + float(y @ y), ab + float(x @ y)
        dd += float(change @ change)
    relative = cosine = None
    if aa:
        with np.errstate(over="ignore"):
            ratio = float(
                np.ldexp(
                    (dd / aa) ** 0.5, first - third + (2 if max(tops[:2]) > _LARGE else 0)
                )
            )
        relative = ratio if np.isfinite(ratio) else None
    if aa and bb:
        cosine = min(max(ab / (aa**0.5 * bb**0.5), -1.0), 1.0)
    return relative, cosine


def _change(x: np.ndarray, y: np.ndarray, top: float) -> np.ndarray:
    """Return the change; a quarter of it where it could overflow."""
    return y / 4 - x / 4 if top > _LARGE else y - x


def _tops(a: np.ndarray, b: np.ndarray, done: Done) -> tuple[float, float, float]:
    """Return the largest magnitudes of both sides and of `_change`."""
    first = second = third = 0.0
    for x, y in _finite_blocks(a, b, done):
        first, second = max(first, _top(x)), max(second, _top(y))
    for x, y in _finite_blocks(a, b, done):
        third = max(third, _top(_change(x, y, max(first, second))))
    return first, second, third


def _top(numbers: np.ndarray) -> float:
    return float(np.abs(numbers).max(initial=0.0))


def _finite_blocks(
    a: np.ndarray, b: np.ndarray, done: Done
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the numbers that are finite on both sides, in float64."""
    for _, x, y in flat_blocks(a, b, done):
        left, right = (widened(side).astype(np.float64) for side in (x, y))
        finite = np.isfinite(left) & np.isfinite(right)
        yield left[finite], right[finite]
