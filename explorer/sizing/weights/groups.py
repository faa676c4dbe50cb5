"""An inventory's tensors as groups of equal ones, and the matrices among them."""

from collections import Counter
from collections.abc import Iterator
from math import prod
from typing import NamedTuple

from explorer import dtypes
from explorer.inventory.inventory import Inventory
from explorer.inventory.tensor import Kind
from explorer.paths import path_of, template_of, unboxed
from explorer.sizing.subject import Subject

__all__ = [
    "LOGICAL",
    "Matrix",
    "TensorGroup",
    "declared",
    "groups_of",
    "is_packed",
    "is_routed",
    "is_table",
    "matrix_of",
    "outputs_first",
    "share_of",
]

# what a note says of weights that a file stores in another quantised format
LOGICAL = "from the logical shapes of weights that are packed already"
# kernels that no scheme for linear layers changes
_LEFT = frozenset({"embedding", "router", "head", "norm"})
_HEADS = frozenset({"lm_head", "classifier", "score", "embed_out"})
_TORCH = ("safetensors", "pytorch", "gguf")


class TensorGroup(NamedTuple):
    """Equal tensors: the path of one of them, what each is, the number of unique ones."""

    path: tuple[str, ...]
    kind: Kind
    number: int


class Matrix(NamedTuple):
    """A kernel of linear layers: as many as are stacked, each [inputs, outputs]."""

    stack: int
    inputs: int
    outputs: int

    @property
    def size(self) -> int:
        """Elements of one of the stacked matrices."""
        return self.inputs * self.outputs


def groups_of(inventory: Inventory, by_path: bool = False) -> Iterator[TensorGroup]:
    """Yield the unique tensors of an inventory as groups of equal ones.

    Args:
        inventory: the tensors.
        by_path: whether only tensors whose paths differ in digits alone are together.

    >>> import explorer as ex
    >>> [(g.path[-1], g.number) for g in groups_of(ex.explore({"a": [0.0], "b": [0.0, 1.0]}))]
    [('0', 3)]
    """
    columns = inventory.columns
    aliases = columns.aliases
    first: dict[tuple[int, bytes], int] = {}
    counts: Counter[tuple[int, bytes]] = Counter()
    for index, number in enumerate(columns.numbers):
        if index not in aliases:
            same = (number, template_of(columns.keys[index]) if by_path else b"")
            first.setdefault(same, index)
            counts[same] += 1
    for same, index in first.items():
        kind = columns.kinds[same[0]]
        yield TensorGroup(path_of(columns.keys[index]), kind, counts[same])


def declared(subject: Subject) -> Inventory:
    """Return the tensors of a subject in explorer's own layout where its layers are known."""
    if subject.architecture is None or subject.inventory.is_declared:
        return subject.inventory
    from explorer.architectures.resolve import ResolvedArchitecture, inventory_of

    return inventory_of(ResolvedArchitecture(subject.architecture, subject.name))


def matrix_of(
    group: TensorGroup, inventory: Inventory, heads: bool = False
) -> Matrix | None:
    """Return the matrices of a group of linear layers; None for all other tensors.

    Args:
        group: the tensors.
        inventory: whose they are, which says whether outputs or inputs come first.
        heads: whether the head is one of the linear layers.
    """
    kind = group.kind
    if kind.role != "kernel" or len(kind.shape) < 2 or not kind.is_parameter:
        return None
    head = kind.component == "head" or not _HEADS.isdisjoint(group.path)
    if (head and not heads) or (not head and kind.component in _LEFT):
        return None
    stack, (first, second) = prod(kind.shape[:-2]), kind.shape[-2:]
    if outputs_first(group.path, inventory):
        first, second = second, first
    return Matrix(stack, first, second)


def outputs_first(path: tuple[str, ...], inventory: Inventory) -> bool:
    """Return whether a kernel is [outputs, inputs]: those of PyTorch and Equinox are.

    >>> import explorer as ex
    >>> tree = ex.explore({"weight": [0.0]})
    >>> outputs_first(("up", "weight"), tree), outputs_first(("up", "kernel"), tree)
    (True, False)
    """
    names = unboxed(path)[-1:]
    return inventory.source.startswith(_TORCH) or names == ("weight",)


def is_table(group: TensorGroup) -> bool:
    """Return whether tensors are tables of which a token reads one row."""
    return group.kind.role == "embedding" and len(group.kind.shape) == 2


def share_of(group: TensorGroup, inventory: Inventory) -> tuple[int, int]:
    """Return which part of a tensor one token's step reads, as a fraction."""
    kind, card = group.kind, inventory.card
    if kind.component == "experts" and card is not None and card.experts:
        return card.experts_per_token, card.experts
    if is_table(group) and not _is_head_too(group, inventory):
        return 1, kind.shape[0]
    return 1, 1


def _is_head_too(group: TensorGroup, inventory: Inventory) -> bool:
    tables = {path_of(key) for tie in inventory.ties for key in tie.keys}
    return group.path in tables


def is_routed(inventory: Inventory) -> bool:
    """Return whether it is known which part of the experts a token's step reads."""
    if inventory.card is not None:
        return True
    return all(kind.component != "experts" for kind in inventory.columns.kinds)


def is_packed(inventory: Inventory) -> bool:
    """Return whether weights are stored in a quantised format already."""
    return any(
        kind.collection == "quantization"
        or kind.stored is not None
        or (kind.is_parameter and dtypes.find(kind.dtype).block > 2)
        for kind in inventory.columns.kinds
    )
