"""MXFP4 and NVFP4: floats of 4 bits, an 8-bit scale for 32 or 16 inputs of an output.

Two codes share a byte, the first in its lower half, as gpt-oss and NVIDIA's ModelOpt have them.

References:
    OCP Microscaling Formats (MX) v1.0 (2023), section 6.3: the scale is a power of two, that of
    the largest magnitude less the largest exponent of the format; NVIDIA, NVFP4 (2025).
"""

from typing import Any, NamedTuple

import jax
import ml_dtypes
import numpy as np

from explorer.transforms.quantisation.pieces import (
    Array,
    Parts,
    flushed,
    in_pieces,
    product,
    quotient,
    space_of,
)

__all__ = ["MXFP4", "NVFP4"]

_NUMBERS = (0, 0.5, 1, 1.5, 2, 3, 4, 6)  # each again with a sign, the highest bit
# a number between two neighbours that is in the middle goes to the code that is even
_MIDDLES = (
    (0.25, False),
    (0.75, True),
    (1.25, False),
    (1.75, True),
    (2.5, False),
    (3.5, True),
    (5, False),
)
_LARGEST_EXPONENT = 2
_E4M3 = 448.0


class MXFP4(NamedTuple):
    """The codec of MXFP4.

    Parts: values uint8 [outputs, inputs / 2]; scales uint8 [outputs, inputs / 32], of which 127
    stands for 1.
    """

    rank = 2
    dtype = "float4_e2m1fn"
    rule = "MXFP4"

    def encode(self, rows: Array) -> Parts:
        """Return the parts of rows in float32."""
        return in_pieces(_encode_mx, rows)

    def decode(self, parts: Parts, outputs: int, inputs: int) -> Array:
        """Return the rows in float32."""
        return _decoded(parts["values"], _power(parts["scales"]), outputs, inputs)


class NVFP4(NamedTuple):
    """The codec of NVFP4.

    Parts: values uint8 [outputs, inputs / 2]; scales float8_e4m3fn [outputs, inputs / 16];
    global_scale float32 [1], which multiplies those.
    """

    rank = 2
    dtype = "float4_e2m1fn"
    rule = "NVFP4"

    def encode(self, rows: Array) -> Parts:
        """Return the parts of rows in float32."""
        space = space_of(rows)
        largest = abs(rows).max(initial=0)
        # the largest scale of a block is the largest of its format
        whole = flushed(quotient(largest[None], _E4M3 * _NUMBERS[-1]))
        whole = space.where(whole > 0, whole, np.float32(1))
        return {**in_pieces(_encode_nv, rows, whole), "global_scale": whole}

    def decode(self, parts: Parts, outputs: int, inputs: int) -> Array:
        """Return the rows in float32."""
        scales = product(parts["scales"].astype(np.float32), parts["global_scale"])
        return _decoded(parts["values"], scales, outputs, inputs)


def _encode_mx(rows: Array) -> Parts:
    space = space_of(rows)
    groups = flushed(rows).reshape(len(rows), -1, 32)
    largest = abs(groups).max(-1)
    exponents = (_bits(largest) >> 23).astype(np.int32) - _LARGEST_EXPONENT
    exponents = space.where(largest > 0, space.maximum(exponents, 1), 0).astype(np.uint8)
    inverse = _power(254 - exponents)
    return {"values": _codes(groups * inverse[:, :, None]), "scales": exponents}


def _encode_nv(rows: Array, whole: Array) -> Parts:
    space = space_of(rows)
    groups = flushed(rows).reshape(len(rows), -1, 16)
    largest = flushed(quotient(abs(groups).max(-1), _NUMBERS[-1]))
    scales = space.minimum(largest * flushed(np.float32(1) / whole), _E4M3).astype(
        ml_dtypes.float8_e4m3fn
    )
    wide = flushed(scales.astype(np.float32) * whole)
    scaled = groups / space.where(wide > 0, wide, np.float32(np.inf))[:, :, None]
    return {"values": _codes(scaled), "scales": scales}


def _codes(groups: Array) -> Array:
    """Return numbers [n, groups, group] as codes [n, bytes]."""
    space = space_of(groups)
    magnitudes = abs(groups)
    codes = space.signbit(groups).astype(np.uint8) << 3
    for middle, is_up in _MIDDLES:
        above = magnitudes >= middle if is_up else magnitudes > middle
        codes = codes + above.astype(np.uint8)
    codes = codes.reshape(len(codes), -1)
    return codes[:, ::2] | (codes[:, 1::2] << 4)


def _decoded(values: Array, scales: Array, outputs: int, inputs: int) -> Array:
    space = space_of(values)
    table = space.asarray(np.array([*_NUMBERS, *(-n for n in _NUMBERS)], np.float32))
    codes = space.stack([values & 15, values >> 4], -1)
    numbers = table[codes.reshape(*scales.shape, -1)]
    return flushed(numbers * scales[:, :, None]).reshape(outputs, inputs)


def _bits(numbers: Array) -> Array:
    if space_of(numbers) is np:
        return numbers.view(np.uint32)
    return jax.lax.bitcast_convert_type(numbers, np.uint32)


def _power(exponents: Array) -> Array:
    """Return the powers of two that have these exponents, 127 for 1, as float32."""
    bits: Any = exponents.astype(np.uint32) << 23
    if space_of(bits) is np:
        return bits.view(np.float32)
    return jax.lax.bitcast_convert_type(bits, np.float32)
