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
    x = blocks.T
    if importance is not None:
        weights = weights_by_row(blocks, importance).T
        scale, levels = searched_scale(
            np.ascontiguousarray(x), 2 ** (bits - 1), np.ascontiguousarray(weights)
        )
        return [as_bytes(half(scale)), *_packed(levels.astype(np.int8), bits)]
    _, extreme = largest(x)
    scale = extreme / np.float32(-(2 ** (bits - 1)))
    levels = to_int8(x * inverse_of(scale) + np.float32(2 ** (bits - 1) + 0.5))
    levels = np.minimum(levels, np.int8(2**bits - 1))
    return [as_bytes(half(scale)), *_packed(levels, bits)]


def quantise_with_minimum(
    blocks: Array, importance: Importance | None, bits: int
) -> list[Array]:
    """Return the fields of Q4_1 or Q5_1: a scale, a minimum, levels above it."""
    x = blocks.T
    if importance is not None:
        weights = weights_by_row(blocks, importance).T
        scale, minimum, levels = searched_minimum(
            np.ascontiguousarray(x), np.ascontiguousarray(weights), weighted_grid(2**bits - 1)
        )
        return [
            as_bytes(half(scale)), as_bytes(half(-minimum)), *_packed(levels.view(np.int8), bits)
        ]
    low = lowest(x)
    scale = (x.max(0) - low) / np.float32(2**bits - 1)
    levels = to_int8((x - low) * inverse_of(scale) + np.float32(0.5))
    if bits == 4:
        levels = np.minimum(levels, np.int8(15))
    return [as_bytes(half(scale)), as_bytes(half(low)), *_packed(levels, bits)]


def quantise_q8_0(blocks: Array) -> list[Array]:
    """Return the fields of Q8_0: a scale and signed bytes."""
    x = blocks.T
    scale = np.abs(x).max(0) / np.float32(127)
    levels = to_int8(round_away(x * inverse_of(scale)))
    return [as_bytes(half(scale)), levels.T.view(np.uint8)]


def _packed(levels: Array, bits: int) -> list[Array]:
    """Return 4-bit levels packed in pairs 16 apart, before them their fifth bits."""
    found = np.ascontiguousarray(levels.T).view(np.uint8)
    packed = pack(found & np.uint8(15), 4, span=32)
    if bits == 4:
        return [packed]
    return [np.packbits((found >> 4) & np.uint8(1), axis=1, bitorder="little"), packed]
