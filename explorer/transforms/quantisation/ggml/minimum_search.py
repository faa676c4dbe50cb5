"""Searches for the scale and the minimum of a group: weighted fits, the best kept.

References:
    make_qkx2_quants and make_qkx3_quants in ggml/src/ggml-quants.c,
    github.com/ggml-org/llama.cpp (commit 01243c5, 2026).
"""

from typing import NamedTuple

import numpy as np

from explorer.transforms.quantisation.ggml.arithmetic import Array, nearest, ordered_sum

__all__ = ["Grid", "searched_minimum"]


class Grid(NamedTuple):
    """The candidates of a search.

    Attributes:
        levels: the highest level; the lowest is 0.
        first: what is added to it in the first candidate's scale.
        step: the distance to the next candidate.
        number: of candidates.
        absolute: whether errors count by their magnitude rather than their square.
    """

    levels: int
    first: float
    step: float
    number: int
    absolute: bool = False

    @property
    def tops(self) -> list[np.float32]:
        """Return the level that each candidate's largest value would have, as C rounds it."""
        steps = (np.float32(self.step) * np.float32(i) for i in range(self.number))
        return [np.float32(self.first) + step + np.float32(self.levels) for step in steps]


def searched_minimum(x: Array, weights: Array, grid: Grid) -> tuple[Array, Array, Array]:
    """Return each lane's scale, its minimum's distance below 0, and its levels `[n, lanes]`."""
    high, low = x.max(0), np.minimum(x.min(0), np.float32(0))
    total, total_x = ordered_sum(weights), ordered_sum(weights * x)
    inverse, base = np.float32(grid.levels) / (high - low), low.copy()
    is_flat = high == low
    scale, low = np.float32(1) / inverse, low.copy()
    best = _error(_levels(x, inverse, base, grid), x, weights, scale, low, grid)
    for top in grid.tops:
        trial = top / (high - low)
        levels = _levels(x, trial, low, grid)
        weighted = weights * levels
        first, second = ordered_sum(weighted), ordered_sum(weighted * levels)
        along = ordered_sum(weighted * x)
        spread = total * second - first * first
        slope = (total * along - total_x * first) / spread
        start = (second * total_x - first * along) / spread
        above = start > 0
        np.copyto(slope, along / second, where=above)
        np.copyto(start, np.float32(0), where=above)
        error = _error(levels, x, weights, slope, start, grid)
        better = (spread > 0) & (error < best)
        for kept, found in (
            (inverse, trial), (base, low), (best, error), (scale, slope), (low, start),
        ):  # fmt: skip
            np.copyto(kept, found, where=better)
    levels = _levels(x, inverse, base, grid)
    flat_low = np.minimum(x.min(0), np.float32(0))
    return (
        np.where(is_flat, np.float32(0), scale),
        -np.where(is_flat, flat_low, low),
        np.where(is_flat, 0, levels).astype(np.uint8),
    )


def _levels(x: Array, inverse: Array, low: Array, grid: Grid) -> Array:
    found = nearest(inverse * (x - low))
    return np.clip(found, 0, grid.levels, out=found).astype(np.float32)


def _error(
    levels: Array, x: Array, weights: Array, scale: Array, low: Array, grid: Grid
) -> Array:
    error = scale * levels
    error += low
    error -= x
    if grid.absolute:
        np.abs(error, out=error)
    else:
        error *= error
    error *= weights
    return ordered_sum(error)
