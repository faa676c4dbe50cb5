"""ggml's blocks of 256 in groups that have a scale each: Q2_K to Q6_K.

The groups' scales, and minima, are quantised too, on one float16 scale of the whole block.
GroupScales are found again with those scales, except where a group's is 0.

References:
    quantize_row_q2_K_ref to quantize_row_q6_K_ref in ggml/src/ggml-quants.c,
    github.com/ggml-org/llama.cpp (commit 01243c5, 2026).
"""

from typing import NamedTuple

import numpy as np

from explorer.transforms.quantisation.ggml.arithmetic import Array, half, largest, nearest
from explorer.transforms.quantisation.ggml.minimum_search import Grid
from explorer.transforms.quantisation.ggml.scale_search import TINY

__all__ = ["GRIDS", "TOPS", "GroupScales", "group_scales", "group_scales_and_minima"]

GRIDS = {
    "q2_k": Grid(3, first=-0.5, step=0.1, number=16, absolute=True),
    "q4_k": Grid(15, first=-1.0, step=0.1, number=21),
    "q5_k": Grid(31, first=-0.5, step=0.1, number=16),
}
TOPS = {"q2_k": 15, "q3_k": 32, "q4_k": 63, "q5_k": 63, "q6_k": 128}


class GroupScales(NamedTuple):
    """A block's groups as they are stored: `[groups, blocks]`, and scales of float16.

    Attributes:
        scale, minimum: of the whole block; a minimum of None is not stored.
        scales, minima: of each group, in whole steps of those.
    """

    scale: Array
    scales: Array
    minimum: Array | None = None
    minima: Array | None = None

    def steps(self) -> Array:
        """Return what one level of each group is worth."""
        return self.scale.astype(np.float32) * self.scales.astype(np.float32)

    def offsets(self) -> Array:
        """Return how far below 0 each group starts."""
        assert self.minimum is not None
        assert self.minima is not None
        return self.minimum.astype(np.float32) * self.minima.astype(np.float32)


def group_scales_and_minima(scales: Array, minima: Array, top: int) -> GroupScales:
    """Return the groups' scales and minima on the block's own, up to `top` steps of it."""
    largest_scale = np.maximum(scales.max(0), np.float32(0))
    largest_minimum = np.maximum(minima.max(0), np.float32(0))
    limit = np.float32(top)
    found = [
        nearest(np.where(most > 0, limit / most, np.float32(0)) * each) & 0xFF
        for each, most in ((scales, largest_scale), (minima, largest_minimum))
    ]
    if top == 15:  # Q2_K has both in one byte, and does not clip
        found = [found[0] & 15, ((found[0] >> 4) | found[1]) & 15]
    scales, minima = (np.minimum(each, top).astype(np.uint8) for each in found)
    return GroupScales(
        half(largest_scale / limit), scales, half(largest_minimum / limit), minima
    )


def group_scales(scales: Array, kind: str) -> GroupScales:
    """Return the groups' signed scales on the block's own, the largest at the lowest step."""
    _, extreme = largest(scales)
    top = TOPS[kind]
    inverse = np.float32(-top) / extreme
    is_zero = np.abs(extreme) < TINY if kind == "q6_k" else extreme == 0
    found = nearest(inverse * scales)
    if kind == "q6_k":
        found = np.minimum(found, 127)
    else:
        found = np.clip(found.astype(np.int8), -32, 31)
    lowest = 0 if kind == "q6_k" else -32  # what a block of zeros stores
    return GroupScales(
        half(np.where(is_zero, np.float32(0), np.float32(1) / inverse)),
        np.where(is_zero, lowest, found).astype(np.int8),
    )
