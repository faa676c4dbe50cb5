"""4-bit floats in blocks: MXFP4, a power of two for 32, and NVFP4, an 8-bit float for each 16.

References:
    quantize_row_mxfp4_ref and quantize_row_nvfp4_ref in ggml/src/ggml-quants.c,
    ggml_e8m0_to_fp32_half and ggml_fp32_to_ue4m3 in ggml/src/ggml-impl.h,
    github.com/ggml-org/llama.cpp (commit 01243c5, 2026).
"""

import numpy as np

from explorer.transforms.quantisation.ggml.arithmetic import Array, largest
from explorer.transforms.quantisation.ggml.packing import pack, unpack

__all__ = ["decode_mxfp4", "decode_nvfp4", "encode_mxfp4", "encode_nvfp4"]

# twice e2m1's values: a scale is half of what it says
_SIZES = np.array([0, 1, 2, 3, 4, 6, 8, 12], np.float32)
_MIDDLES = (_SIZES[1:] + _SIZES[:-1]) / 2
_VALUES = np.concatenate([_SIZES, -_SIZES])
_HIGHEST = 0x7E  # of NVFP4's scales
_VALUES[8] = 0  # not -0.0


def encode_mxfp4(blocks: Array) -> list[Array]:
    """Return the fields of MXFP4: an exponent, then levels."""
    most = largest(np.ascontiguousarray(blocks.T))[0]
    power = np.log2(most.astype(np.float64)).astype(np.float32)
    exponent = np.where(most > 0, np.floor(power) + np.float32(125), np.float32(0))
    exponent = exponent.astype(np.int32).astype(np.uint8)  # below 0 it wraps, as in C
    return [exponent[:, None], pack(_levels(blocks, _power(exponent)[:, None]), 4, span=32)]


def encode_nvfp4(blocks: Array) -> list[Array]:
    """Return the fields of NVFP4: four scales, then levels."""
    groups = blocks.reshape(-1, 16)
    scales = _to_ue4m3(largest(np.ascontiguousarray(groups.T))[0] / np.float32(6))
    levels = _levels(groups, _from_ue4m3(scales)[:, None])
    if (beyond := scales == _HIGHEST).any():
        levels[beyond] = _first_nearest(
            groups[beyond], _from_ue4m3(scales[beyond])[:, None]
        )
    return [scales.reshape(-1, 4), pack(levels, 4, span=16).reshape(len(blocks), -1)]


def decode_mxfp4(blocks: Array) -> Array:
    """Return the values of MXFP4."""
    return _VALUES[unpack(blocks[:, 1:], 4, 32)] * _power(blocks[:, 0])[:, None]


def decode_nvfp4(blocks: Array) -> Array:
    """Return the values of NVFP4."""
    values = _VALUES[unpack(blocks[:, 4:], 4, 16)].reshape(-1, 4, 16)
    return (values * _from_ue4m3(blocks[:, :4])[:, :, None]).reshape(len(blocks), -1)


def _levels(x: Array, scale: Array) -> Array:
    """Return the nearest levels, the smaller of two as near; those below 0 have a fourth bit."""
    size = np.abs(x)
    found = np.zeros(x.shape, np.uint8)
    for middle in _MIDDLES:
        found += size > middle * scale
    found *= scale > 0
    found |= ((x < 0) & (found > 0)).view(np.uint8) << np.uint8(3)
    return found


def _first_nearest(x: Array, scale: Array) -> Array:
    """Return the first of the levels that are as near as any, by errors as they are rounded.

    Of values far beyond the highest level, several errors are the same.
    """
    return np.abs(_VALUES * scale[:, :, None] - x[:, :, None]).argmin(2).astype(np.uint8)


def _power(exponent: Array) -> Array:
    """Return half of two to the power of a biased exponent."""
    small = np.uint32(0x00200000) << np.minimum(exponent, 1).astype(np.uint32)
    usual = (np.maximum(exponent, 1).astype(np.uint32) - np.uint32(1)) << np.uint32(23)
    return np.where(exponent < 2, small, usual).view(np.float32)


def _to_ue4m3(x: Array) -> Array:
    """Return unsigned floats of four exponent and three mantissa bits, halves rounded up."""
    x = np.minimum(x, np.float32(448))
    bits = x.view(np.int32)
    exponent = (bits >> 23) - 120
    usual = (exponent << 3) + ((bits >> 20) & 7) + ((bits >> 19) & 1)
    small = np.minimum((x * np.float32(512) + np.float32(0.5)).astype(np.int32), 7)
    found = np.where(exponent <= 0, small, np.where(usual >= 15 << 3, _HIGHEST, usual))
    return found.astype(np.uint8)


def _from_ue4m3(x: Array) -> Array:
    """Return half of what such a float stands for; the highest, NaN, stands for 0."""
    exponent, mantissa = (x >> 3).astype(np.int32) & 15, (x & 7).astype(np.float32)
    usual = np.ldexp(np.float32(1) + mantissa / np.float32(8), exponent - 8)
    found = np.where(exponent == 0, np.ldexp(mantissa, -10), usual)
    return np.where(x == 0x7F, np.float32(0), found).astype(np.float32)
