"""A target -> its inventory, through the room that reads it."""

import os
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from explorer.document.words import counted
from explorer.errors import TargetError
from explorer.inventory.gc_pause import paused_gc
from explorer.inventory.inventory import Inventory
from explorer.storage.local import exists
from explorer.targets.records import ArchitectureTarget, Call, Checkpoint, Target, Tree

if TYPE_CHECKING:
    from explorer.architectures.architecture import Architecture
    from explorer.formats.composites import Composite
    from explorer.inventory.listing import Listing

__all__ = ["architecture_of", "config_beside", "inventory_of", "known_architecture_of"]

_NO_WEIGHTS = "the folder holds no weights that explorer knows: its config.json is shown"


def inventory_of(target: Target) -> Inventory:
    """Return what is in a target.

    >>> inventory_of(Tree({"bias": 0.5}))
    Inventory(pytree: 1 tensor, 1 parameter, 0 weights, 1 bias)
    """
    match target:
        case Inventory():
            return target
        case Checkpoint():
            return _of_checkpoint(target)
        case ArchitectureTarget(known, is_folder):
            from explorer.architectures import resolve

            inventory = resolve.inventory_of(known)
            remarks = (*inventory.remarks, *([_NO_WEIGHTS] if is_folder else []))
            return replace(inventory, remarks=remarks)
        case Call():
            from explorer.objects.calls import read

            return _with_card(_assemble(read(target), target.name), target.architecture)
        case Tree():
            return _with_card(_assemble(_list(target), target.name), target.architecture)


def _of_checkpoint(target: Checkpoint) -> Inventory:
    if target.path == target.folder:
        from explorer.formats.composites import find_parts

        if (composite := find_parts(target.path)) is not None:
            return _of_parts(target, composite)
    return _of_model(target)


def _of_parts(target: Checkpoint, composite: "Composite") -> Inventory:
    """Return the inventory of a folder of several models, each with its own config."""
    from explorer.inventory.merging import merged

    found = [
        (part, _of_model(Checkpoint(part.path, part.path))) for part in composite.parts
    ]
    source = f"{composite.kind}: {' + '.join({i.source: None for _, i in found})}"
    whole = merged(
        [(part.name, inventory) for part, inventory in found], target.path, source
    )
    remarks = [
        f"part {part.name or 'in the folder itself'} ({part.what}): "
        f"{counted(inventory.num_parameters, 'parameter')} in "
        f"{counted(inventory.num_tensors, 'tensor')}"
        for part, inventory in found
    ]
    return replace(whole, remarks=(*remarks, *composite.remarks, *whole.remarks))


def _of_model(target: Checkpoint) -> Inventory:
    from explorer.formats.files import list_path
    from explorer.identify.config import read_config

    config = read_config(target.folder)
    with paused_gc():
        listing = list_path(target.path)
        inventory = _assemble(listing, target.path, config)
        if _may_be_adapters(target, listing):
            from explorer.targets.adapters import with_adapters

            inventory = with_adapters(inventory, target)
        if config is None:
            return inventory
        from explorer.architectures.checkpoints import with_card

        return with_card(inventory, config, target.path)


def _may_be_adapters(target: Checkpoint, listing: "Listing") -> bool:
    is_gguf = (listing.metadata or {}).get("general.type") == "adapter"
    return is_gguf or exists(os.path.join(target.folder, "adapter_config.json"))


def _list(target: Tree) -> "Listing":
    if target.framework == "linen":
        from explorer.objects import linen

        return linen.read(target.value)
    from explorer.objects import modules, pytree

    listing = pytree.read(target.value)
    listing.components = modules.components_of(target.value, listing)
    return listing


def _assemble(listing: "Listing", target: str = "", config: Any = None) -> Inventory:
    from explorer.identify.assemble import assemble

    return assemble(listing, target, config)


def _with_card(inventory: Inventory, architecture: "Architecture | None") -> Inventory:
    if architecture is None:
        return inventory
    from explorer.architectures.listing import card_of

    return replace(inventory, card=card_of(architecture))


def architecture_of(target: Target) -> "Architecture | None":
    """Return the architecture behind a target; None where it has none."""
    match target:
        case ArchitectureTarget(known):
            return known.architecture
        case Checkpoint(path, folder):
            from explorer.architectures import resolve as architectures

            config = os.path.join(folder, "config.json")
            if exists(config):
                return architectures.resolve(config).architecture
            raise TargetError(
                path,
                found="has no config.json: its tensors do not describe an architecture",
                expected="a name of `explorer catalog`, a config.json, or a folder with one",
            )
        case Call() | Tree():
            return target.architecture
    return None


def known_architecture_of(target: Target) -> "Architecture | None":
    """Return the architecture behind a target; None also for weights without a config.

    Raises:
        InputError: a config.json that is not one of a known model.
    """
    if isinstance(target, Checkpoint) and not exists(
        os.path.join(target.folder, "config.json")
    ):
        return None
    return architecture_of(target)


def config_beside(target: Target) -> "dict[str, Any] | None":
    """Return the config.json beside a checkpoint; None where there is none."""
    if not isinstance(target, Checkpoint):
        return None
    from explorer.identify.config import read_config

    config = read_config(target.folder)
    return None if config is None else config.content
