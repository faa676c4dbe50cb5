"""A checkpoint beside a config.json -> its inventory with the architecture behind it.

Apart from the catalogue of names, which no file needs: a start counts in milliseconds.
"""

import os
from dataclasses import replace

import msgspec

from explorer.architectures import listed as declared
from explorer.architectures.agreement import agreement_of
from explorer.architectures.families import SUPPORTED, architecture_of
from explorer.errors import InputError
from explorer.identify.config import Config
from explorer.inventory.inventory import Inventory

__all__ = ["with_card"]


def with_card(inventory: Inventory, config: Config, path: str) -> Inventory:
    """Return a checkpoint's inventory with the architecture that its config describes.

    The tensors of a whole checkpoint are held against it. A config of a known family that
    is wrong leaves a remark, for the tensors count without it.
    """
    if config.model_type not in SUPPORTED:
        return inventory
    try:
        architecture = architecture_of(config.content, "config.json")
    except InputError as error:
        remark = f"not held against its config: {error}"
        return replace(inventory, remarks=(*inventory.remarks, remark))
    card = declared.card_of(architecture)
    named_alike = inventory.source.startswith(("safetensors", "pytorch"))
    if named_alike:
        agreement = agreement_of(inventory.tensors, inventory.num_parameters, architecture)
        if not (agreement.agrees or os.path.isdir(path)):
            return inventory  # one file of several, or an adapter
        card = msgspec.structs.replace(card, agreement=agreement)
    return replace(inventory, card=card)
