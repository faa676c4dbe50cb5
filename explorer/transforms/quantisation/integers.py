"""Integers of 8 or 4 bits with scales of a tensor, of channels or of groups of inputs.

Without groups a scale is a float32, and int8 is LLM.int8's: the largest magnitude of an output,
of which a step is 1/127. Groups have scales of 16 bits, rounded up so that no weight is more than
half a step off, and steps of 2/15 or 2/255 of the largest magnitude, as compressed-tensors has them.

References:
    Dettmers et al., LLM.int8() (2022), section 2; bitsandbytes 0.50, int8_vectorwise_quant.
    compressed-tensors 0.20, quantization/utils/helpers.py (calculate_qparams).
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import jax
import ml_dtypes
import numpy as np

from explorer.sizing.weights.schemes import Options
from explorer.transforms.quantisation.pieces import (
    Array,
    Parts,
    flushed,
    in_pieces,
    quotient,
    space_of,
)

__all__ = ["Integers", "integers_of", "rounded_up"]

_SHARES = tuple(
    1 - 0.02 * n for n in range(16)
)  # of the largest magnitude, that search tries


class Integers(NamedTuple):
    """The codec of integers.

    Parts: values int8 [outputs, inputs], or uint8 [outputs, inputs / 2], the first of two in the
    lower half of a byte and 8 larger than it is; scales float32 [outputs, 1] or [1, 1], or bfloat16
    [outputs, groups]; zero_points int8 of the same shape where the scheme has them.

    Attributes:
        bits: 8 or 4.
        group: inputs of a scale; 0 for all of a row; None for one scale of the tensor.
        wide: whether scales are float32, and count the largest magnitude.
        asymmetric: whether the range need not be centred on zero.
        search: whether ranges are clipped where that makes the squared error smaller.
    """

    bits: int
    group: int | None
    wide: bool
    asymmetric: bool
    search: bool

    rank = 2

    @property
    def dtype(self) -> str:
        """What inventories call the stored numbers."""
        return f"int{self.bits}"

    @property
    def rule(self) -> str:
        """What inventories say of the format."""
        spread = {None: "one scale", 0: "scales of outputs"}.get(
            self.group, f"scales of {self.group} inputs"
        )
        zeros = " and zero points" if self.asymmetric else ""
        return f"INT{self.bits} with {spread}{zeros}"

    def encode(self, rows: Array) -> Parts:
        """Return the parts of rows in float32."""
        given = ()
        if self.group is None:
            space = space_of(rows)
            low, high = rows.min(initial=0), rows.max(initial=0)
            given = (space.stack([low, high]).astype(np.float32),)
        parts = in_pieces(_encoder(self), rows, *given)
        if self.group is None:
            parts = {name: p if name == "values" else p[:1] for name, p in parts.items()}
        return parts

    def decode(self, parts: Parts, outputs: int, inputs: int) -> Array:
        """Return the rows in float32."""
        values = unpacked(parts["values"], self.bits, inputs)
        space = space_of(values)
        scales = self.steps(parts)
        group = self.group or inputs
        numbers = _grouped(space, values, group)
        if "zero_points" in parts:
            # differences of int8 need 16 bits
            zeros = parts["zero_points"].astype(np.int16)
            numbers = numbers.astype(np.int16) - zeros[:, :, None]
        found = flushed(numbers.astype(np.float32) * scales[:, :, None])
        return found.reshape(outputs, -1)[:, :inputs]

    def steps(self, parts: Parts) -> Array:
        """Return what a step is worth, in float32 [outputs or 1, groups]."""
        scales = parts["scales"].astype(np.float32)
        if self.wide and not self.asymmetric:
            return flushed(scales * np.float32(1 / 127))
        return flushed(scales)


def integers_of(name: str, options: Options) -> Integers:
    """Return the codec of "int8" or "int4" with options.

    >>> integers_of("int4", Options(group=32)).group
    32
    """
    bits = int(name.removeprefix("int"))
    wide = bits == 8 and options.group is None
    group: int | None = 128 if options.group is None else options.group
    if wide:
        group = None if options.scales == "tensor" else 0
    return Integers(bits, group, wide, options.asym, options.search)


def _grouped(space: object, values: Array, group: int) -> Array:
    """Return rows as [n, groups, group], the last group filled with zeros."""
    rows, inputs = values.shape
    missing = -inputs % group
    if missing:
        values = space_of(values).pad(values, ((0, 0), (0, missing)))
    return values.reshape(rows, -1, group)


def packed(values: Array) -> Array:
    """Return integers of -8 to 7 as bytes, the first of two in the lower half.

    >>> packed(np.array([[-8, 7, 1]], np.int8)).tolist()
    [[240, 9]]
    """
    space = space_of(values)
    codes = (values + np.int8(8)).astype(np.uint8)
    if codes.shape[-1] % 2:
        codes = space.pad(codes, ((0, 0), (0, 1)))
    return codes[:, ::2] | (codes[:, 1::2] << 4)


def unpacked(values: Array, bits: int, inputs: int) -> Array:
    """Return the stored integers as int8 [n, inputs].

    >>> unpacked(np.array([[240, 9]], np.uint8), 4, 3).tolist()
    [[-8, 7, 1]]
    """
    if bits == 8:
        return values
    space = space_of(values)
    both = space.stack([values & 15, values >> 4], -1).reshape(len(values), -1)
    return both[:, :inputs].astype(np.int8) - np.int8(8)


@lru_cache(maxsize=64)
def _encoder(codec: Integers) -> Callable[..., Parts]:
    def encode(rows: Array, whole: Array | None = None) -> Parts:
        space, inputs = space_of(rows), rows.shape[-1]
        numbers = _grouped(space, flushed(rows), codec.group or inputs)
        if whole is None:
            low, high = numbers.min(-1), numbers.max(-1)
        else:
            low, high = (each.reshape(1, 1) for each in whole)
        low, high = space.minimum(low, 0), space.maximum(high, 0)
        best = _quantised(codec, space, numbers, low, high)
        for share in _SHARES[1:] if codec.search else ():
            tried = _quantised(codec, space, numbers, low * share, high * share)
            best = _better(space, numbers, codec, best, tried)
        values, *parts = best
        values = values.reshape(len(rows), -1)[:, :inputs]
        names = ("scales", "zero_points")[: len(parts)]
        values = values if codec.bits == 8 else packed(values)
        return {"values": values, **dict(zip(names, parts, strict=True))}

    return encode


def _quantised(
    codec: Integers, space: object, numbers: Array, low: Array, high: Array
) -> tuple[Array, ...]:
    """Return values, scales and perhaps zero points of groups whose range is given."""
    xp = space_of(numbers)
    least, most = -(1 << codec.bits - 1), (1 << codec.bits - 1) - 1
    if codec.asymmetric:
        scales = _stored(codec, quotient(high - low, most - least))
        wide = scales.astype(np.float32)
        divisor = xp.where(wide > 0, wide, 1)
        inverse = flushed(xp.float32(1) / divisor)
        zeros = xp.clip(xp.round(-low * inverse) + least, least, most)
        steps = xp.round(numbers * inverse[:, :, None]) + zeros[:, :, None]
        values = xp.clip(steps, least, most).astype(np.int8)
        return values, scales, zeros.astype(np.int8)
    largest = xp.maximum(-low, high)
    if codec.wide:
        inverse = flushed(xp.float32(1) / xp.where(largest > 0, largest, 1)) * most
        steps = xp.round(numbers * inverse[:, :, None])
        return xp.clip(steps, -most, most).astype(np.int8), largest
    scales = _stored(codec, quotient(largest, most + 0.5))
    wide = scales.astype(np.float32)
    divisor = xp.where(wide > 0, wide, 1)[:, :, None]
    return xp.clip(xp.round(numbers / divisor), least, most).astype(np.int8), scales


def _stored(codec: Integers, scales: Array) -> Array:
    """Return scales as they are stored: in 16 bits, or as they are."""
    scales = flushed(scales)
    return scales if codec.wide else rounded_up(scales)


def rounded_up(numbers: Array) -> Array:
    """Return float32 numbers that are not negative as bfloat16, none of them smaller.

    >>> float(rounded_up(np.array(1.0001, np.float32)))
    1.0078125
    """
    near = numbers.astype(ml_dtypes.bfloat16)
    is_less = (near.astype(np.float32) < numbers).astype(np.uint16)
    if space_of(numbers) is np:
        return (near.view(np.uint16) + is_less).astype(np.uint16).view(ml_dtypes.bfloat16)
    bits = jax.lax.bitcast_convert_type(near, np.uint16) + is_less
    return jax.lax.bitcast_convert_type(bits, ml_dtypes.bfloat16)


def _better(
    space: object,
    numbers: Array,
    codec: Integers,
    best: tuple[Array, ...],
    tried: tuple[Array, ...],
) -> tuple[Array, ...]:
    """Return of each group the one of two ways whose squared error is smaller."""
    xp = space_of(numbers)
    errors = [_error(numbers, codec, each) for each in (best, tried)]
    is_better = errors[1] < errors[0]
    return tuple(
        xp.where(is_better[:, :, None] if one.ndim == 3 else is_better, two, one)
        for one, two in zip(best, tried, strict=True)
    )


def _error(numbers: Array, codec: Integers, found: tuple[Array, ...]) -> Array:
    values, scales, *zeros = found
    steps = codec.steps({"scales": scales})
    whole = values.astype(np.float32)
    for zero in zeros:
        whole = whole - zero.astype(np.float32)[:, :, None]
    return ((numbers - whole * steps[:, :, None]) ** 2).sum(-1)
