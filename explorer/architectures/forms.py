"""How leaves lie in a stored tensor: transposed, joined, in groups."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import numpy as np

__all__ = ["KEEP", "TRANSPOSED", "Form"]

Shape = tuple[int, ...]


class Form(msgspec.Struct, frozen=True):
    """How leaves lie in a stored tensor.

    Each leaf has its axes put in the order `axes` (None keeps it). Several leaves are
    joined along `axis`, as they are, or in `groups` of equal parts: the first part of each
    leaf, then the second of each (heads of GPT-NeoX, pairs of gpt-oss).
    """

    axes: tuple[int, ...] | None = None
    axis: int = 0
    groups: int = 1

    def shape(self, shapes: Iterable[Shape]) -> Shape:
        """Return the stored shape of leaves of these shapes."""
        laid = [self._laid(shape) for shape in shapes]
        first = list(laid[0])
        first[self.axis] = sum(shape[self.axis] for shape in laid)
        return tuple(first)

    def store(self, leaves: "list[np.ndarray]") -> "np.ndarray":
        """Return the stored tensor that holds these leaves."""
        import numpy as np

        laid = [leaf if self.axes is None else leaf.transpose(self.axes) for leaf in leaves]
        if len(laid) == 1:
            return laid[0]
        axis = self.axis % laid[0].ndim
        split = [_grouped(leaf, axis, self.groups) for leaf in laid]
        joined = np.concatenate(split, axis + 1)
        return joined.reshape(self.shape([leaf.shape for leaf in leaves]))

    def leaves(self, stored: "np.ndarray", shapes: list[Shape]) -> "list[np.ndarray]":
        """Return the leaves of these shapes that a stored tensor holds."""
        import numpy as np

        laid = [self._laid(shape) for shape in shapes]
        if len(laid) == 1:
            parts = [stored]
        else:
            axis = self.axis % stored.ndim
            ends = np.cumsum([shape[axis] // self.groups for shape in laid])[:-1]
            pieces = np.split(_grouped(stored, axis, self.groups), ends.tolist(), axis + 1)
            parts = [p.reshape(shape) for p, shape in zip(pieces, laid, strict=True)]
        if self.axes is None:
            return parts
        back = sorted(range(len(self.axes)), key=self.axes.__getitem__)
        return [part.transpose(back) for part in parts]

    def _laid(self, shape: Shape) -> Shape:
        return shape if self.axes is None else tuple(shape[axis] for axis in self.axes)


def _grouped(array: "np.ndarray", axis: int, groups: int) -> "np.ndarray":
    shape = array.shape
    return array.reshape(*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :])


KEEP = Form()
TRANSPOSED = Form(axes=(1, 0))
