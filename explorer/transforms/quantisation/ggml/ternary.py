"""ggml's levels of -1, 0 and 1: TQ1_0, five to a byte, and TQ2_0, four to a byte.

References:
    quantize_row_tq1_0_ref and quantize_row_tq2_0_ref in ggml/src/ggml-quants.c,
    github.com/ggml-org/llama.cpp (commit 01243c5, 2026).
"""

import numpy as np

from explorer.transforms.quantisation.ggml.arithmetic import (
    Array,
    as_bytes,
    half,
    inverse_of,
    largest,
    round_away,
    to_int8,
)
from explorer.transforms.quantisation.ggml.packing import pack

__all__ = ["decode_tq1_0", "decode_tq2_0", "encode_tq1_0", "encode_tq2_0"]

# of a block of 256: so many bytes of so many levels each, whose stride is the number of bytes
_SPANS = ((32, 5), (16, 5), (4, 4))
_POWERS = np.array([1, 3, 9, 27, 81], np.uint8)[:, None]


def encode_tq1_0(blocks: Array) -> list[Array]:
    """Return the fields of TQ1_0: levels in base three, as fractions of 256, then a scale."""
    scale, levels = _ternary(blocks)
    fields, first = [], 0
    for number, share in _SPANS:
        last = first + number * share
        digits = levels[:, first:last].reshape(len(levels), share, number)
        worth = _POWERS[::-1][:share]  # the first level is worth most, of four too
        value = (digits * worth).sum(1, dtype=np.uint16) & np.uint16(255)
        fields.append(((value * np.uint16(256) + np.uint16(242)) // 243).astype(np.uint8))
        first = last
    return [*fields, as_bytes(half(scale))]


def encode_tq2_0(blocks: Array) -> list[Array]:
    """Return the fields of TQ2_0: levels of two bits, then a scale."""
    scale, levels = _ternary(blocks)
    return [pack(levels & np.uint8(3), 2, span=128), as_bytes(half(scale))]


def decode_tq1_0(blocks: Array) -> Array:
    """Return the values of TQ1_0."""
    packed, scale = blocks[:, :52], blocks[:, 52:]
    parts, first = [], 0
    for number, share in _SPANS:
        digits = packed[:, None, first : first + number] * _POWERS[:share]
        parts.append(
            ((digits.astype(np.uint16) * np.uint16(3)) >> 8).reshape(len(blocks), -1)
        )
        first += number
    return _values(np.concatenate(parts, axis=1), scale)


def decode_tq2_0(blocks: Array) -> Array:
    """Return the values of TQ2_0."""
    shifts = np.arange(0, 8, 2, dtype=np.uint8)[:, None]
    levels = (blocks[:, :64].reshape(-1, 2, 1, 32) >> shifts) & np.uint8(3)
    return _values(levels.reshape(len(blocks), -1), blocks[:, 64:])


def _ternary(blocks: Array) -> tuple[Array, Array]:
    """Return each block's largest magnitude, and its values in thirds of that: 0, 1 or 2."""
    scale = largest(np.ascontiguousarray(blocks.T))[0]
    levels = to_int8(round_away(blocks * inverse_of(scale)[:, None])) + np.int8(1)
    return scale, levels.view(np.uint8)


def _values(levels: Array, scale: Array) -> Array:
    step = np.ascontiguousarray(scale).view(np.float16).astype(np.float32)
    return (levels.astype(np.float32) - np.float32(1)) * step
