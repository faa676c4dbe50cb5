"""Integers of a few bits packed in bytes: bitsandbytes, HQQ, ModelOpt, torchao.

Layouts were read in the libraries that write them: bitsandbytes (`QuantState.as_dict`,
`quantize_4bit`), HQQ (`BitPack`, `HQQLinear.state_dict`), NVIDIA ModelOpt
(`pack_int4_in_uint8`), torchao (`Int4Tensor`, `flatten_tensor_state_dict`).
"""

import math

from explorer.dtypes import find
from explorer.identify.packing.evidence import Claim, Option, Reading, Stored, choose

__all__ = [
    "read_bitsandbytes",
    "read_bitsandbytes_int8",
    "read_bytes",
    "read_hqq",
    "read_modelopt",
    "read_torchao",
]

_GROUPS = (16, 32, 64, 128, 256, 512)


def read_bitsandbytes(
    weight: Stored, scale: Stored, state: dict[str, Stored], claims: tuple[Claim, ...]
) -> Reading | None:
    """Read weight [bytes, 1] with absmax, quant_map and quant_state.bitsandbytes__*.

    The layer's shape is a value inside quant_state, which a header does not have: the
    shape given is (elements, 1), of the exact size and the rank of a matrix.
    """
    kinds = [
        kind for kind in ("nf4", "fp4") if f"/quant_state/bitsandbytes__{kind}" in state
    ]
    table = state.get("/quant_map")
    if len(kinds) != 1 or table is None or table.shape != (16,):
        return None
    if len(weight.shape) > 2 or (len(weight.shape) == 2 and 1 not in weight.shape):
        return None
    size = 2 * find(weight.dtype).nbytes(math.prod(weight.shape))
    blocks = math.prod(scale.shape)
    if not any(-(-size // block) == blocks for block in (1 << n for n in range(5, 13))):
        return None
    name = kinds[0]
    rule = f"bitsandbytes {name.upper()}, of known size and unknown shape"
    return Reading((size, 1), name, rule, "bitsandbytes absmax, quant_map and quant_state")


def read_bitsandbytes_int8(
    weight: Stored, scale: Stored, state: dict[str, Stored], claims: tuple[Claim, ...]
) -> Reading | None:
    """Read weight I8 [out, in] and SCB [out], the largest magnitude of each row."""
    if weight.dtype != "int8" or scale.shape != weight.shape[:1]:
        return None
    return Reading(weight.shape, "int8", "bitsandbytes INT8", "bitsandbytes INT8 scales")


def read_hqq(
    weight: Stored, scale: Stored, state: dict[str, Stored], claims: tuple[Claim, ...]
) -> Reading | None:
    """Read W_q, packed along its first axis from [groups, group], and scale [groups, 1].

    The header does not have the layer's shape: it is given as (elements, 1).
    """
    zero = state.get("/zero")
    if len(weight.shape) != 2 or len(scale.shape) != 2 or zero is None:
        return None
    if zero.shape != scale.shape:
        return None
    (rows, group), (groups, one) = weight.shape, scale.shape
    if groups == 1 and one == group:  # along the other axis: [group, groups]
        return _read_columns(weight, claims)
    if one != 1:
        return None
    if weight.dtype == "uint8":
        options = [Option(b, group, group) for b in (8, 4, 2, 1) if rows * 8 == groups * b]
    elif weight.dtype == "int32":  # ten three-bit values in a word
        options = [Option(3, group, group)] if rows == -(-groups // 10) else []
    else:
        return None
    chosen = choose(options, claims, "scales")
    if chosen is None:
        return None
    bits, how = chosen[0].bits, chosen[1]
    rule = f"HQQ {bits}-bit, {how}"
    return Reading(
        (groups * group, 1), f"uint{bits}", rule, "HQQ scales, zero points and meta"
    )


def _read_columns(weight: Stored, claims: tuple[Claim, ...]) -> Reading | None:
    rows, groups = weight.shape
    if weight.dtype != "uint8":
        return None
    options = [
        Option(bits, groups, group)
        for bits in (4, 8, 2, 1)
        if (group := rows * 8 // bits) in (*_GROUPS, 8)
    ]
    chosen = choose(options, claims, "groups")
    if chosen is None:
        return None
    (bits, _, group), how = chosen
    rule, state = f"HQQ {bits}-bit, {how}", "HQQ scales, zero points and meta"
    return Reading((groups * group, 1), f"uint{bits}", rule, state)


def read_modelopt(
    weight: Stored, scale: Stored, state: dict[str, Stored], claims: tuple[Claim, ...]
) -> Reading | None:
    """Read ModelOpt's INT4: weight U8 [..., out/2, in] and scale [..., out, groups]."""
    if weight.dtype != "uint8" or not len(weight.shape) == len(scale.shape) >= 2:
        return None
    (*outer, half, width), (*scale_outer, out, groups) = weight.shape, scale.shape
    if outer != scale_outer or half * 2 != out or not _divides(width, groups):
        return None
    shape = (*outer, out, width)
    return Reading(shape, "int4", "ModelOpt INT4 with scales of groups", "INT4 scales")


def read_torchao(
    weight: Stored, scale: Stored, state: dict[str, Stored], claims: tuple[Claim, ...]
) -> Reading | None:
    """Read torchao's INT4: qdata [..., out, in/2], scale and zero_point [..., groups, out].

    Words of 32 bits hold eight weights, and four axes of them are tiles of a kernel,
    whose scales and zero points are one tensor [groups, out, 2].
    """
    sparse = state.get("_sparse_metadata")
    if sparse and len(weight.shape) == len(sparse.shape) == 2:
        rule = f"torchao {weight.dtype}, 2:4 sparse, counted with its zeros"
        shape = (weight.shape[0], 2 * weight.shape[1])
        return Reading(shape, weight.dtype, rule, "scales and metadata of sparse weights")
    shapes, zeros = (weight.shape, scale.shape), state.get("_zero_point")
    if weight.dtype == "int32" and len(shapes[0]) == 4 and len(shapes[1]) == 3:
        groups, out, two = scale.shape
        width = 8 * math.prod(weight.shape) // max(out, 1)
        if two != 2 or out * width != 8 * math.prod(weight.shape):
            return None
    else:
        bytes_ = {"uint8": 1, "int8": 1, "int32": 4}.get(weight.dtype)
        if bytes_ is None or zeros is None or zeros.shape != scale.shape:
            return None
        if not 2 <= len(weight.shape) == len(scale.shape):
            return None
        (*outer, out, words), (*others, groups, columns) = shapes
        width = 2 * bytes_ * words
        if columns != out or outer != others:
            return None
    if not _divides(width, groups):
        return None
    shape = (*weight.shape[:-2], out, width) if len(weight.shape) != 4 else (out, width)
    return Reading(
        shape, "int4", "torchao INT4 with scales of groups", "INT4 scales and zero points"
    )


def read_bytes(
    weight: Stored, scale: Stored, state: dict[str, Stored], claims: tuple[Claim, ...]
) -> Reading | None:
    """Read a weight packed in bytes along its last axis, its scales before or after it.

    Only config.json says how many bits: Gemma's files have layers of 2 and of 4. Of
    signed bytes the scales must be as many as the weights, as TensorRT-LLM has them:
    [in, out/2] and [groups, out].
    """
    bits = {claim.bits for claim in claims if claim.bits}
    if len(weight.shape) != 2 or bits not in ({2}, {4}):
        return None
    rows, columns = weight.shape
    width = columns * 8 // min(bits)
    groups = math.prod(scale.shape[1:])
    by_row = weight.dtype == "uint8" and scale.shape[:1] == (rows,)
    by_column = weight.dtype in ("uint8", "int8") and scale.shape[-1:] == (width,) != (
        rows,
    )
    if not (by_row and groups in (1, *_parts(width))) and not (
        by_column and rows % max(math.prod(scale.shape[:-1]), 1) == 0
    ):
        return None
    rule = f"INT{min(bits)} packed in bytes, bits from config.json"
    return Reading((rows, width), f"int{min(bits)}", rule, f"INT{min(bits)} scales")


def _parts(width: int) -> list[int]:
    return [width // group for group in _GROUPS if width % group == 0]


def _divides(width: int, groups: int) -> bool:
    return groups > 0 and width % groups == 0 and width // groups in (*_GROUPS, width)
