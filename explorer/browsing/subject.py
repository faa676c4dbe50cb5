"""A target that is browsed: what it is, what is in it, and what is asked of it on demand."""

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

import msgspec

from explorer.errors import InputError
from explorer.inventory.inventory import Inventory
from explorer.paths import Key
from explorer.targets import resolve
from explorer.targets.inventories import inventory_of
from explorer.targets.records import Checkpoint, Target

if TYPE_CHECKING:
    from explorer.formats.spans import TensorSpans
    from explorer.values.records import Description

__all__ = ["BrowsedTarget", "browsed", "measured", "no_values", "spans_of"]


class BrowsedTarget(msgspec.Struct, frozen=True, eq=False):
    """A target with its inventory; `name` is what the user wrote."""

    name: str
    target: Target
    inventory: Inventory


def browsed(name: str) -> BrowsedTarget:
    """Return a target to browse.

    Raises:
        InputError: as `explore`.

    >>> browsed("gpt2").inventory.num_parameters
    124439808
    """
    target = resolve(name)
    return BrowsedTarget(name, target, inventory_of(target))


def no_values(subject: BrowsedTarget) -> str:
    """Return why a target has no numbers; "" where it may have some.

    >>> no_values(browsed("gpt2"))
    'none: this is an architecture, with shapes and no numbers'
    """
    if subject.inventory.is_declared:
        return "none: this is an architecture, with shapes and no numbers"
    return ""


def measured(
    subject: BrowsedTarget,
    keys: Collection[Key],
    progress: Callable[[int, int], object] | None = None,
) -> "Description":
    """Return statistics of some tensors; no other byte of a file is read.

    Args:
        subject: the target.
        keys: of the tensors.
        progress: called with the elements that were read, and those of all.

    Raises:
        InputError: as `describe`; also where none of the tensors has numbers of its own.
    """
    from explorer.targets.values import values_of
    from explorer.values.describe import describe_arrays

    arrays = values_of(subject.target, None, True, progress=progress, keys=frozenset(keys))
    found = describe_arrays(subject.name, arrays)
    if not found.tensors:
        why = found.notes[0] if found.notes else "are a second name of others"
        raise InputError(subject.name, found=f"has no numbers here: {why}")
    return found


def spans_of(subject: BrowsedTarget) -> "TensorSpans | None":
    """Return where tensors are stored; None of a target without files.

    Raises:
        InputError: as `explore`.
    """
    if not isinstance(subject.target, Checkpoint):
        return None
    from explorer.formats.spans import spans_of_path

    return spans_of_path(subject.target.path)
