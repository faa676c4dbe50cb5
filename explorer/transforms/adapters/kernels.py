"""Which kernels an adapter adapts, and how their axes are those of a matrix."""

from collections.abc import Iterable
from math import prod
from typing import Any, NamedTuple

from explorer.errors import InputError, printable, shown

__all__ = ["Kernel", "Site", "axes_of"]

Path = tuple[str, ...]
Shape = tuple[int, ...]


class Kernel(NamedTuple):
    """A kernel in a tree of parameters, and what each of its axes is.

    Attributes:
        path: in the tree of parameters.
        shape: of the array.
        axes: a letter for each: "i" inputs, "o" outputs, "b" of a batch of matrices, such as
            stacked layers or experts.

    >>> Kernel(("query", "kernel"), (64, 4, 16), "ioo").sides
    (64, 64)
    """

    path: Path
    shape: Shape
    axes: str = "io"

    @property
    def batch(self) -> Shape:
        """The sizes of the axes that stack matrices."""
        return self._sizes("b")

    @property
    def sides(self) -> tuple[int, int]:
        """Inputs and outputs of one matrix."""
        return prod(self._sizes("i")), prod(self._sizes("o"))

    def matrices(self, array: Any) -> Any:
        """Return the values as [batch, inputs, outputs]; of NumPy or JAX."""
        return array.transpose(self._order()).reshape(*self.batch, *self.sides)

    def array(self, matrices: Any) -> Any:
        """Return [batch, inputs, outputs] as the kernel has its values."""
        order = self._order()
        back = sorted(range(len(order)), key=order.__getitem__)
        return matrices.reshape([self.shape[axis] for axis in order]).transpose(back)

    def _sizes(self, letter: str) -> Shape:
        pairs = zip(self.axes, self.shape, strict=True)
        return tuple(size for axis, size in pairs if axis == letter)

    def _order(self) -> list[int]:
        return [n for letter in "bio" for n, axis in enumerate(self.axes) if axis == letter]


class Site(NamedTuple):
    """The kernels that one adapter adapts: one, or those of a fused projection side by side.

    Attributes:
        path: of the adapter in the tree of adapters.
        kernels: they share their inputs; their outputs are one after another, or in
            `groups` parts that alternate.
        groups: parts of each kernel's outputs, as `TensorLayout.groups`.
        stored: the module of a checkpoint for each matrix of the batch, in its order; one
            where there is no batch, none where no checkpoint is known.
    """

    path: Path
    kernels: tuple[Kernel, ...]
    groups: int = 1
    stored: tuple[str, ...] = ()

    @property
    def inputs(self) -> int:
        """Inputs of each matrix."""
        return self.kernels[0].sides[0]

    @property
    def outputs(self) -> int:
        """Outputs of all kernels together."""
        return sum(kernel.sides[1] for kernel in self.kernels)

    @property
    def batch(self) -> Shape:
        """The sizes of the axes that stack matrices."""
        return self.kernels[0].batch

    @property
    def name(self) -> str:
        """The path, joined by "/"."""
        return "/".join(self.path)

    def check_rank(self, rank: int) -> None:
        """Refuse a rank that no matrix here can have.

        Raises:
            InputError: it is below 1, or above the smaller side.
        """
        least = min(self.inputs, self.outputs)
        if type(rank) is not int or not 1 <= rank <= least:
            raise InputError(
                self.name,
                found=f"a rank of {printable(rank, 20)} for [{self.inputs}, {self.outputs}]",
                expected=f"1 to {least}, the smaller side",
            )


def axes_of(path: Path, shape: Shape, given: Iterable[tuple[str, str]] = ()) -> str | None:
    """Return the axes of a kernel of any framework by its name; None for what is not a kernel.

    Args:
        path: its names; the last one is that of the array.
        shape: of the array.
        given: globs and axes that overrule the names.

    Raises:
        InputError: the given axes are not as many as those of the array, or a name does not
            tell which of three axes is which.

    >>> axes_of(("Dense_0", "kernel"), (3, 4)), axes_of(("linear", "weight"), (4, 3))
    ('io', 'oi')
    >>> axes_of(("attention", "query", "kernel"), (64, 4, 16))
    'ioo'
    """
    from explorer.paths import matches, unboxed

    path = unboxed(path)
    owner, last = ("", "", *path)[-2:]
    for glob, axes in given:
        if matches(path, glob):
            return _checked(path, shape, axes)
    known = {"kernel": "io", "w": "io", "weight": "oi"}.get(last)
    if known is None or len(shape) < 2:
        return None
    stacked = int(path[0].startswith("stages_")) + int("experts" in path)
    if stacked and stacked == len(shape) - 2:
        return "b" * stacked + known
    if len(shape) == 2:
        return known
    if last == "kernel" and len(shape) == 3 and owner in ("query", "key", "value"):
        return "ioo"  # Flax's attention: heads on an axis of their own
    if last == "kernel" and len(shape) == 3 and owner == "out":
        return "iio"
    return None


def _checked(path: Path, shape: Shape, axes: str) -> str:
    letters = isinstance(axes, str) and set(axes) <= set("bio")
    if not letters or len(axes) != len(shape) or not {"i", "o"} <= set(axes):
        raise InputError(
            "/".join(path),
            found=f"axes {shown(axes, 40)} for an array of shape {list(shape)}",
            expected='a letter for each axis: "i" inputs, "o" outputs, "b" stacked matrices',
        )
    return axes
