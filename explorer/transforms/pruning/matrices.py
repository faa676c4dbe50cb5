"""A kernel of any layout as [stack, outputs, inputs], and back."""

from math import prod
from typing import TYPE_CHECKING, NamedTuple

from explorer.inventory.tensor import Kind
from explorer.sizing.weights.groups import Matrix

if TYPE_CHECKING:
    import numpy as np

__all__ = ["MatrixView", "view_of"]

Axes = tuple[int, ...]
_LEFT = frozenset({"embedding", "router", "head", "norm"})
_HEADS = frozenset({"lm_head", "classifier", "score", "embed_out"})
# of Flax's attention: [inputs, heads, entries], and [heads, entries, outputs]
_SPLIT_OUTPUTS = frozenset({"query", "key", "value", "qkv"})
_SPLIT_INPUTS = frozenset({"out"})


class MatrixView(NamedTuple):
    """Which axes of a kernel are stacked layers or experts, which are outputs, which inputs.

    The last axis of `inputs` is the one along which groups of n:m are taken: of a convolution, channels.
    """

    shape: tuple[int, ...]
    stack: Axes
    outputs: Axes
    inputs: Axes

    @property
    def matrix(self) -> Matrix:
        """The sizes: how many are stacked, inputs and outputs of each."""
        sizes = (
            prod(self.shape[axis] for axis in axes)
            for axes in (self.stack, self.inputs, self.outputs)
        )
        return Matrix(*sizes)

    @property
    def channels(self) -> int:
        """The size of the axis along which groups of n:m are taken."""
        return self.shape[self.inputs[-1]]

    def rows(self, array: "np.ndarray") -> "np.ndarray":
        """Return an array of the kernel's shape as [stack, outputs, inputs].

        >>> import numpy as np
        >>> MatrixView((3, 2), (), (1,), (0,)).rows(np.arange(6).reshape(3, 2))
        array([[[0, 2, 4],
                [1, 3, 5]]])
        """
        stack, inputs, outputs = self.matrix
        order = (*self.stack, *self.outputs, *self.inputs)
        return array.transpose(order).reshape(stack, outputs, inputs)

    def restored(self, rows: "np.ndarray") -> "np.ndarray":
        """Return [stack, outputs, inputs] in the kernel's own layout: the inverse of `rows`."""
        order = (*self.stack, *self.outputs, *self.inputs)
        split = rows.reshape([self.shape[axis] for axis in order])
        return split.transpose(sorted(range(len(order)), key=order.__getitem__))


def view_of(
    path: tuple[str, ...], kind: Kind, outputs_first: bool, every: bool = False
) -> MatrixView | None:
    """Return the view of a kernel; None for a tensor that is not to be pruned.

    Args:
        path: of the tensor.
        kind: what is known of it.
        outputs_first: whether its layout is PyTorch's, [outputs, inputs]; else Flax's.
        every: whether embeddings, routers and heads are pruned too.

    >>> kernel = Kind((8, 4), "float32", 32, 128, "kernel", "mlp", "params")
    >>> view_of(("up", "kernel"), kernel, outputs_first=False)
    MatrixView(shape=(8, 4), stack=(), outputs=(1,), inputs=(0,))
    """
    shape = kind.shape
    is_matrix = kind.role in (("kernel", "embedding") if every else ("kernel",))
    if not is_matrix or len(shape) < 2 or not kind.is_parameter or kind.stored is not None:
        return None
    is_left = kind.component in _LEFT or not _HEADS.isdisjoint(path)
    if is_left and not every:
        return None
    stacked = min(_stacked(path, kind), len(shape) - 2)
    stack, rest = tuple(range(stacked)), tuple(range(stacked, len(shape)))
    if outputs_first:
        return MatrixView(shape, stack, rest[:1], (*rest[2:], rest[1]))
    module = path[-2] if len(path) > 1 else ""
    if len(rest) == 3 and kind.component == "attention" and module in _SPLIT_OUTPUTS:
        return MatrixView(shape, stack, rest[1:], rest[:1])
    if len(rest) == 3 and kind.component == "attention" and module in _SPLIT_INPUTS:
        return MatrixView(shape, stack, rest[2:], rest[:2])
    return MatrixView(shape, stack, rest[-1:], rest[:-1])


def _stacked(path: tuple[str, ...], kind: Kind) -> int:
    """Return how many leading axes stack layers and experts."""
    layers = any(name.startswith("stages_") for name in path)
    experts = kind.component == "experts" and len(kind.shape) > 2
    if layers or experts or kind.stack:
        return max(len(kind.stack), layers + experts)
    # a scanned layer of a transformer; elsewhere a third axis is that of a convolution
    return int(kind.component == "mlp" and len(kind.shape) == 3)
