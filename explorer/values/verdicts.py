"""How one array became another: by another order, or by a quantiser's levels."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import ml_dtypes
import numpy as np

from explorer.values.blocks import Done, kept, widened

__all__ = [
    "Levels",
    "half_step",
    "is_nearest_level",
    "levels_of_scale",
    "permuted_axis",
    "spread_levels",
]

_AXES = 3  # as many are tried for another order
_SUBNORMAL = 2.0**-25  # half the distance of the smallest numbers of float16
_ROWS = 1 << 22  # elements of rows that are hashed or compared at a time


def permuted_axis(a: np.ndarray, b: np.ndarray, done: Done = kept) -> int | None:
    """Return the axis along which `b` holds the same slices in another order; None for none.

    >>> permuted_axis(np.array([[1, 2], [3, 4]]), np.array([[2, 1], [4, 3]]))
    1
    """
    if a.dtype != b.dtype or not a.size:
        return None
    for axis in range(min(a.ndim, _AXES)):
        if a.shape[axis] > 1 and _is_reordered(
            np.moveaxis(a, axis, 0), np.moveaxis(b, axis, 0), done
        ):
            return axis
    return None


def _is_reordered(a: np.ndarray, b: np.ndarray, done: Done) -> bool:
    """Return whether two arrays hold the same rows; the first of each row is compared first."""
    if a.dtype.itemsize not in (1, 2, 4, 8):
        return False
    step = max(1, _ROWS * len(a) // a.size)
    parts = [slice(start, start + step) for start in range(0, len(a), step)]
    if not _are_same(*_of_parts(_firsts, a, b, parts, done)):
        return False
    if a.ndim == 1:
        return True
    hashes = _of_parts(_row_hashes, a, b, parts, done)
    if not _are_same(*hashes):
        return False
    orders = [np.argsort(each, kind="stable") for each in hashes]
    for part in parts:  # equal hashes may be of other rows
        left, right = (
            _bits(side[order[part]]) for side, order in zip((a, b), orders, strict=True)
        )
        done(a, b)
        if not np.array_equal(left, right):
            return False
    return True


def _of_parts(
    function: Callable[[np.ndarray], np.ndarray],
    a: np.ndarray,
    b: np.ndarray,
    parts: list[slice],
    done: Done,
) -> tuple[np.ndarray, np.ndarray]:
    """Return a function of the rows of both sides, some rows at a time."""
    found: tuple[list[np.ndarray], list[np.ndarray]] = [], []
    for part in parts:
        for side, of_side in zip((a, b), found, strict=True):
            of_side.append(function(side[part]))
        done(a[part], b[part])
    return np.concatenate(found[0]), np.concatenate(found[1])


def _are_same(x: np.ndarray, y: np.ndarray) -> bool:
    """Return whether two flat arrays hold the same numbers in some order."""
    return np.array_equal(np.sort(x), np.sort(y))


def _firsts(rows: np.ndarray) -> np.ndarray:
    """Return the bits of the first element of each row."""
    return _bits(rows[(..., *[0] * (rows.ndim - 1))])


def _bits(rows: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(rows).view(f"u{rows.dtype.itemsize}")


def _row_hashes(rows: np.ndarray) -> np.ndarray:
    """Return a hash of each row's bits: a sum with random odd 64-bit factors, modulo 2^64."""
    width = rows.size // len(rows)
    factors = np.random.default_rng(0).integers(0, 2**63, width, np.uint64) * 2 + 1
    return _bits(rows).reshape(-1, width).astype(np.uint64) @ factors


class Levels(NamedTuple):
    """The numbers that a quantised tensor can hold: from `low` by `step` up to `high`.

    Each array has one entry for `group` elements along `axis`. `reach` is how far beyond the
    outermost levels a number may have been that was rounded to one of them. `rounding` is the
    relative error with which scales are stored: numbers may have been divided by them before.
    `has_offset`: whether the lowest level is stored too.
    """

    name: str
    low: np.ndarray
    step: np.ndarray
    high: np.ndarray
    reach: np.ndarray
    axis: int
    group: int
    rounding: float = 2.0**-11
    has_offset: bool = False


def levels_of_scale(scale: np.ndarray, shape: tuple[int, ...]) -> Levels | None:
    """Return the levels of 8-bit integers that are multiplied by a scale; None of no axis."""
    if not shape:
        return None
    wide = scale.astype(np.float32).reshape(*[1] * (len(shape) - scale.ndim), *scale.shape)
    group = shape[-1] if wide.shape[-1] == 1 else 1
    step = np.abs(np.broadcast_to(wide, (*shape[:-1], shape[-1] // group)))
    rounding = float(ml_dtypes.finfo(scale.dtype).eps) / 2
    edges = (-128 * step, step, 127 * step, 2 * step)
    return Levels("int8", *edges, len(shape) - 1, group, rounding)


def is_nearest_level(
    original: np.ndarray, stored: np.ndarray, levels: Levels, other: Levels | None = None
) -> bool:
    """Return whether every stored number is the level that is nearest to the original one.

    That is: within half a step; or the outermost level, and the original is beyond it.

    Args:
        original, stored: before and after quantisation.
        levels: those of `stored`.
        other: those of `original`, if that is quantised too: then within both half steps.
    """
    return all(
        _is_nearest(original, stored, levels, other, rows)
        for rows in _row_ranges(stored.shape, (levels, other))
    )


def _row_ranges(
    shape: tuple[int, ...], levels: tuple[Levels | None, ...]
) -> Iterator[slice]:
    """Yield ranges of rows that begin with a group."""
    row = max(1, int(np.prod(shape[1:], dtype=np.int64)))
    groups = [each.group for each in levels if each is not None and each.axis == 0]
    unit = int(np.lcm.reduce(groups)) if groups else 1
    step = max(1, _ROWS // row // unit) * unit
    for start in range(0, shape[0], step):
        yield slice(start, min(start + step, shape[0]))


def _is_nearest(
    original: np.ndarray,
    stored: np.ndarray,
    levels: Levels,
    other: Levels | None,
    rows: slice,
) -> bool:
    x, y = (widened(side[rows]).astype(np.float32) for side in (original, stored))
    low, step, high, reach = (_spread(part, levels, rows) for part in levels[1:5])
    allowed = half_step(y, levels, rows)
    if other is not None:
        allowed = allowed + half_step(x, other, rows)
    error = x - y
    inside = np.abs(error) <= allowed
    if inside.all():
        return True
    below = (y <= low + step / 4) & (error < 0)
    above = (y >= high - step / 4) & (error > 0)
    return bool((inside | ((below | above) & (np.abs(error) <= reach + allowed))).all())


def half_step(numbers: np.ndarray, levels: Levels, rows: slice | None = None) -> np.ndarray:
    """Return how far numbers may have been from the levels that they are rounded to."""
    rows = _all_rows(levels) if rows is None else rows
    step = _spread(levels.step, levels, rows)
    sizes = np.abs(numbers)
    if levels.has_offset:
        sizes = sizes + 2 * np.abs(_spread(levels.low, levels, rows))
    of_scale = levels.rounding + _SUBNORMAL / np.maximum(step, _SUBNORMAL) + 1e-6
    return (0.5 + 1e-3) * step + of_scale * sizes


def spread_levels(levels: Levels) -> tuple[np.ndarray, ...]:
    """Return low, step, high and reach with an entry for each element."""
    return tuple(_spread(part, levels, _all_rows(levels)) for part in levels[1:5])


def _all_rows(levels: Levels) -> slice:
    return slice(0, levels.low.shape[0] * (levels.group if levels.axis == 0 else 1))


def _spread(part: np.ndarray, levels: Levels, rows: slice) -> np.ndarray:
    """Return one entry of a group for each of its elements."""
    if levels.axis == 0:
        rows = slice(rows.start // levels.group, -(-rows.stop // levels.group))
    return np.repeat(part[rows], levels.group, levels.axis)
