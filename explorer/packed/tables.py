"""Codes of a table, and rows in groups of any shape: bitsandbytes' 4 bits, HQQ.

Formulas were read in bitsandbytes 0.50 (`QuantState.from_dict`, `dequantize_4bit`) and HQQ
0.2.8 (`Quantizer.dequantize`, `BitPack`).
"""

import json
from math import prod
from typing import Any

import numpy as np

from explorer.packed.coded import Coded, Parts

__all__ = ["bitsandbytes", "bitsandbytes_shape", "hqq", "hqq_shape"]

_THREE = 10  # three-bit values in a word
_KINDS = ("nf4", "fp4")
_STATE = 1 << 16  # bytes of a quant_state


def _state(parts: Parts) -> dict[str, Any]:
    """Return what bitsandbytes' quant_state says, JSON in a tensor of bytes."""
    raw = next(parts[name] for name in parts if name.startswith("quant_state/"))
    if raw.size > _STATE:
        raise ValueError(f"quant_state has {raw.size:,} bytes")
    try:
        found = json.loads(raw.astype(np.uint8).tobytes())
    except RecursionError:
        raise ValueError("quant_state is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("quant_state is not a JSON object")
    kind = found.get("quant_type", "nf4")
    if kind not in _KINDS:
        raise ValueError(f"quant_state says a quant_type of {str(kind)[:20]!r}")
    return found


def _block_size(state: dict[str, Any], name: str) -> int:
    size = state[name]
    if type(size) is not int or not 0 < size < 1 << 31:
        raise ValueError(f"quant_state says a {name} of {str(size)[:20]}")
    return size


def bitsandbytes_shape(parts: Parts) -> tuple[int, ...]:
    """Return the shape of a weight of 4 bits, which its quant_state says."""
    return tuple(int(size) for size in _state(parts)["shape"])


def bitsandbytes(parts: Parts, shape: tuple[int, ...], rows: slice) -> Coded:
    """Return rows of a flat weight, two codes a byte, the first in the high bits.

    Each block of elements has a largest magnitude, absmax, itself 8 bits of a table where it
    is "double quantised".
    """
    state = _state(parts)
    row = prod(shape[1:])
    first, last = rows.start * row, rows.stop * row
    raw = parts["weight"].reshape(-1).view(np.uint8)[first // 2 : -(-last // 2)]
    codes = np.stack((raw >> 4, raw & 15), -1).reshape(-1)[first % 2 :][: last - first]
    table = parts["quant_map"].astype(np.float32)
    if table.shape != (16,):  # or some rows could be decoded, and others not
        raise ValueError(f"quant_map is {list(table.shape)}, not [16]")
    size = _block_size(state, "blocksize")
    block = np.arange(first, last) // size
    absmax = parts["absmax"].reshape(-1)[block[0] : block[-1] + 1] if len(block) else []
    scale = np.asarray(absmax, parts["absmax"].dtype)
    if "nested_absmax" in parts:
        outer = np.arange(block[0], block[-1] + 1) // _block_size(state, "nested_blocksize")
        codes_of_scales = parts["nested_quant_map"].astype(np.float32)
        if codes_of_scales.shape != (256,):
            raise ValueError(
                f"nested_quant_map is {list(codes_of_scales.shape)}, not [256]"
            )
        scale = codes_of_scales[scale]
        scale = scale * parts["nested_absmax"].astype(np.float32)[outer]
        scale = scale + np.float32(state["nested_offset"])
    elif scale.dtype.kind == "u" or "nested_offset" in state:
        raise ValueError("nested_absmax is not there")
    scale = scale.astype(np.float32)
    if not len(block) or (first % size == 0 and last % size == 0):
        return Coded(table[codes].reshape(-1, size), scale[:, None], np.unique(table))
    return Coded(table[codes], scale[block - block[0]], np.unique(table))


def hqq_shape(parts: Parts, bits: int) -> tuple[int, ...]:
    """Return the shape of an HQQ layer's weight, which it keeps as a tensor.

    Raises:
        ValueError: it does not, its scales are quantised too, or it has other bits.
    """
    if "nbits" in parts and int(parts["nbits"].reshape(-1)[0]) != bits:
        raise ValueError(f"its nbits are not the {bits} of its header")
    if parts["scale"].dtype.kind in "iu" or parts["zero"].dtype.kind in "iu":
        raise ValueError("its scales are quantised too")
    if "shape" not in parts:
        raise ValueError("its shape is not in the file")
    return tuple(int(size) for size in parts["shape"].reshape(-1))


def hqq(parts: Parts, shape: tuple[int, ...], rows: slice, bits: int) -> Coded:
    """Return rows of W_q, packed along its first axis: the rows of a share in each few bits."""
    weight = parts["W_q"]
    zero, scale = (parts[name].astype(np.float32) for name in ("zero", "scale"))
    each = _THREE if bits == 3 else 8 // bits
    width = weight.shape[1]
    row = prod(shape[1:])
    first, last = rows.start * row, rows.stop * row
    lines = np.arange(first // width, -(-last // width))
    shift = bits * (each - 1 - lines // len(weight))
    codes = (weight[lines % len(weight)] >> shift.astype(weight.dtype)[:, None]) & (
        (1 << bits) - 1
    )
    if len(scale) > 1:
        zero, scale = zero[lines], scale[lines]
    values = np.arange(1 << bits, dtype=np.float32)
    if first % width == 0 and last % width == 0:
        return Coded(codes, scale, values, zero)
    inside = slice(first - int(lines[0]) * width, last - int(lines[0]) * width)
    zero, scale = (
        np.broadcast_to(part, codes.shape).reshape(-1)[inside] for part in (zero, scale)
    )
    return Coded(codes.reshape(-1)[inside], scale, values, zero)
