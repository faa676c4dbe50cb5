"""Small floats and integers with scales: FP8 and INT8, MXFP4, NVFP4, gpt-oss's blocks.

Each function returns some rows of a weight, the first axis of what it logically is. Formulas
were read in transformers 5.24 (`finegrained_fp8`, `mxfp4`), compressed-tensors 0.20
(`nvfp4`, `mxfp4`), NVIDIA ModelOpt (`weight_scale_2`), qwix 0.1.8 (`QArray`), bitsandbytes 0.50.
"""

from functools import lru_cache
from math import prod
from typing import Any

import ml_dtypes
import numpy as np

from explorer.packed.coded import Coded, Parts, finite_values, unpacked

__all__ = ["blocks", "int8_rows", "microscaled", "scaled"]

_FP4 = np.arange(16, dtype=np.uint8).view(ml_dtypes.float4_e2m1fn).astype(np.float32)
_FP6 = np.arange(64, dtype=np.uint8).view(ml_dtypes.float6_e2m3fn).astype(np.float32)


def scales_of(scale: np.ndarray, is_nv: bool = False) -> np.ndarray:
    """Return scales as float32; those stored as bytes are exponents, or NVFP4's float8."""
    if scale.dtype == np.uint8:
        kind = ml_dtypes.float8_e4m3fn if is_nv else ml_dtypes.float8_e8m0fnu
        scale = scale.view(kind)
    return scale.astype(np.float32)


def scaled(parts: Parts, shape: tuple[int, ...], rows: slice) -> Coded:
    """Return rows of a weight of one number an element, times its scales.

    Scales are one for all, for each index of some axes, or for blocks of elements.
    """
    weight = parts["weight"]
    numbers = _numbers(weight[rows])
    scale = _spread(scales_of(parts["scale"]), shape, rows)
    if "scale_2" in parts:  # of a scale of scales
        scale = scale * _spread(parts["scale_2"].astype(np.float32), shape, rows)
    zero: Any = 0.0
    if "zero_point" in parts:
        zero = _spread(parts["zero_point"].astype(np.float32), shape, rows)
    return Coded(numbers, scale, finite_values(weight.dtype), zero)


def _numbers(weight: np.ndarray) -> np.ndarray:
    """Return small numbers as float32, those of one byte by a table."""
    if weight.dtype.itemsize != 1:
        return weight.astype(np.float32)
    return _table(weight.dtype).take(np.ascontiguousarray(weight).view(np.uint8))


@lru_cache(16)
def _table(dtype: np.dtype) -> np.ndarray:
    """Return what each of the 256 bytes stands for."""
    with np.errstate(all="ignore"):
        return np.arange(256, dtype=np.uint8).view(dtype).astype(np.float32)


def _spread(scale: np.ndarray, shape: tuple[int, ...], rows: slice) -> np.ndarray:
    """Return scales that broadcast with some rows of a weight."""
    if scale.size == 1:
        return scale.reshape([1] * len(shape))
    if scale.ndim != len(shape):
        scale = scale.reshape(_placed([size for size in scale.shape if size != 1], shape))
    for axis, (size, count) in enumerate(zip(shape, scale.shape, strict=True)):
        chosen = np.arange(rows.start, rows.stop) if axis == 0 else np.arange(size)
        if count not in (1, size):
            scale = scale.take(chosen // _block(size, count), axis)
        elif axis == 0 and count == size:
            scale = scale[rows]
    return scale


def _placed(axes: list[int], shape: tuple[int, ...]) -> list[int]:
    """Return the shape of scales of some axes of a weight, in order, among all of them."""
    found = []
    for size in shape:
        is_next = bool(axes) and axes[0] == size
        found.append(axes.pop(0) if is_next else 1)
    return found


def _block(size: int, count: int) -> int:
    from explorer.identify.packing.floats import block_size

    return block_size(size, count)


def int8_rows(parts: Parts, shape: tuple[int, ...], rows: slice) -> Coded:
    """Return rows of bitsandbytes' int8 weight: SCB is the largest magnitude of each row."""
    # bitsandbytes multiplies by the reciprocal too
    scale = parts["SCB"][rows].astype(np.float32) * np.float32(1 / 127)
    weight = parts["weight"]
    return Coded(weight[rows], scale[:, None], finite_values(weight.dtype))


def microscaled(parts: Parts, shape: tuple[int, ...], rows: slice) -> Coded:
    """Return rows of small floats packed in bytes, with a scale for 16 or 32 of them.

    `parts` has weight and scale, and a scale of scales: global_scale, by which they are
    divided, or scale_2, by which they are multiplied.
    """
    weight, scale = parts["weight"], parts["scale"]
    axis = next(
        at
        for at in (-1, -2)
        if weight.shape[at] != shape[at] or scale.shape[at] != shape[at]
    )
    if axis == -1 or weight.ndim > 2:  # rows are whole
        weight, scale = weight[rows], scale[rows]
    weight, scale = np.moveaxis(weight, axis, -1), np.moveaxis(scale, axis, -1)
    width, groups = shape[axis], scale.shape[-1]
    bits = 8 * weight.shape[-1] * weight.dtype.itemsize // width
    codes = unpacked(weight, bits, width)
    table = {4: _FP4, 6: _FP6}.get(bits)
    if table is None:
        kind = np.dtype(ml_dtypes.float8_e4m3fn)
        numbers, values = codes.view(kind).astype(np.float32), finite_values(kind)
    else:
        numbers, values = table[codes], np.unique(table)
    factor = scales_of(scale, width // groups == 16)
    factor = _times(parts, factor, rows)[..., None]
    found = numbers.reshape(*numbers.shape[:-1], groups, -1)
    if axis == -1:
        return Coded(found, factor, values)
    whole = np.broadcast_to(factor, found.shape).reshape(numbers.shape)
    found, whole = (np.moveaxis(each, -1, axis) for each in (numbers, whole))
    if weight.ndim == 2:
        found, whole = found[rows], whole[rows]
    return Coded(found, whole, values)


def _times(parts: Parts, factor: np.ndarray, rows: slice) -> np.ndarray:
    """Return scales times, or over, the scale of the tensor, or of each of its experts."""
    for name, divides in (("global_scale", True), ("scale_2", False)):
        whole = parts.get(name)
        if whole is not None:
            whole = whole.astype(np.float32)
            if whole.size > 1:
                whole = whole.reshape(-1, *[1] * (factor.ndim - 1))[rows]
            factor = factor / whole if divides else factor * whole
    return factor


def blocks(parts: Parts, shape: tuple[int, ...], rows: slice) -> Coded:
    """Return rows of gpt-oss's MXFP4: blocks [..., groups, 16 bytes], scales [..., groups]."""
    weight, scale = parts["weight"], parts["scale"]
    flat = {"weight": weight.reshape(*weight.shape[:-2], -1), "scale": scale}
    if prod(shape) != 2 * weight.size:
        raise ValueError(f"{weight.size} bytes do not hold {prod(shape)} weights")
    return microscaled(flat, shape, rows)
