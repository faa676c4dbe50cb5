"""K-quants: from `[blocks, 256]` values to the fields of ggml's blocks.

References:
    quantize_row_q2_K_ref to quantize_row_q6_K_ref in ggml/src/ggml-quants.c and the blocks in
    ggml/src/ggml-common.h, github.com/ggml-org/llama.cpp (commit 01243c5, 2026).
"""

import numpy as np

from explorer.transforms.quantisation.ggml.arithmetic import (
    Array,
    as_bytes,
    largest,
    nearest,
    ordered_sum,
)
from explorer.transforms.quantisation.ggml.minimum_search import searched_minimum
from explorer.transforms.quantisation.ggml.packing import pack
from explorer.transforms.quantisation.ggml.scale_search import (
    TINY,
    refined_scale,
    searched_scale,
)
from explorer.transforms.quantisation.ggml.superblocks import (
    GRIDS,
    TOPS,
    GroupScales,
    group_scales,
    group_scales_and_minima,
)

__all__ = ["quantise_with_minima", "quantise_with_signs"]


def quantise_with_minima(blocks: Array, kind: str) -> list[Array]:
    """Return the fields of Q2_K, Q4_K or Q5_K."""
    x = _grouped(blocks, 16 if kind == "q2_k" else 32)
    flat = x.reshape(len(x), -1)
    size = np.abs(flat)
    if kind != "q2_k":
        size += np.sqrt(ordered_sum(flat * flat) / np.float32(32))
    scales, minima, levels = searched_minimum(flat, size, GRIDS[kind])
    block = group_scales_and_minima(
        scales.reshape(x.shape[1:]), minima.reshape(x.shape[1:]), TOPS[kind]
    )
    steps = block.steps()
    again = nearest((x + block.offsets()) / steps)
    again = np.clip(again, 0, GRIDS[kind].levels).astype(np.uint8)
    levels = _rows(np.where(steps == 0, levels.reshape(x.shape), again))
    return _FIELDS[kind](block, levels)


def quantise_with_signs(blocks: Array, kind: str) -> list[Array]:
    """Return the fields of Q3_K or Q6_K."""
    x = _grouped(blocks, 16)
    flat, steps_down = x.reshape(16, -1), 4 if kind == "q3_k" else 32
    search = refined_scale if kind == "q3_k" else searched_scale
    scales, levels = search(flat, steps_down)
    block = group_scales(scales.reshape(x.shape[1:]), kind)
    steps = block.steps()
    again = np.clip(nearest(x / steps), -steps_down, steps_down - 1) + np.int32(steps_down)
    levels = np.where(steps == 0, levels.reshape(x.shape), again).astype(np.uint8)
    if kind == "q6_k":  # a block of zeros is all zeros
        levels[:, :, largest(scales.reshape(x.shape[1:]))[0] < TINY] = 0
    return _FIELDS[kind](block, _rows(levels))


def _grouped(blocks: Array, size: int) -> Array:
    """Return `[size, groups, blocks]`: the blocks side by side in memory."""
    return np.ascontiguousarray(blocks.reshape(len(blocks), -1, size).transpose(2, 1, 0))


def _rows(levels: Array) -> Array:
    """Return levels as `[blocks, 256]`."""
    return np.ascontiguousarray(levels.transpose(2, 1, 0)).reshape(levels.shape[2], -1)


def _q2_k(block: GroupScales, levels: Array) -> list[Array]:
    assert block.minimum is not None
    assert block.minima is not None
    both = np.ascontiguousarray((block.scales | (block.minima << 4)).T)
    return [both, pack(levels, 2, span=128), as_bytes(block.scale), as_bytes(block.minimum)]


def _q3_k(block: GroupScales, levels: Array) -> list[Array]:
    scales = (block.scales.T + np.int8(32)).view(np.uint8)
    stored = np.concatenate(
        [pack(scales & np.uint8(15), 4, span=16), pack(scales >> 4, 2, span=16)], axis=1
    )
    high = pack(levels >> 2, 1, span=256)
    return [high, pack(levels & np.uint8(3), 2, span=128), stored, as_bytes(block.scale)]


def _scales_and_minima(block: GroupScales) -> list[Array]:
    """Return eight 6-bit scales and eight minima in 12 bytes, after both of the block."""
    assert block.minimum is not None
    assert block.minima is not None
    scales, minima = block.scales.T, block.minima.T
    first = scales[:, :4] | ((scales[:, 4:] >> 4) << 6)
    second = minima[:, :4] | ((minima[:, 4:] >> 4) << 6)
    third = (scales[:, 4:] & np.uint8(15)) | ((minima[:, 4:] & np.uint8(15)) << 4)
    packed = np.concatenate([first, second, third], axis=1)
    return [as_bytes(block.scale), as_bytes(block.minimum), packed]


def _q4_k(block: GroupScales, levels: Array) -> list[Array]:
    return [*_scales_and_minima(block), pack(levels, 4, span=64)]


def _q5_k(block: GroupScales, levels: Array) -> list[Array]:
    high = pack(levels >> 4, 1, span=256)
    return [*_scales_and_minima(block), high, pack(levels & np.uint8(15), 4, span=64)]


def _q6_k(block: GroupScales, levels: Array) -> list[Array]:
    low, high = pack(levels & np.uint8(15), 4, span=128), pack(levels >> 4, 2, span=128)
    scales = np.ascontiguousarray(block.scales.T).view(np.uint8)
    return [low, high, scales, as_bytes(block.scale)]


_FIELDS = {"q2_k": _q2_k, "q3_k": _q3_k, "q4_k": _q4_k, "q5_k": _q5_k, "q6_k": _q6_k}
