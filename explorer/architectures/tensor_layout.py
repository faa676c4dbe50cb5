"""How parameters are laid out in a stored tensor: transposed, concatenated, grouped."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import numpy as np

__all__ = ["KEEP", "TRANSPOSED", "TensorLayout"]

Shape = tuple[int, ...]


class TensorLayout(msgspec.Struct, frozen=True):
    """The layout of leaves in a stored tensor.

    Each leaf's axes are permuted to the order `axes` (None keeps it). Several leaves are
    concatenated along `axis`. With `groups`, each leaf is split into that many equal parts
    and the parts alternate: the first part of every leaf, then the second of every leaf
    (heads of GPT-NeoX, gate and up of gpt-oss).
    """

    axes: tuple[int, ...] | None = None
    axis: int = 0
    groups: int = 1

    def shape(self, shapes: Iterable[Shape]) -> Shape:
        """Return the stored shape of leaves with these shapes."""
        permuted = [self._permuted(shape) for shape in shapes]
        first = list(permuted[0])
        first[self.axis] = sum(shape[self.axis] for shape in permuted)
        return tuple(first)

    def store(self, leaves: "list[np.ndarray]") -> "np.ndarray":
        """Return the stored tensor that holds these leaves."""
        import numpy as np

        permuted = [
            leaf if self.axes is None else leaf.transpose(self.axes) for leaf in leaves
        ]
        if len(permuted) == 1:
            return permuted[0]
        axis = self.axis % permuted[0].ndim
        split = [_grouped(leaf, axis, self.groups) for leaf in permuted]
        joined = np.concatenate(split, axis + 1)
        return joined.reshape(self.shape([leaf.shape for leaf in leaves]))

    def leaves(self, stored: "np.ndarray", shapes: list[Shape]) -> "list[np.ndarray]":
        """Return the leaves of these shapes that a stored tensor holds."""
        import numpy as np

        permuted = [self._permuted(shape) for shape in shapes]
        if len(permuted) == 1:
            parts = [stored]
        else:
            axis = self.axis % stored.ndim
            ends = np.cumsum([shape[axis] // self.groups for shape in permuted])[:-1]
            pieces = np.split(_grouped(stored, axis, self.groups), ends.tolist(), axis + 1)
            parts = [p.reshape(shape) for p, shape in zip(pieces, permuted, strict=True)]
        if self.axes is None:
            return parts
        inverse = sorted(range(len(self.axes)), key=self.axes.__getitem__)
        return [part.transpose(inverse) for part in parts]

    def _permuted(self, shape: Shape) -> Shape:
        return shape if self.axes is None else tuple(shape[axis] for axis in self.axes)


def _grouped(array: "np.ndarray", axis: int, groups: int) -> "np.ndarray":
    shape = array.shape
    return array.reshape(*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :])


KEEP = TensorLayout()
TRANSPOSED = TensorLayout(axes=(1, 0))
