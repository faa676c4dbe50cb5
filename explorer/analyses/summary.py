"""Totals by group; the rows of every grouping add up to the same total."""

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from explorer.errors import InputError
from explorer.inventory.inventory import Inventory
from explorer.inventory.tensor import TensorSpec

__all__ = ["Group", "Summary", "summarize"]

By = Literal["role", "component", "module", "dtype", "collection"]


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """The totals of the tensors that share a word."""

    name: str
    tensors: int = 0
    parameters: int = 0
    weights: int = 0
    biases: int = 0
    elements: int = 0
    nbytes: int = 0

    def __add__(self, other: "Group") -> "Group":
        return Group(
            name=self.name,
            tensors=self.tensors + other.tensors,
            parameters=self.parameters + other.parameters,
            weights=self.weights + other.weights,
            biases=self.biases + other.biases,
            elements=self.elements + other.elements,
            nbytes=self.nbytes + other.nbytes,
        )


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Groups, largest first, and the total that they add up to."""

    by: str
    groups: tuple[Group, ...]
    total: Group


def summarize(
    inventory: Inventory, by: By | Sequence[By] = "component", depth: int = 1
) -> Summary:
    """Return an inventory's totals by group.

    Args:
        inventory: what to group.
        by: role, component, module, dtype or collection; several make joint groups.
        depth: for modules, how many names of the path make one.

    Raises:
        InputError: an unknown word in `by`, or a depth below 1.
    """
    words = (by,) if isinstance(by, str) else tuple(by)
    unknown = [word for word in words if word not in _WORDS]
    if unknown or not words:
        raise InputError("by", found=repr(by), expected=" or ".join(_WORDS))
    if depth < 1:
        raise InputError("depth", found=str(depth), expected="1 or more")
    sums: dict[str, list[int]] = {}
    for tensor in inventory.tensors:
        name = " ".join(_WORDS[word](tensor, depth) for word in words)
        row = sums.setdefault(name, [0, 0, 0, 0, 0])
        row[0] += 1
        if not tensor.alias:
            kind = tensor.kind
            row[1] += kind.size if kind.is_parameter else 0
            row[2] += kind.size if kind.is_parameter and kind.role == "bias" else 0
            row[3] += kind.size
            row[4] += kind.nbytes
    groups = [
        Group(
            name=name,
            tensors=tensors,
            parameters=parameters,
            weights=parameters - biases,
            biases=biases,
            elements=elements,
            nbytes=nbytes,
        )
        for name, (tensors, parameters, biases, elements, nbytes) in sums.items()
    ]
    if "module" not in words:
        groups.sort(key=lambda group: (-group.parameters, -group.elements, group.name))
    return Summary(
        by=" ".join(words), groups=tuple(groups), total=sum(groups, Group(name="total"))
    )


def _module(tensor: TensorSpec, depth: int) -> str:
    path = tensor.path
    return "/".join(path[: min(depth, len(path) - 1)] or path)


_WORDS: dict[str, Callable[[TensorSpec, int], str]] = {
    # what is no parameter has no role: its collection says what it is
    "role": lambda tensor, _: (
        tensor.role if tensor.kind.is_parameter else tensor.collection
    ),
    "component": lambda tensor, _: tensor.component,
    "module": _module,
    "dtype": lambda tensor, _: tensor.dtype,
    "collection": lambda tensor, _: tensor.collection,
}
