"""GGUF's blocks whose numbers are in a table: IQ4, MXFP4, NVFP4 and ternary ones.

References:
    ggml/src/ggml-quants.c (`dequantize_row_iq4_xs`, `kvalues_iq4nl`), gguf-py's quants.py.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from explorer.formats.gguf import StoredBlocks
from explorer.packed.coded import Coded
from explorer.values.bounds import Bounds, bounds_of_coded

__all__ = ["bounds_of_blocks", "coded_of_blocks"]

_AT_A_TIME = 1 << 22  # elements
_IQ4 = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
_FP4 = (-12, -8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 12)
_TERNARY = (-1, 0, 1)


def _half(raw: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(raw).view("<f2").astype(np.float32)


def _iq4_xs(raw: np.ndarray) -> np.ndarray:
    high = np.ascontiguousarray(raw[:, 2:4]).view("<u2")
    part = np.arange(8)
    low = (raw[:, 4 + part // 2] >> (4 * (part % 2)).astype(np.uint8)) & 15
    six = low | (((high >> (2 * part).astype(np.uint16)) & 3) << 4).astype(np.uint8)
    return _half(raw[:, :2]) * (six.astype(np.float32) - 32)


def _mxfp4(raw: np.ndarray) -> np.ndarray:
    exponent = raw[:, :1].astype(np.int32) - 128  # the table has twice the numbers
    return np.ldexp(np.float32(1), exponent).astype(np.float32)


def _nvfp4(raw: np.ndarray) -> np.ndarray:
    import ml_dtypes

    scale = np.ascontiguousarray(raw[:, :4] & 0x7F).view(ml_dtypes.float8_e4m3fn)
    return np.nan_to_num(scale.astype(np.float32)) / 2


class _Table(NamedTuple):
    """A block's bytes, the numbers of its table, and what returns its scales [blocks, groups]."""

    nbytes: int
    values: tuple[int, ...]
    scales: Callable[[np.ndarray], np.ndarray]


_TABLES = {
    "iq4_nl": _Table(18, _IQ4, lambda raw: _half(raw[:, :2])),
    "iq4_xs": _Table(136, _IQ4, _iq4_xs),
    "mxfp4": _Table(17, _FP4, _mxfp4),
    "nvfp4": _Table(36, _FP4, _nvfp4),
    "tq1_0": _Table(54, _TERNARY, lambda raw: _half(raw[:, -2:])),
    "tq2_0": _Table(66, _TERNARY, lambda raw: _half(raw[:, -2:])),
}


def coded_of_blocks(blocks: StoredBlocks) -> Iterator[Coded] | None:
    """Return the numbers and scales of a tensor's blocks, some at a time; None without a table."""
    table = _TABLES.get(blocks.dtype)
    return None if table is None else _coded(blocks, table)


def _coded(blocks: StoredBlocks, table: _Table) -> Iterator[Coded]:
    from gguf import GGMLQuantizationType, dequantize

    raw = np.asarray(blocks.raw).reshape(-1, table.nbytes)
    values = np.array(table.values, np.float32)
    size = int(np.prod(blocks.shape, dtype=np.int64)) // max(1, len(raw))
    step = max(1, _AT_A_TIME // size)
    middles = (values[1:] + values[:-1]) / 2
    for start in range(0, len(raw), step):
        part = raw[start : start + step]
        scale = table.scales(part)[..., None]
        found = dequantize(part, GGMLQuantizationType(blocks.number))
        found = found.reshape(*scale.shape[:2], -1)
        with np.errstate(all="ignore"):
            numbers = values[np.searchsorted(middles, found / scale)]
        yield Coded(np.where(scale == 0, 0, numbers), scale, values)


def bounds_of_blocks(blocks: StoredBlocks) -> Bounds | None:
    """Return the bounds of a tensor's blocks; None of formats without a table."""
    coded = coded_of_blocks(blocks)
    if coded is None or not np.asarray(blocks.raw).size:
        return None
    return bounds_of_coded(blocks.dtype, coded, blocks.shape)
