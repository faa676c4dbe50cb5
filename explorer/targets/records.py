"""What a target may be: one record for each kind."""

from typing import TYPE_CHECKING

import msgspec

from explorer.inventory.inventory import Inventory
from explorer.roles.call import Call

if TYPE_CHECKING:
    from explorer.architectures.architecture import Architecture
    from explorer.architectures.resolve import ResolvedArchitecture
    from explorer.objects.frameworks import Framework
    from explorer.tree.types import PyTree

__all__ = ["ArchitectureTarget", "Call", "Checkpoint", "Target", "Tree"]


class Tree(msgspec.Struct, frozen=True, eq=False):
    """Arrays or shapes in memory: a pytree, a module that holds them, a train state.

    Attributes:
        value: the object.
        name: its class, or what the user wrote; empty for plain containers.
        framework: whose reader opens it.
        architecture: the record behind one of explorer's own models.
    """

    value: "PyTree"
    name: str = ""
    framework: "Framework" = "pytree"
    architecture: "Architecture | None" = None


class Checkpoint(msgspec.Struct, frozen=True):
    """A file or folder that holds weights, with a config.json beside them or without.

    `folder` is where that config.json would be: the path itself, or the one around it.
    """

    path: str
    folder: str


class ArchitectureTarget(msgspec.Struct, frozen=True):
    """An architecture without weights: a catalogued name, a config, or the path of one.

    `is_folder` is true where the path is a folder that holds no weights explorer knows.
    """

    known: "ResolvedArchitecture"
    is_folder: bool = False


Target = Inventory | Tree | Checkpoint | ArchitectureTarget | Call
