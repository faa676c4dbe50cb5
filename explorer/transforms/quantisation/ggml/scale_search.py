"""Searches for the scale of a group: candidates around the largest value, the best kept.

Every function takes `[n, lanes]`, a group in each lane, and returns each lane's scale and its
levels `[n, lanes]`, offset to start at 0.

References:
    make_qx_quants and make_q3_quants in ggml/src/ggml-quants.c,
    github.com/ggml-org/llama.cpp (commit 01243c5, 2026).
"""

import numpy as np

from explorer.transforms.quantisation.ggml.arithmetic import (
    Array,
    largest,
    nearest,
    ordered_sum,
)

__all__ = ["TINY", "refined_scale", "searched_scale"]

TINY = np.float32(1e-15)  # a group whose values are all below is taken for zeros


def searched_scale(
    x: Array, steps: int, weights: Array | None = None
) -> tuple[Array, Array]:
    """Return the best of 19 scales, levels from `-steps` to `steps - 1`.

    Weights are the squares of the values by default.
    """
    size, extreme = largest(x)
    dead = size < TINY
    extreme[dead] = 1
    squared = x * x if weights is None else weights
    weighted, room = squared * x, np.empty_like(x)
    best_inverse = np.float32(-steps) / extreme
    along, across = _sums(_levels(x, best_inverse, steps, room), weighted, squared)
    scale = np.where(across != 0, along / across, np.float32(0))
    best = scale * along
    for candidate in (*range(-9, 0), *range(1, 10)):
        numerator = np.float32(steps) + np.float32(0.1) * np.float32(candidate)
        inverse = -numerator / extreme
        along, across = _sums(_levels(x, inverse, steps, room), weighted, squared)
        better = (across > 0) & (along * along > best * across)
        np.copyto(best_inverse, inverse, where=better)
        np.copyto(scale, along / across, where=better)
        np.copyto(best, scale * along, where=better)
    levels = _levels(x, best_inverse, steps, room).astype(np.int32) + np.int32(steps)
    scale[dead] = 0
    levels[:, dead] = 0
    return scale, levels


def refined_scale(x: Array, steps: int) -> tuple[Array, Array]:
    """Return a scale whose levels, from `-steps` to `steps - 1`, were improved one by one."""
    size, extreme = largest(x)
    dead = size < TINY
    extreme[dead] = 1
    squared = x * x
    weighted = squared * x
    levels = list(_levels(x, np.float32(-steps) / extreme, steps, np.empty_like(x)))
    along, across = _sums(np.stack(levels), weighted, squared)
    for _ in range(5):
        previous = along.copy()
        for place, old in enumerate(levels):
            new, sums = _improved(
                x[place], weighted[place], squared[place], old, along, across, steps
            )
            levels[place], (along, across) = new, sums
        if np.array_equal(previous, along, equal_nan=True):
            break
    scale = np.where((across > 0) & ~dead, along / across, np.float32(0))
    found = np.stack(levels).astype(np.int32) + np.int32(steps)
    return scale, np.where(dead, 0, found)


def _improved(
    x: Array,
    weighted: Array,
    squared: Array,
    old: Array,
    along: Array,
    across: Array,
    steps: int,
) -> tuple[Array, tuple[Array, Array]]:
    """Return one value's level, and both sums, after it was fitted to all the others'."""
    rest_along = along - weighted * old
    rest_across = across - squared * old * old
    new = nearest(x * rest_across / rest_along)
    new = np.clip(new, -steps, steps - 1).astype(np.float32)
    new_along = rest_along + weighted * new
    new_across = rest_across + squared * new * new
    gain = new_along * new_along * across > along * along * new_across
    taken = (rest_along > 0) & (new != old) & (new_across > 0) & gain
    return np.where(taken, new, old), (
        np.where(taken, new_along, along),
        np.where(taken, new_across, across),
    )


def _levels(x: Array, inverse: Array, steps: int, out: Array) -> Array:
    """Return the nearest levels, which are small: an inverse is of a group's largest value."""
    np.multiply(inverse, x, out=out)
    np.rint(out, out=out)
    return np.clip(out, -steps, steps - 1, out=out)


def _sums(levels: Array, weighted: Array, squared: Array) -> tuple[Array, Array]:
    """Return the sums of weight * value * level and of weight * level * level."""
    along = ordered_sum(weighted * levels)
    across = squared * levels
    across *= levels
    return along, ordered_sum(across)
