"""The inventory of a checkpoint together with the architecture in its config.json.

Separate from `resolve`, so that reading a checkpoint does not import the catalogue.
"""

import os

import msgspec
from msgspec.structs import replace

from explorer.architectures import listing
from explorer.architectures.agreement import agreement_of
from explorer.architectures.families import SUPPORTED, architecture_of
from explorer.architectures.own_code import with_own_code
from explorer.errors import InputError
from explorer.identify.config import Config
from explorer.inventory.inventory import Inventory

__all__ = ["with_card"]


def with_card(inventory: Inventory, config: Config, path: str) -> Inventory:
    """Return a checkpoint's inventory with the architecture that its config describes.

    The tensors of a complete checkpoint are checked against it. An invalid config of a
    supported family adds a remark and raises nothing: the tensors count without it.
    """
    if config.model_type not in SUPPORTED:
        return inventory
    try:
        architecture = architecture_of(config.content, "config.json")
        architecture = with_own_code(architecture, config.content)
    except InputError as error:
        remark = f"not checked against its config: {error}"
        return replace(inventory, remarks=(*inventory.remarks, remark))
    card = listing.card_of(architecture)
    if inventory.source.startswith(("safetensors", "pytorch")):  # keys named as in PyTorch
        agreement = agreement_of(inventory.tensors, inventory.num_parameters, architecture)
        if not (agreement.agrees or os.path.isdir(path)):
            return inventory  # one file of several, or an adapter
        if architecture.assumptions and not agreement.agrees:
            remark = f"not checked against its config: {architecture.assumptions[0]}"
            return replace(inventory, remarks=(*inventory.remarks, remark))
        card = msgspec.structs.replace(card, agreement=agreement)
        if agreement.agrees and not architecture.assumptions:
            return replace(inventory, card=card, parameters_by="model")
    return replace(inventory, card=card)
