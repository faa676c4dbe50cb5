"""Pairs of arrays -> what changed in each, and how: the verdicts of `explorer.diff`."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from explorer import dtypes
from explorer.values.blocks import Done, as_reals, kept
from explorer.values.bounds import Bounds, bounds_of_levels, is_inside
from explorer.values.changes import Changes, changes_of
from explorer.values.differences import VERDICTS, TensorDifference, Verdict
from explorer.values.rank import rank_of_change
from explorer.values.rounding import rounded_to
from explorer.values.verdicts import Levels, is_nearest_level, permuted_axis

__all__ = ["ArrayPair", "difference_of", "in_order"]

_AXIS_NAMES = ("rows", "columns")


def _no_levels() -> Levels | Bounds | None:
    return None


class ArrayPair(NamedTuple):
    """One tensor of both sides: its arrays in one layout, and what is known of them.

    `levels_a` and `levels_b` return the levels of a side that is quantised; called when needed.
    `done` is called with what was read of both arrays.
    """

    name: str
    in_a: str
    in_b: str
    dtype_a: str
    dtype_b: str
    a: np.ndarray
    b: np.ndarray
    levels_a: Callable[[], Levels | Bounds | None] = _no_levels
    levels_b: Callable[[], Levels | Bounds | None] = _no_levels
    done: Done = kept


def difference_of(
    pair: ArrayPair, rtol: float = 0.0, atol: float = 0.0
) -> TensorDifference:
    """Return what changed in one tensor.

    >>> pair = ArrayPair("bias", "bias", "bias", "float32", "float32",
    ...                  np.float32([1, 2, 3]), np.float32([1, 2, 4]))
    >>> found = difference_of(pair)
    >>> found.verdict, found.max_abs, found.first_index
    ('different', 1.0, (2,))
    """
    same_shape = pair.a.shape == pair.b.shape
    if not same_shape:
        return _record(pair, "different", "another shape")
    sides = as_reals(pair.a), as_reals(pair.b)
    found = changes_of(*sides, rtol, atol, done=pair.done)
    verdict, detail = _verdict(pair, found)
    pair.done(pair.a, pair.b)
    at = found.first
    if at is not None and pair.a.dtype.kind == "c":
        at //= 2
    return _record(
        pair,
        verdict,
        detail,
        max_abs=_finite(found.max_abs),
        mean_abs=_finite(found.mean_abs),
        relative_l2=found.relative_l2,
        cosine=found.cosine if found.changed else 1.0,
        changed=found.changed,
        fraction=found.changed / found.count if found.count else 0.0,
        first_index=None if at is None else _index(at, pair.a.shape),
        gaps=found.gaps,
        beyond=found.beyond,
    )


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _index(flat: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(each) for each in np.unravel_index(flat, shape))


def _record(
    pair: ArrayPair, verdict: Verdict, detail: str, **figures: object
) -> TensorDifference:
    return TensorDifference(
        name=pair.name,
        verdict=verdict,
        detail=detail,
        in_a=pair.in_a,
        in_b=pair.in_b,
        dtype_a=pair.dtype_a,
        dtype_b=pair.dtype_b,
        shape_a=tuple(pair.a.shape),
        shape_b=tuple(pair.b.shape),
        **figures,  # pyright: ignore[reportArgumentType]
    )


def _verdict(pair: ArrayPair, found: Changes) -> tuple[Verdict, str]:
    a, b = pair.a, pair.b
    if not found.changed:
        if pair.dtype_a == pair.dtype_b:
            return "identical", ""
        return _same_numbers(pair)
    if a.dtype.kind == "c":
        return "different", ""
    if name := rounded_to(a, b, pair.done):
        return "rounding", name
    if not found.gaps and (levels := _levels_that_fit(pair)):
        return "quantized", levels
    axis = permuted_axis(a, b, pair.done) if found.changed > 1 else None
    if axis is not None:
        named = _AXIS_NAMES[axis] if axis < len(_AXIS_NAMES) else f"axis {axis}"
        return "permuted", "elements" if a.ndim == 1 else named
    if not found.gaps and np.isfinite(found.max_abs):
        rank = rank_of_change(a, b, found.changed)
        if rank is not None:
            return "low_rank", f"rank {rank.rank}, {rank.rest:.1g} of the change outside"
    return "different", ""


def _same_numbers(pair: ArrayPair) -> tuple[Verdict, str]:
    """Return the verdict on numbers that are equal in two formats."""
    for name in (pair.dtype_b, pair.dtype_a):
        kind = dtypes.find(name)
        decoded = kind.block > 1 or (kind.bits <= 8 and pair.a.dtype.itemsize > 1)
        if decoded and pair.a.dtype == pair.b.dtype:
            return "quantized", f"{name}, same numbers"
    return "rounding", "same numbers"


def _levels_that_fit(pair: ArrayPair) -> str:
    """Return the quantised format whose levels explain the change; "" for none."""
    levels_a, levels_b = pair.levels_a(), pair.levels_b()
    if isinstance(levels_a, Bounds) or isinstance(levels_b, Bounds):
        bounds_a, bounds_b = _bounds(levels_a, pair.a), _bounds(levels_b, pair.b)
        if bounds_b is not None and is_inside(pair.a, bounds_b, bounds_a):
            return bounds_b.name
        if bounds_a is not None and bounds_b is None and is_inside(pair.b, bounds_a):
            return bounds_a.name
        return ""
    if levels_b is not None and is_nearest_level(pair.a, pair.b, levels_b, levels_a):
        return levels_b.name
    if levels_a is not None and is_nearest_level(pair.b, pair.a, levels_a, levels_b):
        return levels_a.name
    return ""


def _bounds(levels: Levels | Bounds | None, stored: np.ndarray) -> Bounds | None:
    return bounds_of_levels(levels, stored) if isinstance(levels, Levels) else levels


def in_order(tensors: Iterable[TensorDifference]) -> tuple[TensorDifference, ...]:
    """Return what one side lacks first, then other shapes, then by falling relative change."""

    def rank(each: TensorDifference) -> tuple:
        lacking = each.verdict in ("missing", "added")
        size = each.relative_l2
        if each.changed is not None and size is None:
            size = float("inf")  # from nothing but zeros
        position = VERDICTS.index(each.verdict) if lacking else len(VERDICTS)
        return (
            position,
            each.shape_a == each.shape_b,
            each.verdict == "identical",
            -(size or 0.0),
            -each.gaps,
            each.name,
        )

    return tuple(sorted(tensors, key=rank))
