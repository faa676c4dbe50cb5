"""How one array became another: by rounding, by another order, or by a quantiser's levels."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from explorer.values.blocks import flat_blocks, widened, words

__all__ = [
    "Levels",
    "is_nearest_level",
    "levels_of_scale",
    "permuted_axis",
    "rounded_to",
    "spread_levels",
]

_AXES = 3  # as many are tried for another order
_SLACK = 1 / 16  # of a step: what rounding a scale to 16 bits moves the outermost level by
_ROWS = 1 << 22  # elements of rows that are hashed or compared at a time


def rounded_to(a: np.ndarray, b: np.ndarray) -> str:
    """Return the format whose rounding makes one array of the other; "" for none.

    One side holds numbers of that format alone, and those of the other side round to them: to
    the nearest, or towards zero (a cut bfloat16).

    >>> rounded_to(np.float32([1.001, 2.0]), np.float32([1.0, 2.0]))
    'bfloat16'
    """
    import ml_dtypes

    narrow: dict[str, np.dtype] = {"bfloat16": np.dtype(ml_dtypes.bfloat16)}
    narrow |= {"float16": np.dtype(np.float16)}
    own = {side.dtype.name: side.dtype for side in (a, b) if _is_float(side.dtype)}
    if len(own) < 2 and not {"float32", "float64"} & own.keys():
        return ""
    if len(own) == 2:  # formats of their own say what was rounded
        narrow = {name: kind for name, kind in own.items() if kind.itemsize < 8}
    for name, kind in narrow.items():
        for wide, short in ((a, b), (b, a)):
            if wide.dtype != kind and _rounds(wide, short, kind):
                return name
    return ""


def _is_float(dtype: np.dtype) -> bool:
    return dtype.kind == "f" or dtype.name.startswith(("bfloat", "float"))


def _rounds(wide: np.ndarray, short: np.ndarray, kind: np.dtype) -> bool:
    with np.errstate(all="ignore"):
        return all(_block_rounds(x, y, kind) for _, x, y in flat_blocks(wide, short))


def _block_rounds(wide: np.ndarray, short: np.ndarray, kind: np.dtype) -> bool:
    held = short if short.dtype == kind else short.astype(kind)
    numbers = widened(held).astype(np.float64)
    if short.dtype != kind and not _equal(numbers, widened(short)):
        return False
    near = wide.astype(kind).astype(np.float64)
    if not np.array_equal(np.isfinite(wide.astype(np.float64)), np.isfinite(numbers)):
        return False  # overflow is not rounding
    if _equal(near, numbers):
        return True
    if kind.name != "bfloat16" or wide.dtype != np.float32:
        return False
    cut = (wide.view(np.uint32) & 0xFFFF0000).view(np.float32)
    return _equal(cut, numbers)


def _equal(x: np.ndarray, y: np.ndarray) -> bool:
    return np.array_equal(x, y, equal_nan=True)


def permuted_axis(a: np.ndarray, b: np.ndarray) -> int | None:
    """Return the axis along which `b` holds the same slices in another order; None for none.

    >>> permuted_axis(np.array([[1, 2], [3, 4]]), np.array([[2, 1], [4, 3]]))
    1
    """
    if a.dtype != b.dtype or not a.size:
        return None
    for axis in range(min(a.ndim, _AXES)):
        if a.shape[axis] > 1 and _is_reordered(
            np.moveaxis(a, axis, 0), np.moveaxis(b, axis, 0)
        ):
            return axis
    return None


def _is_reordered(a: np.ndarray, b: np.ndarray) -> bool:
    """Return whether two arrays hold the same rows; the first of each row is compared first."""
    firsts = [
        words(np.ascontiguousarray(side[(..., *[0] * (side.ndim - 1))])) for side in (a, b)
    ]
    if firsts[0] is None or firsts[1] is None:
        return False
    if not np.array_equal(np.sort(firsts[0]), np.sort(firsts[1])):
        return False
    if a.ndim == 1:
        return True
    hashes = [_row_hashes(side) for side in (a, b)]
    orders = [np.argsort(each, kind="stable") for each in hashes]
    if not np.array_equal(hashes[0][orders[0]], hashes[1][orders[1]]):
        return False
    step = max(1, _ROWS * len(a) // a.size)
    for start in range(0, len(a), step):  # equal hashes may be of other rows
        left, right = (
            _bits(side[order[start : start + step]])
            for side, order in ((a, orders[0]), (b, orders[1]))
        )
        if not np.array_equal(left, right):
            return False
    return True


def _bits(rows: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(rows).view(f"u{rows.dtype.itemsize}")


def _row_hashes(rows: np.ndarray) -> np.ndarray:
    """Return a hash of each row's bits: a sum with random odd 64-bit factors, modulo 2^64."""
    width = rows.size // len(rows)
    factors = np.random.default_rng(0).integers(0, 2**63, width, np.uint64) * 2 + 1
    step = max(1, _ROWS // width)
    return np.concatenate(
        [
            _bits(rows[start : start + step]).reshape(-1, width).astype(np.uint64) @ factors
            for start in range(0, len(rows), step)
        ]
    )


class Levels(NamedTuple):
    """The numbers that a quantised tensor can hold: from `low` by `step` up to `high`.

    Each array has one entry for `group` elements along `axis`. `reach` is how far beyond the
    outermost levels a number may have been that was rounded to one of them.
    """

    name: str
    low: np.ndarray
    step: np.ndarray
    high: np.ndarray
    reach: np.ndarray
    axis: int
    group: int


def levels_of_scale(scale: np.ndarray, shape: tuple[int, ...]) -> Levels | None:
    """Return the levels of 8-bit integers that are multiplied by a scale; None of no axis."""
    if not shape:
        return None
    wide = scale.astype(np.float32).reshape(*[1] * (len(shape) - scale.ndim), *scale.shape)
    group = shape[-1] if wide.shape[-1] == 1 else 1
    step = np.abs(np.broadcast_to(wide, (*shape[:-1], shape[-1] // group)))
    return Levels("int8", -128 * step, step, 127 * step, 2 * step, len(shape) - 1, group)


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
    allowed = (0.5 + _SLACK) * step
    if other is not None:
        allowed = allowed + (0.5 + _SLACK) * _spread(other.step, other, rows)
    allowed = allowed + 1e-6 * np.abs(y)
    error = x - y
    inside = np.abs(error) <= allowed
    if inside.all():
        return True
    below = (y <= low + step / 4) & (error < 0)
    above = (y >= high - step / 4) & (error > 0)
    return bool((inside | ((below | above) & (np.abs(error) <= reach + allowed))).all())


def spread_levels(levels: Levels) -> tuple[np.ndarray, ...]:
    """Return low, step, high and reach with an entry for each element."""
    whole = slice(0, levels.low.shape[0] * (levels.group if levels.axis == 0 else 1))
    return tuple(_spread(part, levels, whole) for part in levels[1:5])


def _spread(part: np.ndarray, levels: Levels, rows: slice) -> np.ndarray:
    """Return one entry of a group for each of its elements."""
    if levels.axis == 0:
        rows = slice(rows.start // levels.group, -(-rows.stop // levels.group))
    return np.repeat(part[rows], levels.group, levels.axis)
