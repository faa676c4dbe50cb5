"""ggml's blocks to float32: `[blocks, bytes]` to `[blocks, values]`.

Products and sums are rounded one by one, as in ggml/src/ggml-quants.c (dequantize_row_*) when it
is compiled without fused multiply-add, and in the gguf package.

References:
    github.com/ggml-org/llama.cpp (commit 01243c5, 2026): ggml/src/ggml-quants.c, the blocks in
    ggml/src/ggml-common.h.
"""

from collections.abc import Callable

import numpy as np

from explorer.transforms.quantisation.ggml import float4, plain, ternary
from explorer.transforms.quantisation.ggml.arithmetic import Array
from explorer.transforms.quantisation.ggml.packing import unpack
from explorer.transforms.quantisation.ggml.tables import IQ4_LEVELS

__all__ = ["DECODERS"]


def _split(blocks: Array, *sizes: int) -> list[Array]:
    """Return the fields of blocks: of each, so many bytes."""
    return np.split(blocks, np.cumsum(sizes)[:-1], axis=1)


def _half(field: Array) -> Array:
    return np.ascontiguousarray(field).view(np.float16).astype(np.float32)


def _five_bits(high: Array, packed: Array) -> Array:
    fifth = np.unpackbits(high, axis=1, bitorder="little")
    return unpack(packed, 4, 32) | (fifth << 4)


def _q4_0(blocks: Array) -> Array:
    scale, packed = _split(blocks, 2, 16)
    return (unpack(packed, 4, 32).view(np.int8) - np.int8(8)).astype(np.float32) * _half(
        scale
    )


def _q5_0(blocks: Array) -> Array:
    scale, high, packed = _split(blocks, 2, 4, 16)
    levels = _five_bits(high, packed).view(np.int8) - np.int8(16)
    return levels.astype(np.float32) * _half(scale)


def _q4_1(blocks: Array) -> Array:
    scale, low, packed = _split(blocks, 2, 2, 16)
    return unpack(packed, 4, 32).astype(np.float32) * _half(scale) + _half(low)


def _q5_1(blocks: Array) -> Array:
    scale, low, high, packed = _split(blocks, 2, 2, 4, 16)
    return _five_bits(high, packed).astype(np.float32) * _half(scale) + _half(low)


def _q8_0(blocks: Array) -> Array:
    scale, levels = _split(blocks, 2, 32)
    return levels.view(np.int8).astype(np.float32) * _half(scale)


def _grouped(levels: Array, scales: Array, minima: Array | None = None) -> Array:
    """Return levels times their group's scale, less its minimum."""
    values = levels.reshape(*scales.shape, -1).astype(np.float32)
    values *= scales[..., None]
    if minima is not None:
        values -= minima[..., None]
    return values.reshape(len(levels), -1)


def _q2_k(blocks: Array) -> Array:
    both, packed, scale, minimum = _split(blocks, 16, 64, 2, 2)
    scales = _half(scale) * (both & 15).astype(np.float32)
    minima = _half(minimum) * (both >> 4).astype(np.float32)
    return _grouped(unpack(packed, 2, 128), scales, minima)


def _q3_k(blocks: Array) -> Array:
    high, packed, stored, scale = _split(blocks, 32, 64, 12, 2)
    low_bits, high_bits = unpack(stored[:, :8], 4, 16), unpack(stored[:, 8:], 2, 16)
    scales = (low_bits | (high_bits << 4)).view(np.int8) - np.int8(32)
    levels = unpack(packed, 2, 128) | (unpack(high, 1, 256) << 2)
    return _grouped(
        levels.view(np.int8) - np.int8(4), _half(scale) * scales.astype(np.float32)
    )


def _scales_and_minima(scale: Array, minimum: Array, packed: Array) -> tuple[Array, Array]:
    first, second, third = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    scales = np.concatenate([first & 63, (third & 15) | ((first >> 6) << 4)], axis=1)
    minima = np.concatenate([second & 63, (third >> 4) | ((second >> 6) << 4)], axis=1)
    return (
        _half(scale) * scales.astype(np.float32),
        _half(minimum) * minima.astype(np.float32),
    )


def _q4_k(blocks: Array) -> Array:
    scale, minimum, packed, levels = _split(blocks, 2, 2, 12, 128)
    return _grouped(unpack(levels, 4, 64), *_scales_and_minima(scale, minimum, packed))


def _q5_k(blocks: Array) -> Array:
    scale, minimum, packed, high, low = _split(blocks, 2, 2, 12, 32, 128)
    levels = unpack(low, 4, 64) | (unpack(high, 1, 256) << 4)
    return _grouped(levels, *_scales_and_minima(scale, minimum, packed))


def _q6_k(blocks: Array) -> Array:
    low, high, scales, scale = _split(blocks, 128, 64, 16, 2)
    levels = unpack(low, 4, 128) | (unpack(high, 2, 128) << 4)
    steps = _half(scale) * scales.view(np.int8).astype(np.float32)
    return _grouped(levels.view(np.int8) - np.int8(32), steps)


_IQ4_VALUES = IQ4_LEVELS.astype(np.float32)


def _iq4_nl(blocks: Array) -> Array:
    scale, packed = _split(blocks, 2, 16)
    return _half(scale) * _IQ4_VALUES[unpack(packed, 4, 32)]


def _iq4_xs(blocks: Array) -> Array:
    scale, high, low, packed = _split(blocks, 2, 2, 4, 128)
    upper = unpack(high, 2, 4)
    scales = (unpack(low, 4, 2) | (upper << 4)).view(np.int8) - np.int8(32)
    return _grouped(
        _IQ4_VALUES[unpack(packed, 4, 32)], _half(scale) * scales.astype(np.float32)
    )


DECODERS: dict[str, Callable[[Array], Array]] = {
    "q4_0": _q4_0, "q4_1": _q4_1, "q5_0": _q5_0, "q5_1": _q5_1, "q8_0": _q8_0,
    "q2_k": _q2_k, "q3_k": _q3_k, "q4_k": _q4_k, "q5_k": _q5_k, "q6_k": _q6_k,
    "iq4_nl": _iq4_nl, "iq4_xs": _iq4_xs,
    "tq1_0": ternary.decode_tq1_0, "tq2_0": ternary.decode_tq2_0,
    "mxfp4": float4.decode_mxfp4, "nvfp4": float4.decode_nvfp4,
    "float32": plain.decode_float32, "float16": plain.decode_float16,
    "bfloat16": plain.decode_bfloat16,
}  # fmt: skip
