"""ggml's blocks of 32 with one scale, and perhaps a minimum: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0.

References:
    quantize_row_q4_0_ref and its neighbours in ggml/src/ggml-quants.c,
    github.com/ggml-org/llama.cpp (commit 01243c5, 2026).
"""

import numpy as np

from explorer.transforms.quantisation.ggml.arithmetic import (
    Array,
    as_bytes,
    half,
    inverse_of,
    largest,
    lowest,
    round_away,
    to_int8,
)
from explorer.transforms.quantisation.ggml.importance import Importance, weights_by_row
from explorer.transforms.quantisation.ggml.minimum_search import (
    searched_minimum,
    weighted_grid,
)
from explorer.transforms.quantisation.ggml.packing import pack
from explorer.transforms.quantisation.ggml.scale_search import searched_scale

__all__ = ["quantise_q8_0", "quantise_with_minimum", "quantise_with_sign"]


def quantise_with_sign(
    blocks: Array, importance: Importance | None, bits: int
) -> list[Array]:
    """Return the fields of Q4_0 or Q5_0: a scale whose sign makes the largest value lowest."""
    x, half_way = _lanes(blocks), 2 ** (bits - 1)
    if importance is not None:
        weights = _lanes(weights_by_row(blocks, importance))
        scale, found = searched_scale(x, half_way, weights)
        return [as_bytes(half(scale)), *_packed(_lanes(found.astype(np.uint8)), bits)]
    scale = largest(x)[1] / np.float32(-half_way)
    levels = blocks * inverse_of(scale)[:, None]
    levels += np.float32(half_way + 0.5)
    levels = np.minimum(to_int8(levels), np.int8(2**bits - 1)).view(np.uint8)
    return [as_bytes(half(scale)), *_packed(levels, bits)]


def quantise_with_minimum(
    blocks: Array, importance: Importance | None, bits: int
) -> list[Array]:
    """Return the fields of Q4_1 or Q5_1: a scale, a minimum, levels above it."""
    x, top = _lanes(blocks), 2**bits - 1
    if importance is not None:
        weights = _lanes(weights_by_row(blocks, importance))
        scale, below, levels = searched_minimum(x, weights, weighted_grid(top))
        low, levels = -below, _lanes(levels)
    else:
        low = lowest(x)
        # a highest of -0.0 less a lowest of 0.0 is 0.0 too
        scale = (x.max(0) - low + np.float32(0)) / np.float32(top)
        levels = blocks - low[:, None]
        levels *= inverse_of(scale)[:, None]
        levels += np.float32(0.5)
        levels = to_int8(levels)
        levels = (np.minimum(levels, np.int8(15)) if bits == 4 else levels).view(np.uint8)
    return [as_bytes(half(scale)), as_bytes(half(low)), *_packed(levels, bits)]


def quantise_q8_0(blocks: Array) -> list[Array]:
    """Return the fields of Q8_0: a scale and signed bytes."""
    scale = largest(_lanes(blocks))[0] / np.float32(127)
    levels = to_int8(round_away(blocks * inverse_of(scale)[:, None]))
    return [as_bytes(half(scale)), levels.view(np.uint8)]


def _lanes(blocks: Array) -> Array:
    """Return rows as columns, side by side in memory: NumPy is slow along short rows."""
    return np.ascontiguousarray(blocks.T)


def _packed(levels: Array, bits: int) -> list[Array]:
    """Return 4-bit levels packed in pairs of the n-th and (n + 16)-th, before them their fifth bits."""
    packed = pack(levels & np.uint8(15), 4, span=32)
    if bits == 4:
        return [packed]
    return [np.packbits((levels >> 4) & np.uint8(1), axis=1, bitorder="little"), packed]
