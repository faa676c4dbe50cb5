"""The table of statistics of watched parameters: sums of each tensor, and arithmetic on all rows.

XLA compiles a kernel for each sum of each tensor, which of a model whose layers are unrolled
takes longer than all else. So tensors of one kind (the same of each layer) are summed by one
loop, that picks them in turn; and what is not a sum is done once, on vectors of one number a row.
"""

import math
from collections.abc import Hashable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from explorer.training.watch.rows import Plan

__all__ = ["WatchedFigures", "statistics"]

_MANY = 4  # tensors that are worth a loop


class WatchedFigures(NamedTuple):
    """The statistics of one row, or of all, as `Watch.measure` describes them."""

    norm: Any
    rms: Any
    mean: Any
    std: Any
    grad_norm: Any
    update_ratio: Any
    zeros: Any
    dead_rows: Any
    distance: Any


def statistics(
    plan: Plan,
    params: Sequence[jax.Array],
    grads: Sequence[jax.Array],
    updates: Sequence[jax.Array],
    *,
    first: Sequence[Any],
) -> jax.Array:
    """Return float32 [rows, columns] of tensors, their rows one after another.

    The mean is taken from one of the values, and the deviation from the mean: both keep
    their digits however far the values are from 0, and equal values deviate by exactly 0. A
    second pass for the deviation costs nothing on a CPU, where XLA makes one for each sum,
    and one reading of the parameters elsewhere.

    Args:
        plan: which axes of each tensor stack rows, and which number units.
        params: the watched tensors.
        grads: their gradients.
        updates: what the optimizer adds to them.
        first: what they were at first; None for each where it is not kept.

    >>> import jax.numpy as jnp
    >>> from explorer.training.watch.rows import plan_rows
    >>> x = [jnp.full((8, 2), 3.0)]
    >>> table = statistics(plan_rows(x, "**", None), x, x, x, first=[None])
    >>> WatchedFigures(*table[0].tolist()).mean
    3.0
    """
    trees = (params, grads, updates, first)
    groups = _groups(plan, trees)
    sums = [_group_sums(plan, group, trees) for group in groups]
    columns = map(jnp.concatenate, zip(*sums, strict=True))
    squares, mean, deviations, zeros, dead, of_grads, of_updates, *moved = columns
    rows, size, units = _facts(plan, params, [at for group in groups for at in group])
    norm, update = jnp.sqrt(squares), jnp.sqrt(of_updates)
    table = WatchedFigures(
        norm=norm,
        rms=norm / np.sqrt(size),
        mean=mean,
        std=jnp.sqrt(deviations / size),
        grad_norm=jnp.sqrt(of_grads),
        update_ratio=jnp.where(update == 0, 0, update / norm),
        zeros=zeros / size,
        dead_rows=dead / units,
        distance=jnp.sqrt(moved[0]) if moved else jnp.full_like(norm, jnp.nan),
    )
    summed = jnp.stack([column.astype(jnp.float32) for column in table], -1)
    return summed[np.argsort(rows)]


def _facts(
    plan: Plan, params: Sequence[jax.Array], order: list[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return of each row of tensors in an order: its number in their own, its elements, its units."""
    counts = [
        math.prod(x.shape[: of.axes]) for x, of in zip(params, plan.tensors, strict=True)
    ]
    ends = np.cumsum(counts)
    rows = np.concatenate([np.arange(ends[at] - counts[at], ends[at]) for at in order])
    shapes = [params[at].shape[plan.tensors[at].axes :] for at in order]
    sizes = [math.prod(shape) for shape in shapes]
    units = [
        _units(shape, plan.tensors[at].units)
        for at, shape in zip(order, shapes, strict=True)
    ]
    repeats = [counts[at] for at in order]
    size, unit = (np.repeat(np.array(n, np.float32), repeats) for n in (sizes, units))
    return rows, np.where(size == 0, np.nan, size), np.where(unit == 0, np.nan, unit)


def _groups(plan: Plan, trees: Sequence[Sequence[Any]]) -> list[list[int]]:
    """Return the places of tensors of one kind and type, of which the same is watched."""
    same: dict[Hashable, list[int]] = {}
    for at, tensor in enumerate(plan.tensors):
        types = (None if tree[at] is None else jax.typeof(tree[at]) for tree in trees)
        same.setdefault((tensor.kind, tensor.axes, tensor.units, *types), []).append(at)
    return list(same.values())


def _group_sums(
    plan: Plan, group: list[int], trees: Sequence[Sequence[Any]]
) -> list[jax.Array]:
    """Return what `_sums` does, of the tensors of a group one after another."""
    tensor = plan.tensors[group[0]]
    several = [tuple(tree[at] for tree in trees) for at in group]
    if len(group) < _MANY:
        each = [_sums(*arrays, tensor.axes, tensor.units) for arrays in several]
        return [jnp.concatenate(column) for column in zip(*each, strict=True)]

    def summed(arrays: Any, following: jax.Array) -> tuple[Any, list[jax.Array]]:
        sums = _sums(*arrays, tensor.axes, tensor.units)
        return lax.switch(following, [partial(tuple, each) for each in several]), sums

    # what a loop hands on stays placed as what it begins with; picked in the turn that sums
    # them, tensors that are split over a mesh would be brought together on each device
    _, columns = lax.scan(summed, several[0], jnp.arange(1, len(group) + 1))
    return [column.reshape(-1) for column in columns]


@partial(jax.jit, static_argnums=(4, 5))  # tensors of one shape are traced once
def _sums(
    params: jax.Array,
    grads: jax.Array,
    updates: jax.Array,
    first: Any,
    stack: int,
    units: tuple[int, ...],
) -> list[jax.Array]:
    """Return [rows] each: of x the sum of squares, the mean, the sum of squares of what deviates
    from it, how many are 0, how many units are; the sums of squares of the others.
    """
    x, within = _wide(params), tuple(range(stack, params.ndim))
    size = math.prod(params.shape[stack:])
    pivot = _one_of(x, stack) if size else jnp.full(x.shape[:stack], jnp.nan, x.dtype)
    shifted = jnp.sum(x - jnp.expand_dims(pivot, within), within)
    mean = pivot + shifted / (size or math.nan)
    # not x == 0: XLA's CPU backend counts a comparison ten times slower
    zeros = jnp.sum(1 - jnp.square(jnp.sign(x)), within)
    sums = [
        jnp.sum(jnp.square(x), within),
        mean,
        jnp.sum(jnp.square(x - jnp.expand_dims(mean, within)), within),
        zeros,
        _dead_units(x, zeros, stack, units),
        jnp.sum(jnp.square(_wide(grads)), within),
        jnp.sum(jnp.square(_wide(updates)), within),
    ]
    if first is not None:
        sums.append(jnp.sum(jnp.square(x - _wide(first)), within))
    return [each.reshape(-1) for each in sums]


def _one_of(x: jax.Array, stack: int) -> jax.Array:
    """Return one value of each row: of its first, middle and last the one between."""
    sizes = x.shape[stack:]
    places = ([0] * len(sizes), [size // 2 for size in sizes], [-1] * len(sizes))
    first, middle, last = (x[(..., *place)] for place in places)
    low, high = jnp.minimum(first, middle), jnp.maximum(first, middle)
    return jnp.maximum(low, jnp.minimum(high, last))


def _dead_units(
    x: jax.Array, zeros: jax.Array, stack: int, axes: tuple[int, ...]
) -> jax.Array:
    """Return of each row how many units have weights that are all 0.

    Sums over all but some axes are expensive: they are taken only where there are zeros
    enough for a unit to be dead, or (where a value is NaN) it is unknown.
    """
    units = _units(x.shape[stack:], axes)
    if not units:
        return jnp.zeros_like(zeros)
    others = [axis for axis in range(x.ndim - stack) if axis not in axes]

    def dead() -> jax.Array:
        is_dead = jnp.all(x == 0, tuple(stack + axis for axis in others))
        return jnp.sum(is_dead, tuple(range(stack, is_dead.ndim)), zeros.dtype)

    enough = ~(zeros < 0.99 * math.prod(x.shape[stack:]) / units)
    return lax.cond(jnp.any(enough), dead, lambda: jnp.zeros_like(zeros))


def _units(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    """Return how many units a tensor has; 0 for a vector, or where all is empty."""
    return math.prod(shape[axis] for axis in axes) if axes and math.prod(shape) else 0


def _wide(array: jax.Array) -> jax.Array:
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))
