"""Tensors of block formats that are decoded a piece at a time, so that none need fit in memory."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Pieces"]


class Pieces(NamedTuple):
    """A tensor whose elements are decoded when they are asked for.

    Attributes:
        shape: of the decoded tensor.
        dtype: of its elements.
        blocks: how many blocks are stored.
        block: elements in each.
        decode: returns the elements of the blocks from one number up to another, flat.
    """

    shape: tuple[int, ...]
    dtype: "np.dtype"
    blocks: int
    block: int
    decode: Callable[[int, int], "np.ndarray"]

    def parts(self, elements: int) -> "Iterator[np.ndarray]":
        """Yield the elements in row-major order, about so many at a time."""
        step = max(1, elements // max(1, self.block))
        for start in range(0, self.blocks, step):
            yield self.decode(start, min(start + step, self.blocks))

    def whole(self) -> "np.ndarray":
        """Return the decoded tensor."""
        return self.decode(0, self.blocks).reshape(self.shape)
