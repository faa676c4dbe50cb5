"""GGUF's block types: which bytes of a block are values, and the names of llama.cpp's mixes.

References:
    ggml/src/ggml-common.h and llama_ftype_get_default_type in src/llama-quant.cpp,
    github.com/ggml-org/llama.cpp (commit 007dbbf, 2026).
"""

from math import prod

from explorer import dtypes
from explorer.sizing.weights.totals import Piece

__all__ = ["MIXES", "TYPES", "block_piece", "fitting_type"]

# bytes of a block that are packed values; the rest are scales, minima and exponents
_VALUES = {
    "q4_0": 16, "q4_1": 16, "q5_0": 20, "q5_1": 20, "q8_0": 32, "q8_1": 32, "q1_0": 16,
    "q2_0": 16, "q2_k": 64, "q3_k": 96, "q4_k": 128, "q5_k": 160, "q6_k": 192, "q8_k": 256,
    "iq1_s": 48, "iq1_m": 48, "iq2_xxs": 64, "iq2_xs": 64, "iq2_s": 72, "iq3_xxs": 96,
    "iq3_s": 104, "iq4_nl": 16, "iq4_xs": 128, "tq1_0": 52, "tq2_0": 64, "mxfp4": 16,
    "nvfp4": 32,
}  # fmt: skip
TYPES = tuple(_VALUES)
# llama.cpp's file types, each with the type that most of its tensors have
MIXES = {
    "F32": "float32", "F16": "float16", "BF16": "bfloat16", "Q4_0": "q4_0", "Q4_1": "q4_1",
    "Q5_0": "q5_0", "Q5_1": "q5_1", "Q8_0": "q8_0", "Q1_0": "q1_0", "Q2_0": "q2_0",
    "Q2_K": "q2_k", "Q2_K_S": "q2_k", "Q3_K_S": "q3_k", "Q3_K_M": "q3_k", "Q3_K_L": "q3_k",
    "Q4_K_S": "q4_k", "Q4_K_M": "q4_k", "Q5_K_S": "q5_k", "Q5_K_M": "q5_k", "Q6_K": "q6_k",
    "IQ1_S": "iq1_s", "IQ1_M": "iq1_m", "IQ2_XXS": "iq2_xxs", "IQ2_XS": "iq2_xs",
    "IQ2_S": "iq2_xs", "IQ2_M": "iq2_s", "IQ3_XXS": "iq3_xxs", "IQ3_XS": "iq3_s",
    "IQ3_S": "iq3_s", "IQ3_M": "iq3_s", "IQ4_NL": "iq4_nl", "IQ4_XS": "iq4_xs",
    "TQ1_0": "tq1_0", "TQ2_0": "tq2_0", "MXFP4_MOE": "mxfp4", "NVFP4": "nvfp4",
}  # fmt: skip
# what a row that its type's blocks do not divide is stored as instead
_FALLBACKS = {
    **dict.fromkeys(
        ("iq1_s", "iq1_m", "iq2_xxs", "iq2_xs", "iq2_s", "iq3_xxs", "iq3_s", "iq4_xs"),
        "iq4_nl",
    ),
    **dict.fromkeys(("q2_0", "q2_k", "q3_k", "tq1_0", "tq2_0"), "q4_0"),
    "q4_k": "q5_0",
    "q5_k": "q5_1",
    "q6_k": "q8_0",
}


def fitting_type(name: str, row: int) -> str | None:
    """Return the type that llama.cpp stores rows of this length in; None where it refuses.

    >>> fitting_type("q4_k", 4096), fitting_type("q4_k", 640), fitting_type("q4_0", 640)
    ('q4_k', 'q5_0', 'q4_0')
    """
    if row % dtypes.find(name).block == 0:
        return name
    instead = _FALLBACKS.get(name)
    if instead is None or row % dtypes.find(instead).block == 0:
        return instead
    return "float16"


def block_piece(name: str, shape: tuple[int, ...]) -> Piece:
    """Return a tensor stored in a type, whose blocks divide its rows.

    >>> block_piece("q4_k", (2, 256))
    Piece(type='q4_k', elements=512, values=256, scales=32)
    """
    dtype, elements = dtypes.find(name), prod(shape)
    whole = dtype.nbytes(elements)
    if name not in _VALUES:
        return Piece(name, elements, whole)
    values = whole // dtype.block_bytes * _VALUES[name]
    return Piece(name, elements, values, whole - values)
