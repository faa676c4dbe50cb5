"""Weights in the order that a kernel reads them: EXL2, Marlin, SVDQuant, BitBLAS, BitNet ...

Layouts were read in the code that writes them: exllamav2 (`make_q_matrix`), marlin
(`Layer`), vLLM (`GPTQMarlin24LinearMethod`), AutoAWQ 0.2.9 (`WQLinear_GEMVFast`,
`WQLinear_Marlin`), nunchaku (`SVDQW4A4Linear`, `AWQW4A16Linear`), GPTQModel
(`BitblasLinear`), transformers 5.24 (`BitLinear`, `EetqLinear`), optimum-quanto 0.2.7
(`WeightQBitsTensor`, `PackedTensor`), SINQ 0.2 (`Quantizer`).
"""

import math

from explorer.identify.packing.evidence import Claim, Option, Reading, Stored, choose
from explorer.identify.packing.vectors import codes_of
from explorer.identify.packing.words import gemv_padding

__all__ = [
    "read_bitblas",
    "read_bitnet",
    "read_eetq",
    "read_exl2",
    "read_gemv_fast",
    "read_lookup",
    "read_marlin",
    "read_marlin_24",
    "read_quanto",
    "read_sinq",
    "read_svdquant",
]

_TILE = 16
_MARLIN_STATE = "Marlin scales and workspaces"


def _matrices(*parts: Stored) -> bool:
    return all(len(part.shape) == 2 and 0 not in part.shape for part in parts)


def read_exl2(
    weight: Stored, scale: Stored, state: dict[str, Stored], claims: tuple[Claim, ...]
) -> Reading | None:
    """Read q_weight I32 [words, out], q_scale I32 [groups, out/8], q_invperm [in].

    Rows have 2 to 8 bits, differently in each group; how many, q_groups says.
    """
    order = state.get("/q_invperm") or state.get("/q_perm")
    if order is None or len(order.shape) != 1 or not _matrices(weight, scale):
        return None
    (words, out), width = weight.shape, order.shape[0]
    bits = words * 32 / width if width else 0
    if scale.shape[1] * 8 != out or not 1 <= bits <= 8:
        return None
    rule = f"EXL2, {bits:.4g} bits a weight on average"
    return Reading((out, width), codes_of(bits), rule, "EXL2 scales, groups and orders")


def read_marlin(
    weight: Stored, scale: Stored, state: dict[str, Stored], claims: tuple[Claim, ...]
) -> Reading | None:
    """Read B, or qweight, I32 [in/16, out*bits/2] with scales [groups, out]."""
    return _read_tiles(weight, scale, _TILE, claims, "Marlin")


def read_marlin_24(
    weight: Stored, scale: Stored, state: dict[str, Stored], claims: tuple[Claim, ...]
) -> Reading | None:
    """Read B_24 I32 [in/32, out*bits/2]: two of four weights are zero and not stored."""
    meta = state.get("/B_meta") or state.get("/meta")
    if meta is None or meta.dtype != "int16" or not _matrices(meta, weight):
        return None
    if meta.shape[0] != weight.shape[0]:
        return None
    return _read_tiles(weight, scale, 2 * _TILE, claims, "Marlin 2:4 sparse")


def _read_tiles(
    weight: Stored, scale: Stored, tall: int, claims: tuple[Claim, ...], name: str
) -> Reading | None:
    if weight.dtype != "int32" or not _matrices(weight, scale):
        return None
    width, (groups, out) = weight.shape[0] * tall, scale.shape
    group = width // groups
    options = [
        Option(bits, width, 0 if groups == 1 else group)
        for bits in (4, 8)
        if weight.shape[1] * 2 == out * bits
    ]
    if width % groups or (groups > 1 and group not in (32, 64, 128, 256)):
        return None
    chosen = choose(options, claims, "scales")
    if chosen is None:
        return None
    bits, how = chosen[0].bits, chosen[1]
    return Reading((out, width), f"uint{bits}", f"{name} {bits}-bit, {how}", _MARLIN_STATE)


def read_gemv_fast(
    weight: Stored, scale: Stored, state: dict[str, Stored], claims: tuple[Claim, ...]
) -> Reading | None:
    """Read AWQ's qweight I16 [out/4, in] with scales and zeros padded along [groups, out].

    llm-awq calls the zeros scaled_zeros.
    """
    zeros = state.get("/qzeros") or state.get("/scaled_zeros")
    if weight.dtype != "int16" or not _matrices(weight, scale) or zeros is None:
        return None
    (rows, width), (padded, out) = weight.shape, scale.shape
    paddings = [8 * gemv_padding(width, group) for group in (128, 64, 32)]
    if zeros.shape != scale.shape or rows * 4 != out or padded not in paddings:
        return None
    rule = "AWQ 4-bit, GEMV fast layout"
    return Reading((out, width), "uint4", rule, "AWQ scales and zero points")


def read_svdquant(
    weight: Stored, scale: Stored, state: dict[str, Stored], claims: tuple[Claim, ...]
) -> Reading | None:
    """Read nunchaku's qweight: I8 [out, in/2] with wscales [in/64 or in/16, out].

    Or I32 [out/4, in/2], of layers that are only AWQ. The low-rank branch is a part of
    the same weight, kept in 16 bits.
    """
    if not _matrices(weight, scale):
        return None
    (rows, words), (groups, columns) = weight.shape, scale.shape
    out, width = (rows * 4 if weight.dtype == "int32" else rows), words * 2
    if weight.dtype not in ("int8", "uint8", "int32") or columns != out or width % groups:
        return None
    if width // groups not in (16, 32, 64, 128):
        return None
    small = scale.dtype.startswith("float8")
    if weight.dtype == "int32":
        name, dtype = "nunchaku AWQ 4-bit", "uint4"
    else:
        name = "SVDQuant NVFP4" if small else "SVDQuant 4-bit"
        dtype = "float4_e2m1fn" if small else "int4"
    return Reading((out, width), dtype, name, "SVDQuant scales and low-rank branches")


def read_bitblas(
    weight: Stored, scale: Stored, state: dict[str, Stored], claims: tuple[Claim, ...]
) -> Reading | None:
    """Read qweight I8 [out, in*bits/8] with scales [out, groups]; qzeros may be empty."""
    zeros = state.get("/qzeros")
    if weight.dtype != "int8" or zeros is None or not _matrices(weight, scale):
        return None
    (out, words), (rows, groups) = weight.shape, scale.shape
    if rows != out or zeros.dtype != "int8":
        return None
    options = [
        Option(bits, width, width // groups)
        for bits in (4, 2, 8, 1)
        if (width := words * 8 // bits) % groups == 0
        and (groups == 1 or width // groups in (32, 64, 128))
        and zeros.shape in ((0,), (groups, out * bits // 8), (groups, out * bits // 32))
    ]
    chosen = choose(options, claims, "scales")
    if chosen is None:
        return None
    (bits, width, _), how = chosen
    rule = f"BitBLAS {bits}-bit, {how}"
    return Reading((out, width), f"uint{bits}", rule, "BitBLAS scales and zero points")


def read_lookup(
    weight: Stored, scale: Stored, state: dict[str, Stored], claims: tuple[Claim, ...]
) -> Reading | None:
    """Read SqueezeLLM's qweight I32 [in*bits/32, out] with lookup_table [out, 2**bits]."""
    if weight.dtype != "int32" or not _matrices(weight, scale):
        return None
    (words, out), (rows, size) = weight.shape, scale.shape
    bits = size.bit_length() - 1
    if rows != out or bits not in (2, 3, 4) or size != 1 << bits or words * 32 % bits:
        return None
    rule = f"SqueezeLLM {bits}-bit"
    return Reading((out, words * 32 // bits), f"uint{bits}", rule, "SqueezeLLM tables")


def read_bitnet(
    weight: Stored, scale: Stored, state: dict[str, Stored], claims: tuple[Claim, ...]
) -> Reading | None:
    """Read weight U8 [out/4, in], four ternary weights a byte, with one weight_scale."""
    if weight.dtype != "uint8" or len(weight.shape) != 2 or math.prod(scale.shape) != 1:
        return None
    rows, width = weight.shape
    chosen = choose([Option(2, width, 0), Option(8, width, 0)], claims, "")
    if chosen is None or chosen[0].bits != 2:
        return None
    rule = f"BitNet, four ternary weights a byte, {chosen[1]}"
    return Reading((rows * 4, width), "uint2", rule, "BitNet scales")


def read_eetq(
    weight: Stored, scale: Stored, state: dict[str, Stored], claims: tuple[Claim, ...]
) -> Reading | None:
    """Read weight I8 [in, out] with weight_scales [out]."""
    if weight.dtype != "int8" or len(weight.shape) != 2:
        return None
    if scale.shape != weight.shape[1:]:
        return None
    return Reading((weight.shape[1], weight.shape[0]), "int8", "EETQ INT8", "EETQ scales")


def read_quanto(
    weight: Stored, scale: Stored, state: dict[str, Stored], claims: tuple[Claim, ...]
) -> Reading | None:
    """Read _data/_data U8, packed along its first axis, with _scale and _shift.

    Where weights share scales in groups the rows are groups, [groups, group], and the
    layer's shape is not in the header: it is given as (elements, 1).
    """
    shift = state.get("/_shift")
    if weight.dtype != "uint8" or shift is None or shift.shape != scale.shape:
        return None
    if not weight.shape or len(weight.shape) != len(scale.shape):
        return None
    groups, rest = scale.shape[0], math.prod(weight.shape[1:])
    if math.prod(scale.shape) == groups > 1:
        options = [
            Option(bits, groups, 0)
            for bits in (4, 2)
            if -(-groups * bits // 8) == weight.shape[0]
        ]
    elif groups == 1:  # along the last axis: [group, groups], and one of two sizes
        options = [Option(b, weight.shape[0] * 8 // b, 0) for b in (4, 2)]
        options = [option for option in options if option.width in (128, 64, 32)]
    else:
        return None
    chosen = choose(options, claims, "scales")
    if chosen is None:
        return None
    (bits, rows, _), how = chosen
    rule = f"Quanto {bits}-bit, {how}"
    grouped = len(weight.shape) == 2 and (groups == 1 or rest in (32, 64, 128))
    shape = (rows * rest, 1) if grouped else (rows, *weight.shape[1:])
    return Reading(shape, f"uint{bits}", rule, "Quanto scales and shifts")


def read_sinq(
    weight: Stored, scale: Stored, state: dict[str, Stored], claims: tuple[Claim, ...]
) -> Reading | None:
    """Read W_q, packed along its first axis from [groups, group], and scales of groups.

    A scale for each column, [1, in], tells the layer's shape; tiles of both axes do not.
    """
    groups = math.prod(scale.shape)
    if len(weight.shape) != 2 or scale.shape[-1:] != (1,):
        return None
    rows, group = weight.shape
    options = [Option(b, group, group) for b in (8, 4, 2, 1) if rows * 8 == groups * b]
    if weight.dtype == "int32":  # ten three-bit values in a word
        options = [Option(3, group, group)] if rows == -(-groups // 10) else []
    elif weight.dtype != "uint8":
        return None
    chosen = choose(options, claims, "scales")
    if chosen is None:
        return None
    columns = state.get("/meta/scale2")
    width = columns.shape[-1] if columns and columns.shape[:-1] == (1,) else 1
    whole = groups * group
    shape = (whole // width, width) if width and whole % width == 0 else (whole, 1)
    rule = f"SINQ {chosen[0].bits}-bit, {chosen[1]}"
    return Reading(shape, f"uint{chosen[0].bits}", rule, "SINQ scales and zero points")
