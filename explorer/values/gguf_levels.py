"""The levels of GGUF's quantised blocks: the numbers that each group of elements can hold.

They are what the format's own dequantisation makes of a block's scales with all its quants
lowest, one higher, and highest.
"""

from typing import NamedTuple

import numpy as np

from explorer.formats.gguf import StoredBlocks
from explorer.values.bounds import Bounds
from explorer.values.gguf_tables import bounds_of_blocks
from explorer.values.verdicts import Levels

__all__ = ["levels_of_blocks"]

_AT_A_TIME = 1 << 22  # elements
_REACH = 2.0  # widest steps of a block that a clipped number may be outside


class _Quants(NamedTuple):
    """Where a block keeps its quants: ranges of bytes, each with its value for each level.

    `group` elements share a scale. Bytes are those of the lowest level, of the next one, and
    of the highest.
    """

    group: int
    fields: tuple[tuple[slice, int, int, int], ...]


_FOUR = (0x00, 0x11, 0xFF)
_TWO = (0x00, 0x55, 0xFF)
_HIGH_BITS = (0x00, 0x00, 0xFF)
_QUANTS = {
    "q4_0": _Quants(32, ((slice(2, 18), *_FOUR),)),
    "q4_1": _Quants(32, ((slice(4, 20), *_FOUR),)),
    "q5_0": _Quants(32, ((slice(2, 6), *_HIGH_BITS), (slice(6, 22), *_FOUR))),
    "q5_1": _Quants(32, ((slice(4, 8), *_HIGH_BITS), (slice(8, 24), *_FOUR))),
    "q8_0": _Quants(32, ((slice(2, 34), 0x81, 0x82, 0x7F),)),
    "q2_k": _Quants(16, ((slice(16, 80), *_TWO),)),
    "q3_k": _Quants(16, ((slice(0, 32), *_HIGH_BITS), (slice(32, 96), *_TWO))),
    "q4_k": _Quants(32, ((slice(16, 144), *_FOUR),)),
    "q5_k": _Quants(32, ((slice(16, 48), *_HIGH_BITS), (slice(48, 176), *_FOUR))),
    "q6_k": _Quants(16, ((slice(0, 128), *_FOUR), (slice(128, 192), *_HIGH_BITS))),
}
_WITH_OFFSET = ("q4_1", "q5_1", "q2_k", "q4_k", "q5_k")
_BLOCK_BYTES = {
    "q4_0": 18, "q4_1": 20, "q5_0": 22, "q5_1": 24, "q8_0": 34, "q2_k": 84, "q3_k": 110,
    "q4_k": 144, "q5_k": 176, "q6_k": 210,
}  # fmt: skip


def levels_of_blocks(blocks: StoredBlocks) -> Levels | Bounds | None:
    """Return the levels of a tensor's blocks, or the bounds of levels that are not even.

    None of formats that round groups of numbers together: IQ1, IQ2, IQ3.
    """
    quants = _QUANTS.get(blocks.dtype)
    if quants is None:
        return bounds_of_blocks(blocks)
    raw = np.asarray(blocks.raw).reshape(-1, _BLOCK_BYTES[blocks.dtype])
    shape = (*blocks.shape[:-1], blocks.shape[-1] // quants.group)
    size = int(np.prod(blocks.shape, dtype=np.int64)) // max(1, len(raw))
    step = max(1, _AT_A_TIME // size)
    parts = [
        _levels(raw[start : start + step], quants, blocks.number)
        for start in range(0, len(raw), step)
    ]
    low, step_sizes, high, reach = (
        np.concatenate(each).reshape(shape) for each in zip(*parts, strict=True)
    )
    axis = len(shape) - 1
    edges = (low, step_sizes, high, reach)
    has_offset = blocks.dtype in _WITH_OFFSET
    return Levels(blocks.dtype, *edges, axis, quants.group, has_offset=has_offset)


def _levels(raw: np.ndarray, quants: _Quants, number: int) -> tuple[np.ndarray, ...]:
    """Return low, step, high and reach [blocks, groups] of some blocks."""
    from gguf import GGMLQuantizationType, dequantize

    found = []
    for level in (1, 2, 3):
        changed = raw.copy()
        for field in quants.fields:
            changed[:, field[0]] = field[level]
        numbers = dequantize(changed, GGMLQuantizationType(number))
        found.append(numbers.reshape(len(raw), -1)[:, :: quants.group])
    first, second, last = found
    step = np.abs(second - first)
    reach = np.repeat(_REACH * step.max(1, keepdims=True), step.shape[1], 1)
    return np.minimum(first, last), step, np.maximum(first, last), reach
