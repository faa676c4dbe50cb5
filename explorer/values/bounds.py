"""Between which numbers each element of a quantised tensor lay before it was rounded.

Levels that are not even (FP8, NF4, MXFP4, IQ4) have an interval of their own around each; the
outermost ones reach further, for numbers that were clipped.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from explorer.packed.coded import Coded
from explorer.values.blocks import widened
from explorer.values.verdicts import Levels, half_step, spread_levels

__all__ = ["Bounds", "bounds_of_coded", "bounds_of_levels", "is_inside"]

_SLACK = 1 / 16  # of a step: what rounding a scale to 16 bits moves the outermost level by
_REACH = 2.0  # widest steps that a clipped number may be outside
_ROWS = 1 << 22  # elements at a time


class Bounds(NamedTuple):
    """For each element the lowest and the highest number that is rounded to it."""

    name: str
    low: np.ndarray
    high: np.ndarray


def bounds_of_coded(name: str, rows: Iterable[Coded], shape: tuple[int, ...]) -> Bounds:
    """Return the bounds of a weight that comes as codes and scales, some rows at a time.

    >>> coded = Coded(np.array([0., 1.]), np.float32(1), np.array([0., 1., 3.]))
    >>> bounds_of_coded("own", [coded], (2,)).high.astype(float).round(4).tolist()
    [0.5625, 2.125]
    """
    lows, highs = zip(*map(_around, rows), strict=True)
    low, high = (np.concatenate(each).reshape(shape) for each in (lows, highs))
    return Bounds(name, low, high)


def _around(coded: Coded) -> tuple[np.ndarray, np.ndarray]:
    """Return the flat bounds of some rows."""
    values = coded.values.astype(np.float32)
    at = np.searchsorted(values, coded.numbers)
    last = len(values) - 1
    gaps = np.diff(values)
    below = np.concatenate(([_REACH / 0.5625 * gaps.max(initial=0)], gaps))
    above = np.concatenate((gaps, below[:1]))
    at = np.minimum(at, last)
    size = np.abs(coded.scale).astype(np.float32)
    level = np.asarray(coded.decoded(), np.float32)
    down, up = (
        np.broadcast_to((0.5 + _SLACK) * each[at] * size, level.shape)
        for each in (below, above)
    )
    flipped = np.broadcast_to(coded.scale < 0, level.shape)
    down, up = np.where(flipped, up, down), np.where(flipped, down, up)
    rounding = 1e-6 * np.abs(level)
    return (level - down - rounding).reshape(-1), (level + up + rounding).reshape(-1)


def bounds_of_levels(levels: Levels, stored: np.ndarray) -> Bounds:
    """Return the bounds of a tensor whose levels are even."""
    y = widened(stored).astype(np.float32)
    low, step, high, reach = spread_levels(levels)
    half = half_step(y, levels)
    down = np.where(y <= low + step / 4, reach + half, half)
    up = np.where(y >= high - step / 4, reach + half, half)
    return Bounds(levels.name, y - down, y + up)


def is_inside(original: np.ndarray, bounds: Bounds, other: Bounds | None = None) -> bool:
    """Return whether every number is between the bounds of what became of it.

    Args:
        original: before quantisation.
        bounds: of the tensor after it.
        other: those of `original`, if that is quantised too: then what both came from may
            be anywhere in both.
    """
    if other is not None:
        low = np.maximum(bounds.low, other.low)
        return bool((low <= np.minimum(bounds.high, other.high)).all())
    step = max(1, _ROWS * len(original) // max(original.size, 1)) if original.ndim else 1
    for start in range(0, len(original) if original.ndim else 1, step):
        rows = slice(start, start + step) if original.ndim else ()
        x = widened(original[rows]).astype(np.float32)
        if not ((bounds.low[rows] <= x) & (x <= bounds.high[rows])).all():
            return False
    return True
