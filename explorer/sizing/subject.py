"""What is sized: an inventory, and the architecture behind it where one is known."""

from collections.abc import Mapping
from typing import Any

import msgspec

from explorer.architectures.architecture import Architecture
from explorer.inventory.inventory import Inventory

__all__ = ["Subject"]


class Subject(msgspec.Struct, frozen=True, eq=False):
    """A model to be sized.

    Attributes:
        name: what the user wrote.
        inventory: its tensors.
        architecture: its layers; None where nothing says what they are.
        config: the config.json beside it; None where there is none.
    """

    name: str
    inventory: Inventory
    architecture: Architecture | None = None
    config: Mapping[str, Any] | None = None
