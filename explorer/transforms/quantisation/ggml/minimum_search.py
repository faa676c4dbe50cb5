"""Searches for the scale and the minimum of a group: weighted fits, the best kept.

References:
    make_qkx2_quants and make_qkx3_quants in ggml/src/ggml-quants.c,
    github.com/ggml-org/llama.cpp (commit 01243c5, 2026).
"""

from typing import NamedTuple

import numpy as np

from explorer.transforms.quantisation.ggml.arithmetic import (
    Array,
    lowest,
    nearest,
    ordered_sum,
)

__all__ = ["Grid", "searched_minimum", "weighted_grid"]


class Grid(NamedTuple):
    """The candidates of a search.

    Attributes:
        levels: the highest level; the lowest is 0.
        first: what is added to it in the first candidate's scale.
        step: the distance to the next candidate.
        number: of candidates.
        absolute: whether errors count by their magnitude rather than their square.
        is_safe: whether candidates clip values out of range before they are rounded.
    """

    levels: int
    first: float
    step: float
    number: int
    absolute: bool = False
    is_safe: bool = False

    @property
    def tops(self) -> list[np.float32]:
        """Return the level that each candidate's largest value would have, as C rounds it."""
        steps = (np.float32(self.step) * np.float32(i) for i in range(self.number))
        return [np.float32(self.first) + step + np.float32(self.levels) for step in steps]


def weighted_grid(levels: int) -> Grid:
    """Return the candidates that ggml tries with an importance matrix."""
    return Grid(levels, first=-0.9, step=0.05, number=37, is_safe=True)


class _Groups:
    """Groups to fit, `[n, lanes]`, and room for the two arrays that every candidate fills."""

    def __init__(self, x: Array, weights: Array, grid: Grid):
        self.x, self.weights, self.grid = x, weights, grid
        self.high, self.lowest = x.max(0), lowest(x)
        self.low = np.where(self.lowest > 0, np.float32(0), self.lowest)
        self.is_flat = self.high == self.low
        self.total, self.total_x = ordered_sum(weights), ordered_sum(weights * x)
        self.levels, self.room = np.empty_like(x), np.empty_like(x)

    def span(self, low: Array) -> Array:
        """Return the distance from a minimum to the largest value; 1 for flat groups."""
        return np.where(self.is_flat, np.float32(1), self.high - low)

    def fill_levels(self, inverse: Array, low: Array, is_safe: bool) -> None:
        """Set `levels` to the nearest of each value, for a scale's inverse and a minimum."""
        levels = np.subtract(self.x, low, out=self.levels)
        levels *= inverse
        top = self.grid.levels
        if _are_small(inverse * (self.high - low)) and _are_small(
            inverse * (self.lowest - low)
        ):
            np.rint(levels, out=levels)
            np.clip(levels, 0, top, out=levels)
        elif is_safe:
            np.rint(np.fmax(np.fmin(levels, top), 0), out=levels)
        else:
            levels[:] = np.clip(nearest(levels), 0, top)

    def fit(self) -> tuple[Array, Array, Array]:
        """Return the scale and the minimum that suit the levels best, and whether any does."""
        weighted = np.multiply(self.weights, self.levels, out=self.room)
        first, along = ordered_sum(weighted), ordered_sum(weighted * self.x)
        weighted *= self.levels
        second = ordered_sum(weighted)
        spread = self.total * second - first * first
        slope = (self.total * along - self.total_x * first) / spread
        start = (second * self.total_x - first * along) / spread
        above = start > 0  # a minimum is never above 0
        np.copyto(slope, along / second, where=above)
        np.copyto(start, np.float32(0), where=above)
        return slope, start, spread > 0

    def error(self, scale: Array, low: Array) -> Array:
        """Return the weighted error of the levels, for a scale and a minimum."""
        error = np.multiply(scale, self.levels, out=self.room)
        error += low
        error -= self.x
        if self.grid.absolute:
            np.abs(error, out=error)
        else:
            error *= error
        error *= self.weights
        return ordered_sum(error)


def searched_minimum(x: Array, weights: Array, grid: Grid) -> tuple[Array, Array, Array]:
    """Return each lane's scale, its minimum's distance below 0, and its levels `[n, lanes]`."""
    groups = _Groups(x, weights, grid)
    inverse, low = np.float32(grid.levels) / groups.span(groups.low), groups.low.copy()
    scale, base = np.float32(1) / inverse, low.copy()
    groups.fill_levels(inverse, base, is_safe=False)
    first, improved = groups.levels.astype(np.uint8), np.zeros(low.shape, bool)
    best = groups.error(scale, low)
    for top in grid.tops:
        trial = top / groups.span(low)
        groups.fill_levels(trial, low, grid.is_safe)
        slope, start, is_fit = groups.fit()
        error = groups.error(slope, start)
        better = is_fit & (error < best)
        improved |= better
        np.copyto(base, low, where=better)
        for kept, found in ((inverse, trial), (best, error), (scale, slope), (low, start)):
            np.copyto(kept, found, where=better)
    groups.fill_levels(inverse, base, grid.is_safe)
    levels = np.where(improved, groups.levels.astype(np.uint8), first)
    scale[groups.is_flat] = 0
    low[groups.is_flat] = groups.low[groups.is_flat]
    levels[:, groups.is_flat] = 0
    return scale, -low, levels


def _are_small(x: Array) -> bool:
    """Whether all are in the range in which rounding is C's trick."""
    return bool((np.abs(x) < 2.0**21).all())
