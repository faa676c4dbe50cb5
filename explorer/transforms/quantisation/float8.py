"""fp8: numbers of 8 bits with a float32 scale of the tensor, of an output or of 128 x 128 weights.

References:
    Micikevicius et al., FP8 Formats for Deep Learning (2022); deepseek-ai/DeepSeek-V3,
    inference/kernel.py (2024): the scale is the largest magnitude of a block over that of the format.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import ml_dtypes
import numpy as np

from explorer.transforms.quantisation.pieces import (
    Array,
    Parts,
    flushed,
    in_pieces,
    quotient,
    space_of,
)

__all__ = ["Float8"]

_BLOCK = 128


class Float8(NamedTuple):
    """The codec of fp8.

    Parts: values float8 [outputs, inputs]; scales float32 [1, 1], [outputs, 1] or
    [outputs / 128, inputs / 128], which multiply them.

    Attributes:
        e5m2: whether a number has five bits of exponent and two of fraction, not four and three.
        spread: what a scale is for: "tensor", "channel" or "block".
    """

    e5m2: bool
    spread: str

    rank = 2

    @property
    def dtype(self) -> str:
        """What inventories call the stored numbers."""
        return "float8_e5m2" if self.e5m2 else "float8_e4m3fn"

    @property
    def rule(self) -> str:
        """What inventories say of the format."""
        words = {"tensor": "one scale per tensor", "channel": "one scale per channel"}
        return f"FP8 with {words.get(self.spread, '128x128 block scales')}"

    def encode(self, rows: Array) -> Parts:
        """Return the parts of rows in float32."""
        given = ()
        if self.spread == "tensor":
            given = (abs(rows).max(initial=0)[None],)
        parts = in_pieces(_encoder8(self), rows, *given, multiple=_BLOCK)
        if self.spread == "tensor":
            parts["scales"] = parts["scales"][:1]
        return parts

    def decode(self, parts: Parts, outputs: int, inputs: int) -> Array:
        """Return the rows in float32."""
        values, scales = parts["values"].astype(np.float32), parts["scales"]
        if self.spread == "block":
            scales = scales.repeat(_BLOCK, 0)[:outputs].repeat(_BLOCK, 1)[:, :inputs]
        return flushed(values * scales)


@lru_cache(maxsize=16)
def _encoder8(codec: Float8) -> Callable[..., Parts]:
    kind = ml_dtypes.float8_e5m2 if codec.e5m2 else ml_dtypes.float8_e4m3fn
    most = float(ml_dtypes.finfo(kind).max)

    def encode(rows: Array, whole: Array | None = None) -> Parts:
        space = space_of(rows)
        rows = flushed(rows)
        if whole is not None:
            largest = whole.reshape(1, 1)
        elif codec.spread == "channel":
            largest = abs(rows).max(-1, keepdims=True)
        else:
            largest = _of_blocks(rows)
        scales = flushed(quotient(largest, most))
        scales = space.where(scales > 0, scales, np.float32(1))
        wide = scales
        if codec.spread == "block":
            wide = wide.repeat(_BLOCK, 0)[: len(rows)].repeat(_BLOCK, 1)[:, : rows.shape[1]]
        # XLA would multiply by the reciprocal of one scale for all
        scaled = rows / wide if whole is None else rows * flushed(np.float32(1) / scales)
        # what rounds to more than the largest would be NaN
        values = space.clip(scaled, -most, most).astype(kind)
        return {"values": values, "scales": scales}

    return encode


def _of_blocks(rows: Array) -> Array:
    space, (outputs, inputs) = space_of(rows), rows.shape
    padded = space.pad(abs(rows), ((0, -outputs % _BLOCK), (0, -inputs % _BLOCK)))
    blocks = padded.reshape(-(-outputs // _BLOCK), _BLOCK, -(-inputs // _BLOCK), _BLOCK)
    return blocks.max((1, 3))
