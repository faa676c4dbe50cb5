"""Weights stored as small numbers of their own: FP8, INT8, and four-bit floats in blocks.

Layouts: DeepSeek-V3's and transformers' finegrained_fp8 (`weight_scale_inv`, 128x128
blocks), compressed-tensors (`naive_quantized`, `nvfp4`, `mxfp4`, `mxfp6`, `mxfp8`),
NVIDIA ModelOpt (`weight_scale`, `weight_scale_2`), gpt-oss (`_blocks`, `_scales`),
DeepSeek-V4 (`scale`, two four-bit weights in an int8), MLX's `mxfp4`/`nvfp4`/`mxfp8`.
"""

import math

from explorer.dtypes import find
from explorer.identify.packing.evidence import Claim, Reading, Stored

__all__ = ["block_size", "read_blocks", "read_microscaled", "read_scaled"]

_NAMES = {"float8": "FP8", "float6": "FP6", "float4": "FP4", "int8": "INT8", "int4": "INT4"}

# stored bytes under one scale: the format's name, weights under it, their format
_MICROSCALED = {
    8: ("NVFP4", 16, "float4_e2m1fn"),
    16: ("MXFP4", 32, "float4_e2m1fn"),
    24: ("MXFP6", 32, "float6_e2m3fn"),
    32: ("MXFP8", 32, "float8_e4m3fn"),
}
_EXPONENTS = ("float8_e8m0fnu", "uint8")
_BYTES = {"uint8": 1, "int8": 1, "uint32": 4}


def read_scaled(
    weight: Stored, scale: Stored, state: dict[str, Stored], claims: tuple[Claim, ...]
) -> Reading | None:
    """Read a weight stored one number an element, its scales spread over it."""
    name = _NAMES.get(weight.dtype.partition("_")[0])
    if name is None or not (find(scale.dtype).kind == "float" or scale.dtype == "uint8"):
        return None
    if math.prod(scale.shape) == 1:
        spread, word = "one scale per tensor", "scales"
    elif _is_per_channel(weight.shape, scale.shape):
        spread, word = "one scale per channel", "scales"
    elif blocks := _blocks(weight.shape, scale.shape):
        spread, word = f"{'x'.join(map(str, blocks[-2:]))} block scales", "block scales"
        if name == "FP8" and blocks[-2:] == [1, 32] and scale.dtype in _EXPONENTS:
            name = "MXFP8"
    else:
        return None
    rule = f"{name} with {spread}"
    bits = {claim.bits for claim in claims if claim.bits}
    if weight.dtype == "int8" and bits and 8 not in bits:  # may be two in a byte
        rule += f", one weight a byte assumed against the {min(bits)} bits of config.json"
    return Reading(weight.shape, weight.dtype, rule, f"{name} {word}")


def _is_per_channel(shape: tuple[int, ...], scale: tuple[int, ...]) -> bool:
    # axes of one element are only there to broadcast: (experts, out, 1), (1, out), (out,)
    axes = [size for size in scale if size != 1]
    wanted = iter(shape)
    return len(axes) < max(len(shape), 2) and all(size in wanted for size in axes)


def _blocks(shape: tuple[int, ...], scale: tuple[int, ...]) -> list[int]:
    """Return the block's size along each axis, or nothing where the scales do not fit."""
    if len(shape) != len(scale):
        return []
    blocks = [block_size(*pair) for pair in zip(shape, scale, strict=True)]
    return blocks if all(blocks) and max(blocks, default=1) > 1 else []


def block_size(size: int, count: int) -> int:
    """Return a block size that cuts `size` into `count`, a customary one if any does."""
    if size == count:
        return 1
    if not 0 < count < size:
        return 0
    even = -(-size // count)
    for block in (128, 64, 32, 16, 256, 512, even):
        if -(-size // block) == count:
            return block
    return 0


def read_microscaled(
    weight: Stored, scale: Stored, state: dict[str, Stored], claims: tuple[Claim, ...]
) -> Reading | None:
    """Read small floats packed in bytes or words, one 8-bit scale for 16 or 32 of them.

    They are packed along the last axis, or along the last but one where experts are
    kept as (experts, in, out).
    """
    (shape, dtype), (scales, scale_dtype) = weight, scale
    if dtype not in _BYTES or len(shape) != len(scales):
        return None
    for axis in range(len(shape) - 1, max(len(shape) - 3, -1), -1):
        groups = scales[axis]
        stored = shape[axis] * _BYTES[dtype]
        same = shape[:axis] + shape[axis + 1 :] == scales[:axis] + scales[axis + 1 :]
        if not same or not groups or stored % groups:
            continue
        name, group, logical = _MICROSCALED.get(stored // groups, ("", 0, ""))
        known = (*_EXPONENTS, "float8_e4m3fn") if name == "NVFP4" else _EXPONENTS
        if name and scale_dtype in known:
            whole = (*shape[:axis], groups * group, *shape[axis + 1 :])
            return Reading(whole, logical, name, f"{name} scales")
    return None


def read_blocks(
    weight: Stored, scale: Stored, state: dict[str, Stored], claims: tuple[Claim, ...]
) -> Reading | None:
    """Read gpt-oss's MXFP4: blocks [..., groups, 16 bytes] and scales [..., groups]."""
    if weight.shape[-1:] != (16,) or weight.shape[:-1] != scale.shape or not scale.shape:
        return None
    *rows, groups = scale.shape
    flat = Stored((*rows, groups * 16), weight.dtype)
    return read_microscaled(flat, scale, state, claims)
