"""ggml's 4-bit levels that are not evenly spaced: IQ4_NL and IQ4_XS.

References:
    quantize_row_iq4_nl_impl in ggml/src/ggml-quants.c, kvalues_iq4nl in
    ggml/src/ggml-common.h, github.com/ggml-org/llama.cpp (commit 01243c5, 2026).
"""

import numpy as np

from explorer.transforms.quantisation.ggml.arithmetic import (
    Array,
    as_bytes,
    half,
    inverse_of,
    largest,
    nearest,
    ordered_sum,
)
from explorer.transforms.quantisation.ggml.importance import Importance, weights_by_block
from explorer.transforms.quantisation.ggml.packing import pack
from explorer.transforms.quantisation.ggml.scale_search import TINY

__all__ = ["IQ4_LEVELS", "quantise_iq4_nl", "quantise_iq4_xs"]

IQ4_LEVELS = np.array(
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.int8
)
# the nearest level of each half step from -128: twice the midpoints are whole numbers
_MIDDLES = IQ4_LEVELS[1:].astype(np.int32) + IQ4_LEVELS[:-1]
_NEAREST = np.searchsorted(_MIDDLES, np.arange(-256, 257), side="right").astype(np.uint8)
_VALUES = IQ4_LEVELS.astype(np.float32)[_NEAREST]


def quantise_iq4_nl(blocks: Array, importance: Importance | None) -> list[Array]:
    """Return the fields of IQ4_NL: a scale, and levels of the table."""
    x = np.ascontiguousarray(blocks.T)
    weights = x * x if importance is None else _weights(blocks, importance)
    scale = _searched(x, weights)
    levels = _NEAREST[_places(inverse_of(scale) * x)]
    return [
        as_bytes(half(scale)),
        pack(np.ascontiguousarray(levels.T), 4, 32),
    ]


def quantise_iq4_xs(blocks: Array, importance: Importance | None) -> list[Array]:
    """Return the fields of IQ4_XS: a scale, 6-bit scales of groups of 32, levels."""
    x = np.ascontiguousarray(blocks.reshape(len(blocks), 8, 32).transpose(2, 1, 0))
    flat = x.reshape(32, -1)
    weights = flat * flat if importance is None else _weights(blocks, importance)
    scales = _searched(flat, weights).reshape(x.shape[1:])
    whole = -largest(scales)[1] / np.float32(32)
    inverse = inverse_of(whole)
    steps = np.clip(nearest(inverse * scales), -32, 31)
    step = whole * steps.astype(np.float32)
    inverse = inverse_of(step)
    levels = _NEAREST[_places(inverse * x)]
    levels = np.ascontiguousarray(levels.transpose(2, 1, 0)).reshape(len(blocks), 256)
    stored = np.ascontiguousarray((steps + 32).T).astype(np.uint8)
    high = (stored >> 4).astype(np.uint16) << np.arange(0, 16, 2, dtype=np.uint16)
    return [
        as_bytes(half(whole)),
        as_bytes(np.bitwise_or.reduce(high, axis=1)),
        pack(stored & np.uint8(15), 4, span=2),
        pack(levels, 4, span=32),
    ]


def _places(x: Array) -> Array:
    """Return where `_NEAREST` has the nearest level; for NaN, the last one's, as C's search."""
    places = np.fmin(np.floor(x + x) + np.float32(256), np.float32(512))
    return np.maximum(places, np.float32(0)).astype(np.int16)


def _weights(blocks: Array, importance: Importance) -> Array:
    """Return `[32, lanes]` weights of values, as their groups are laid out."""
    found = weights_by_block(blocks, importance.columns, 2)
    return np.ascontiguousarray(
        found.reshape(len(blocks), -1, 32).transpose(2, 1, 0)
    ).reshape(32, -1)


def _searched(x: Array, squared: Array) -> Array:
    """Return each lane's scale: the best of 15 and of the one that its largest value sets."""
    size, extreme = largest(x)
    along, across = _sums(x, np.float32(1) / (-extreme / np.float32(-127)), squared)
    scale = np.where(across > 0, along / across, np.float32(0))
    best = scale * along
    for candidate in range(-7, 8):
        along, across = _sums(x, np.float32(candidate - 127) / extreme, squared)
        better = (across > 0) & (along * along > best * across)
        np.copyto(scale, along / across, where=better)
        np.copyto(best, scale * along, where=better)
    return np.where(size < TINY, np.float32(0), scale)


def _sums(x: Array, inverse: Array, squared: Array) -> tuple[Array, Array]:
    levels = _VALUES[_places(inverse * x)]
    weighted = squared * levels
    return ordered_sum(weighted * x), ordered_sum(weighted * levels)
