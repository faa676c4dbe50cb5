"""Quantized arrays that keep their shape: qwix, AQT, GGUF's NVFP4.

Layouts were printed by the libraries: qwix 0.1.8 (`QArray`, in a `WithAux`) and AQT 0.9
(`QTensor` of a frozen `AqtDotGeneral`); in GGUF a tensor of NVFP4 has one more scale
beside it, `blk.0.attn_q.scale` (llama.cpp, `llama-model.cpp`).
"""

import math

from explorer.dtypes import find
from explorer.identify.packing.evidence import Claim, Reading, Stored

__all__ = ["read_array", "read_ggml"]

_GGML = frozenset(("nvfp4", "mxfp4", "i2_s", "tq1_0", "tq2_0"))


def read_array(
    weight: Stored, scale: Stored, state: dict[str, Stored], claims: tuple[Claim, ...]
) -> Reading | None:
    """Read an array of small numbers with scales of its rank, one for each tile."""
    kind = find(weight.dtype)
    if kind.bits > 8 or kind.kind not in ("int", "uint", "float") or not weight.shape:
        return None
    if not _tiles(weight.shape, scale.shape) or find(scale.dtype).kind != "float":
        return None
    whole = math.prod(scale.shape) == 1
    spread = "one scale" if whole else "scales of channels or tiles"
    rule = f"quantized arrays of {weight.dtype} with {spread}"
    return Reading(weight.shape, weight.dtype, rule, "scales and zero points of arrays")


def _tiles(shape: tuple[int, ...], scale: tuple[int, ...]) -> bool:
    if math.prod(scale) == 1:
        return True
    return len(shape) == len(scale) and all(
        count and size % count == 0 for size, count in zip(shape, scale, strict=True)
    )


def read_ggml(
    weight: Stored, scale: Stored, state: dict[str, Stored], claims: tuple[Claim, ...]
) -> Reading | None:
    """Read a tensor of GGUF's blocks with one scale, or one for each expert."""
    if weight.dtype not in _GGML or find(scale.dtype).kind != "float":
        return None
    if math.prod(scale.shape) != 1 and scale.shape != weight.shape[:1]:
        return None
    name = weight.dtype.upper()
    rule = f"{name} with a scale of the tensor"
    return Reading(weight.shape, weight.dtype, rule, f"{name} tensor scales")
