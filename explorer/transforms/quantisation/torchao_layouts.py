"""int8wo and int4wo: the weight-only layouts of torchao.

References:
    pytorch/ao torchao/quantization (2024): quant_primitives.py, tensor_core_tiled_layout.py.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import ml_dtypes
import numpy as np

from explorer.transforms.quantisation.integers import Integers, rounded_up
from explorer.transforms.quantisation.pieces import (
    Array,
    Parts,
    flushed,
    in_pieces,
    product,
    quotient,
    space_of,
)

__all__ = ["CHANNELS", "Int4WeightOnly", "Int8WeightOnly"]

_PADDED = 1024  # inputs


class Int8WeightOnly(NamedTuple):
    """The codec of int8wo.

    Parts: values int8 [outputs, inputs]; scales bfloat16 [outputs, 1]; zero_words int32
    [outputs, 2], its zero points, which are 64-bit zeros.
    """

    rank = 2
    dtype = "int8"
    rule = "torchao int8 weights with scales of outputs"

    def encode(self, rows: Array) -> Parts:
        """Return the parts of rows in float32."""
        zeros = space_of(rows).zeros((len(rows), 2), np.int32)
        return {**CHANNELS.encode(rows), "zero_words": zeros}

    def decode(self, parts: Parts, outputs: int, inputs: int) -> Array:
        """Return the rows in float32."""
        return CHANNELS.decode(parts, outputs, inputs)


CHANNELS = Integers(bits=8, group=0, wide=False, asymmetric=False, search=False)


class Int4WeightOnly(NamedTuple):
    """The codec of int4wo: codes less 8, times a scale, plus a zero.

    Parts: values uint8 [outputs, padded inputs / 2], the first of two in the lower half;
    scales bfloat16 [outputs, groups, 2], each scale with its zero.
    """

    group: int

    rank = 2
    dtype = "int4"

    @property
    def rule(self) -> str:
        """What inventories say of the format."""
        return f"torchao int4 weights with scales and zeros of {self.group} inputs"

    def encode(self, rows: Array) -> Parts:
        """Return the parts of rows in float32."""
        return in_pieces(_encoder4(self.group), rows)

    def decode(self, parts: Parts, outputs: int, inputs: int) -> Array:
        """Return the rows in float32."""
        values, space = parts["values"], space_of(parts["values"])
        both = parts["scales"].astype(np.float32)
        codes = space.stack([values & 15, values >> 4], -1).reshape(outputs, -1, self.group)
        steps = product(codes.astype(np.float32) - 8, both[:, :, :1])
        return (steps + both[:, :, 1:]).reshape(outputs, -1)[:, :inputs]


@lru_cache(maxsize=16)
def _encoder4(group: int) -> Callable[..., Parts]:
    def encode(rows: Array) -> Parts:
        space = space_of(rows)
        padded = space.pad(flushed(rows), ((0, 0), (0, -rows.shape[1] % _PADDED)))
        groups = padded.reshape(len(rows), -1, group)
        low, high = groups.min(-1), groups.max(-1)
        scales = rounded_up(flushed(quotient(high - low, 15)))
        wide = scales.astype(np.float32)
        zeros = (low + wide * 8).astype(ml_dtypes.bfloat16)
        base = zeros.astype(np.float32) - wide * 8
        divisor = space.where(wide > 0, wide, np.float32(np.inf))
        codes = space.round((groups - base[:, :, None]) / divisor[:, :, None])
        codes = space.clip(codes, 0, 15).astype(np.uint8).reshape(len(rows), -1)
        # a group of equal weights is their zero
        codes = space.where((wide > 0).repeat(group, 1), codes, 8).astype(np.uint8)
        values = codes[:, ::2] | (codes[:, 1::2] << 4)
        return {"values": values, "scales": space.stack([scales, zeros], -1)}

    return encode
