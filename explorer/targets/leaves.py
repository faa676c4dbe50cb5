"""The parameters of a model that a side holds, whatever its names and layout are.

A stored tensor may hold several of them (a fused projection), or a part of one (an expert); a
stack holds those of several layers. Each is a view of the stored array, in the shape that the
model's own parameter has.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from explorer.architectures.architecture import Architecture
from explorer.architectures.checkpoint_fit import fit_checkpoint
from explorer.architectures.checkpoint_names import CheckpointNames
from explorer.architectures.declaration import declare
from explorer.architectures.families import checkpoint_names_of
from explorer.architectures.stored_tensors import StoredTensor
from explorer.architectures.tensor_layout import TensorLayout
from explorer.paths import Key, path_of, unboxed
from explorer.targets.sides import Side

if TYPE_CHECKING:
    import numpy as np

__all__ = ["LeafPart", "ModelLeaf", "leaves_of"]

Path = tuple[str, ...]
Shape = tuple[int, ...]


class ModelLeaf(NamedTuple):
    """A parameter of a layer, or one expert's part of it."""

    path: Path
    expert: int | None = None


class LeafPart(NamedTuple):
    """Where a side holds a leaf.

    Attributes:
        key: of the stored tensor.
        shape: of the leaf.
        layout: of the leaves in that tensor; None where it is stored as the model has it.
        wanted: their shapes.
        position: of the leaf among them.
        row: of the leaf in a stack of layers.
        expert: of the leaf in a stack of experts.
        is_raised: whether 1 was added to it when it was stored.
        scale: key of what its integers are to be multiplied by.
    """

    key: Key
    shape: Shape
    layout: TensorLayout | None = None
    wanted: tuple[Shape, ...] = ()
    position: int = 0
    row: int | None = None
    expert: int | None = None
    is_raised: bool = False
    scale: Key | None = None

    @property
    def keys(self) -> set[Key]:
        """The keys of all stored tensors that it is made of."""
        return {self.key} if self.scale is None else {self.key, self.scale}

    @property
    def axes(self) -> tuple[int, ...] | None:
        """The order of the leaf's axes in a stored tensor that holds it alone, else None."""
        if self.row is not None or self.expert is not None or len(self.wanted) > 1:
            return None
        if self.layout is None:
            return tuple(range(len(self.shape)))
        if type(self.layout) is not TensorLayout:
            return None  # its rows are in another order
        return self.layout.axes or tuple(range(len(self.shape)))

    @property
    def group_axis(self) -> int:
        """The axis of the leaf that is the last one of the stored tensor."""
        axes = self.layout.axes if self.layout is not None else None
        last = axes[-1] if axes else len(self.wanted[0] if self.wanted else self.shape) - 1
        return last - (self.expert is not None)

    def of(self, array: "np.ndarray", group: int = 1) -> "np.ndarray":
        """Return the leaf in a stored array, as a view where that is possible.

        Args:
            array: the stored tensor; or one value for each `group` elements along its last
                axis.
            group: 1 for the tensor itself.
        """
        if self.layout is None:
            found = array
        else:
            axis = self.layout.axes[-1] if self.layout.axes else -1
            wanted = [_divided(shape, axis, group) for shape in self.wanted]
            found = self.layout.leaves(array, wanted)[self.position]
        for index in (self.row, self.expert):
            found = found if index is None else found[index]
        return found


def _divided(shape: Shape, axis: int, group: int) -> Shape:
    sizes = list(shape)
    sizes[axis] //= group
    return tuple(sizes)


def leaves_of(side: Side, architecture: Architecture) -> dict[ModelLeaf, LeafPart]:
    """Return the leaves that a side holds under any of the names that are known for them."""
    return max((read() for read in _readings(side, architecture)), key=len)


def _readings(
    side: Side, architecture: Architecture
) -> Iterator[Callable[[], dict[ModelLeaf, LeafPart]]]:
    from explorer.architectures.gguf_names import gguf_names

    for scan in (False, True):
        yield lambda scan=scan: _by_flax_names(side, architecture, scan)
    for separator in (".", "/"):
        keys = {separator.join(path_of(key)): key for key in side.tensors}
        for names in (checkpoint_names_of(architecture), gguf_names(architecture)):
            yield lambda n=names, k=keys: _by_stored_names(side, architecture, n, k)


def _by_flax_names(
    side: Side, architecture: Architecture, scan: bool
) -> dict[ModelLeaf, LeafPart]:
    from explorer.pretrained.leaves import origins

    keys = {_bare(path_of(key)): key for key in side.tensors}
    found = {}
    for leaf, layers, stacked in origins(architecture, scan):
        key = keys.get(leaf.path)
        if key is None or side.tensors[key].shape != leaf.shape:
            continue
        for row, path in enumerate(layers):
            if stacked:
                found[ModelLeaf(path)] = LeafPart(key, leaf.shape[1:], row=row)
            else:
                found[ModelLeaf(path)] = LeafPart(key, leaf.shape)
    return found


def _bare(path: Path) -> Path:
    path = unboxed(path)
    return path[1:] if path[:1] == ("params",) and len(path) > 1 else path


def _by_stored_names(
    side: Side, architecture: Architecture, names: CheckpointNames, keys: Mapping[str, Key]
) -> dict[ModelLeaf, LeafPart]:
    leaf_shapes = {leaf.path: leaf.shape for leaf in declare(architecture)}
    shapes = {name: side.tensors[key].shape for name, key in keys.items()}
    fit = fit_checkpoint(architecture, names, shapes)
    return {
        leaf: part
        for name, stored in fit.stored.items()
        if shapes.get(name) == stored.shape
        for leaf, part in _parts(keys[name], stored, leaf_shapes)
    }


def _parts(
    key: Key, stored: StoredTensor, leaf_shapes: dict[Path, Any]
) -> Iterator[tuple[ModelLeaf, LeafPart]]:
    from explorer.architectures.gguf_names import RaisedGain

    of_expert = stored.expert is not None
    wanted = tuple(
        leaf_shapes[path][1:] if of_expert else leaf_shapes[path] for path in stored.leaves
    )
    # a raised gain is left as it is stored: the other side is raised too
    is_raised = isinstance(stored.layout, RaisedGain)
    layout = TensorLayout(stored.layout.axes) if is_raised else stored.layout
    for position, path in enumerate(stored.leaves):
        part = LeafPart(
            key, wanted[position], layout, wanted, position, is_raised=is_raised
        )
        yield ModelLeaf(path, stored.expert), part
