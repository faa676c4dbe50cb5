"""A target -> its tensors, each with what is known of it, and its values when they are asked for."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from explorer.inventory.tensor import Kind
from explorer.paths import Key, name_of
from explorer.targets.inventories import inventory_of
from explorer.targets.records import Target
from explorer.targets.values import values_of

if TYPE_CHECKING:
    from explorer.inventory.inventory import Inventory

__all__ = ["LazyTensor", "lazy_tensors"]


class LazyTensor(NamedTuple):
    """A tensor whose values are read when they are asked for.

    Attributes:
        key: as the source spells it.
        kind: shape, dtype, role and component, as the inventory knows them.
        load: returns the values as an array of the host; GGUF's blocks dequantised to float32.
    """

    key: Key
    kind: Kind
    load: Callable[[], Any]

    @property
    def name(self) -> str:
        """The path, joined by "/"."""
        return name_of(self.key)


def lazy_tensors(target: Target, select: str | None = None) -> "Iterator[LazyTensor]":
    """Yield the tensors of a target in the order of its source, second names left out.

    A file is read in batches that fit in memory; `load` is to be called before the next tensor is
    taken, or not at all.

    Raises:
        InputError: as `values_of`.
    """
    kinds = _kinds(inventory_of(target))
    for named in values_of(target, select):
        array = named.array
        yield LazyTensor(named.key, kinds[named.key], lambda array=array: array)


def _kinds(inventory: "Inventory") -> dict[Key, Kind]:
    columns = inventory.columns
    return {key: columns.kind(index) for index, key in enumerate(columns.keys)}
