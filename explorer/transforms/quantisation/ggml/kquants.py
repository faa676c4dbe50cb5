"""K-quants: from `[blocks, 256]` values to the fields of ggml's blocks.

References:
    quantize_row_q2_K_ref to quantize_row_q6_K_ref in ggml/src/ggml-quants.c and the blocks in
    ggml/src/ggml-common.h, github.com/ggml-org/llama.cpp (commit 01243c5, 2026).
"""

import numpy as np

from explorer.transforms.quantisation.ggml.arithmetic import (
    Array,
    as_bytes,
    half,
    largest,
    nearest,
    ordered_sum,
)
from explorer.transforms.quantisation.ggml.importance import (
    Importance,
    shared_scale,
    weights_by_block,
)
from explorer.transforms.quantisation.ggml.minimum_search import (
    searched_minimum,
    weighted_grid,
)
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

__all__ = ["quantise_q3_k", "quantise_q6_k", "quantise_with_minima"]


def quantise_with_minima(
    blocks: Array, importance: Importance | None, kind: str
) -> list[Array]:
    """Return the fields of Q2_K, Q4_K or Q5_K."""
    x, top = _grouped(blocks, 16 if kind == "q2_k" else 32), GRIDS[kind].levels
    flat, shape = x.reshape(len(x), -1), x.shape[1:]
    if importance is None:
        scales, minima, levels = searched_minimum(flat, _sizes(flat, kind), GRIDS[kind])
        block = group_scales_and_minima(
            scales.reshape(shape), minima.reshape(shape), TOPS[kind]
        )
    else:
        weights = _weights(blocks, importance, 1 if kind == "q2_k" else 2, len(x))
        scales, minima, levels = searched_minimum(flat, weights, weighted_grid(top))
        total = ordered_sum(weights).reshape(shape)
        scale, stored = shared_scale(scales.reshape(shape), TOPS[kind], total)
        minimum, below = shared_scale(minima.reshape(shape), TOPS[kind], total)
        block = GroupScales(half(scale), stored, half(minimum), below)
    steps = block.steps()
    again = np.clip(nearest((x + block.offsets()) / steps), 0, top).astype(np.uint8)
    levels = _rows(np.where(steps == 0, levels.reshape(x.shape), again))
    return _FIELDS[kind](block, levels)


def quantise_q3_k(blocks: Array, importance: Importance | None) -> list[Array]:
    """Return the fields of Q3_K."""
    x = _grouped(blocks, 16)
    flat, shape = x.reshape(16, -1), x.shape[1:]
    if importance is None:
        scales, levels = refined_scale(flat, 4)
        block = group_scales(scales.reshape(shape), "q3_k")
    else:
        weights = _weights(blocks, importance, 2, 16)
        scales, levels = searched_scale(flat, 4, weights)
        total = ordered_sum(weights).reshape(shape)
        scale, stored = searched_scale(scales.reshape(shape), 32, total)
        block = GroupScales(half(scale), (stored - 32).astype(np.int8))
    return _q3_k(block, _rows(_signed_levels(x, block, levels, 4)))


def quantise_q6_k(blocks: Array, importance: Importance | None) -> list[Array]:
    """Return the fields of Q6_K."""
    x = _grouped(blocks, 16)
    weights = None
    if importance is not None:
        weights = _grouped(importance.columns, 16).reshape(16, -1)
    scales, levels = searched_scale(x.reshape(16, -1), 32, weights)
    scales = scales.reshape(x.shape[1:])
    block = group_scales(scales, "q6_k")
    levels = _signed_levels(x, block, levels, 32)
    levels[:, :, largest(scales)[0] < TINY] = 0  # a block of zeros is all zeros
    return _q6_k(block, _rows(levels))


def _signed_levels(x: Array, block: GroupScales, levels: Array, lowest: int) -> Array:
    """Return levels for the scales as they are stored; those of the search where that is 0."""
    steps = block.steps()
    again = np.clip(nearest(x / steps), -lowest, lowest - 1) + np.int32(lowest)
    return np.where(steps == 0, levels.reshape(x.shape), again).astype(np.uint8)


def _sizes(flat: Array, kind: str) -> Array:
    """Return the weights of values without an importance matrix: larger ones count more."""
    size = np.abs(flat)
    if kind != "q2_k":
        size += np.sqrt(ordered_sum(flat * flat) / np.float32(32))
    return size


def _weights(blocks: Array, importance: Importance, share: float, size: int) -> Array:
    """Return the weights of values, laid out as their groups are."""
    weights = weights_by_block(blocks, importance.columns, share)
    return _grouped(weights, size).reshape(size, -1)


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


_FIELDS = {"q2_k": _q2_k, "q4_k": _q4_k, "q5_k": _q5_k}
