"""Rows of float32 to ggml's blocks, and back: what each type's encoder and decoder are."""

from collections.abc import Callable
from functools import partial

import numpy as np

from explorer import dtypes
from explorer.errors import InputError
from explorer.transforms.quantisation.ggml import (
    float4,
    kquants,
    legacy,
    plain,
    tables,
    ternary,
)
from explorer.transforms.quantisation.ggml.decoding import DECODERS
from explorer.transforms.quantisation.ggml.importance import Importance, importance_of

__all__ = ["KINDS", "check_encoder", "decode", "encode"]

Encoder = Callable[[np.ndarray, Importance | None], list[np.ndarray]]


def _unweighted(encoder: Callable[[np.ndarray], list[np.ndarray]]) -> Encoder:
    return lambda blocks, _: encoder(blocks)


_ENCODERS: dict[str, Encoder] = {
    "q4_0": partial(legacy.quantise_with_sign, bits=4),
    "q4_1": partial(legacy.quantise_with_minimum, bits=4),
    "q5_0": partial(legacy.quantise_with_sign, bits=5),
    "q5_1": partial(legacy.quantise_with_minimum, bits=5),
    "q8_0": _unweighted(legacy.quantise_q8_0),
    "q2_k": partial(kquants.quantise_with_minima, kind="q2_k"),
    "q3_k": kquants.quantise_q3_k,
    "q4_k": partial(kquants.quantise_with_minima, kind="q4_k"),
    "q5_k": partial(kquants.quantise_with_minima, kind="q5_k"),
    "q6_k": kquants.quantise_q6_k,
    "iq4_nl": tables.quantise_iq4_nl,
    "iq4_xs": tables.quantise_iq4_xs,
    "tq1_0": _unweighted(ternary.encode_tq1_0),
    "tq2_0": _unweighted(ternary.encode_tq2_0),
    "mxfp4": _unweighted(float4.encode_mxfp4),
    "nvfp4": _unweighted(float4.encode_nvfp4),
    "float32": _unweighted(plain.encode_float32),
    "float16": _unweighted(plain.encode_float16),
    "bfloat16": _unweighted(plain.encode_bfloat16),
}
KINDS = tuple(_ENCODERS)
_NEAR = {"iq1": "TQ1_0 or Q2_K", "iq2": "Q2_K", "iq3": "Q3_K_M or IQ4_XS"}
_PIECE = 1 << 18  # values at a time, so that what a search keeps stays in cache


def encode(rows: np.ndarray, kind: str, importance: np.ndarray | None = None) -> np.ndarray:
    """Return rows as ggml's quantiser stores them, `[n, bytes of a row]`.

    Args:
        rows: `[n, k]` float32; `k` is a multiple of the type's block.
        kind: one of `KINDS`.
        importance: `[k]`, how much each column counts (an importance matrix, of
            llama-imatrix), float32; the types without a search take no notice.

    Raises:
        InputError: an unknown type, rows that its blocks do not divide, a value that is not
            finite.
    """
    encoder = _ENCODERS[check_encoder(kind)]
    dtype = dtypes.find(kind)
    if rows.ndim != 2 or rows.dtype != np.float32:
        raise InputError(
            "rows", found=f"{rows.dtype} of shape {rows.shape}", expected="float32 [n, k]"
        )
    _check_divides(kind, rows.shape[1], dtype.block)
    _check_finite(rows)
    blocks = np.ascontiguousarray(rows).reshape(-1, dtype.block)
    columns = None if importance is None else _columns(importance, rows.shape[1])
    encoded = np.empty((len(blocks), dtype.block_bytes), np.uint8)
    piece = _PIECE // dtype.block
    with np.errstate(all="ignore"):
        for first in range(0, len(blocks), piece):
            chosen, weighing = blocks[first : first + piece], None
            if columns is not None:
                last = first + len(chosen)
                weighing = importance_of(columns, rows, first, last, dtype.block)
            fields = encoder(chosen, weighing)
            np.concatenate(fields, axis=1, out=encoded[first : first + piece])
    return encoded.reshape(len(rows), dtype.nbytes(rows.shape[1]))


def decode(blocks: np.ndarray, kind: str, k: int) -> np.ndarray:
    """Return the float32 rows of `k` values that ggml's blocks stand for.

    Raises:
        InputError: an unknown type, or blocks that are not rows of `k` values.
    """
    decoder = DECODERS[_known(kind)]
    dtype = dtypes.find(kind)
    _check_divides(kind, k, dtype.block)
    if blocks.ndim != 2 or blocks.dtype != np.uint8 or blocks.shape[1] != dtype.nbytes(k):
        raise InputError(
            "blocks",
            found=f"{blocks.dtype} of shape {blocks.shape}",
            expected=f"uint8 [n, {dtype.nbytes(k)}] for rows of {k:,} values in {kind}",
        )
    stored = np.ascontiguousarray(blocks).reshape(-1, dtype.block_bytes)
    found = np.empty((len(stored), dtype.block), np.float32)
    piece = _PIECE // dtype.block
    with np.errstate(all="ignore"):
        for first in range(0, len(stored), piece):
            found[first : first + piece] = decoder(stored[first : first + piece])
    return found.reshape(len(blocks), k)


def check_encoder(kind: str) -> str:
    """Return a type that explorer encodes.

    Raises:
        InputError: it does not; the error suggests types of about as many bits.

    >>> check_encoder("iq2_xs")
    Traceback (most recent call last):
    explorer.errors.InputError: quantize: explorer does not encode iq2_xs; expected one of q4_0, \
q4_1, q5_0, q5_1, q8_0, q2_k, q3_k, q4_k, q5_k, q6_k, iq4_nl, iq4_xs, tq1_0, tq2_0, mxfp4, nvfp4; \
it searches a codebook with an importance matrix: try Q2_K
    """
    near = next((each for start, each in _NEAR.items() if kind.startswith(start)), "")
    if near:
        blocks = (each for each in KINDS if dtypes.find(each).block > 1)
        raise InputError(
            "quantize",
            found=f"explorer does not encode {kind}",
            expected=f"one of {', '.join(blocks)}",
            cure=f"it searches a codebook with an importance matrix: try {near}",
        )
    return _known(kind)


def _known(kind: str) -> str:
    if kind not in _ENCODERS:
        raise InputError(kind, found="is not a type of block", expected=", ".join(KINDS))
    return kind


def _check_divides(kind: str, k: int, block: int) -> None:
    if k % block:
        raise InputError(
            kind,
            found=f"rows of {k:,} values",
            expected=f"a multiple of {block}, the type's block",
        )


def _columns(importance: np.ndarray, k: int) -> np.ndarray:
    """Return the weights of columns, once they are found to be weights."""
    if importance.shape != (k,) or importance.dtype != np.float32:
        found = f"{importance.dtype} of shape {importance.shape}"
        raise InputError("importance", found=found, expected=f"float32 [{k}]")
    valid = np.isfinite(importance) & (importance >= 0)
    if not valid.all():
        column = int(valid.argmin())
        raise InputError(
            f"importance, column {column}",
            found=f"is {importance[column]}",
            expected="a number of at least 0",
        )
    return importance


def _check_finite(rows: np.ndarray) -> None:
    """Refuse a value that is not finite, and name the first."""
    piece = max(1, _PIECE // max(1, rows.shape[1]))
    for first in range(0, len(rows), piece):
        finite = np.isfinite(rows[first : first + piece])
        if not finite.all():
            row, column = np.unravel_index(int(finite.argmin()), finite.shape)
            value = rows[first + row, column]
            raise InputError(
                f"row {first + row}, column {column}",
                found=f"is {value}",
                expected="a number",
            )
