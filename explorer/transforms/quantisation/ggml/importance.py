"""How much each value counts, of an importance matrix: `[k]`, a weight for each column.

References:
    quantize_row_q4_K_impl and its neighbours in ggml/src/ggml-quants.c,
    github.com/ggml-org/llama.cpp (commit 01243c5, 2026).
"""

from typing import NamedTuple

import numpy as np

from explorer.transforms.quantisation.ggml.arithmetic import Array, nearest, ordered_sum

__all__ = [
    "Importance",
    "importance_of",
    "shared_scale",
    "weights_by_block",
    "weights_by_row",
]


class Importance(NamedTuple):
    """What an encoder is given beside `[blocks, size]` values.

    Attributes:
        columns: `[blocks, size]`, the weights of the values' columns.
        squares: `[blocks]`, the mean square of the row that each block is of.
    """

    columns: Array
    squares: Array


def importance_of(
    columns: Array, rows: Array, first: int, last: int, block: int
) -> Importance:
    """Return the importance of the blocks `first` to `last` of rows, counted through all."""
    per_row = rows.shape[1] // block
    places = np.arange(first, last)
    row, above = first // per_row, -(-last // per_row)
    chosen = rows[row:above].T
    squares = ordered_sum(chosen * chosen) / np.float32(rows.shape[1])
    return Importance(
        columns.reshape(per_row, block)[places % per_row], squares[places // per_row - row]
    )


def weights_by_row(blocks: Array, importance: Importance) -> Array:
    """Return the weights of values in blocks of 32, by the mean square of their rows."""
    squares = blocks * blocks
    return importance.columns * np.sqrt(importance.squares[:, None] + squares)


def weights_by_block(blocks: Array, columns: Array, share: float) -> Array:
    """Return the weights of values by their columns and a share of their block's mean square."""
    squares = blocks * blocks
    total = ordered_sum(np.ascontiguousarray(squares.T))
    mean = total * np.float32(share / blocks.shape[1])
    return columns * np.sqrt(mean[:, None] + squares)


def shared_scale(x: Array, top: int, weights: Array) -> tuple[Array, Array]:
    """Return a scale for each lane's positive values, and their levels up to `top`.

    Nine scales are tried; then each level is fitted to all the others' (make_qp_quants).
    """
    most = np.maximum(x.max(0), np.float32(0))
    dead = most < np.float32(1e-15)
    most = np.where(dead, np.float32(1), most)
    inverse = np.float32(top) / most
    best = _square_error(x, nearest(inverse * x) & 0xFF, np.float32(1) / inverse, weights)
    for candidate in (*range(-4, 0), *range(1, 5)):
        trial = (np.float32(0.1) * np.float32(candidate) + np.float32(top)) / most
        levels = np.minimum(nearest(trial * x), top)
        error = _square_error(x, levels, np.float32(1) / trial, weights)
        better = error < best
        np.copyto(best, error, where=better)
        np.copyto(inverse, trial, where=better)
    levels = np.minimum(nearest(inverse * x), top).astype(np.float32)
    weighted = weights * x
    along, across = ordered_sum(weighted * levels), ordered_sum(weights * levels * levels)
    for _ in range(5):
        before = levels.copy()
        for place, old in enumerate(levels):
            rest_along = along - weighted[place] * old
            rest_across = across - weights[place] * old * old
            new = nearest(x[place] * rest_across / rest_along)
            new = np.minimum(new, top).astype(np.float32)
            new_along = rest_along + weighted[place] * new
            new_across = rest_across + weights[place] * new * new
            gain = new_along * new_along * across > along * along * new_across
            taken = (rest_along > 0) & (rest_across > 0) & (new != old) & gain
            for kept, found in ((old, new), (along, new_along), (across, new_across)):
                np.copyto(kept, found, where=taken)
        if np.array_equal(before, levels):
            break
    scale = np.where((across > 0) & ~dead, along / across, np.float32(0))
    return scale, np.where(dead, 0, levels.astype(np.int32)).astype(np.uint8)


def _square_error(x: Array, levels: Array, scale: Array, weights: Array) -> Array:
    error = x - scale * levels.astype(np.float32)
    return ordered_sum(weights * error * error)
