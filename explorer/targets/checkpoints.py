"""A checkpoint -> the architecture in the config.json beside it, if its tensors are of that."""

import os
from typing import TYPE_CHECKING

from explorer.errors import InputError, TargetError, first_few
from explorer.storage.local import exists
from explorer.targets.inventories import inventory_of
from explorer.targets.records import Checkpoint

if TYPE_CHECKING:
    from explorer.architectures.resolve import ResolvedArchitecture

__all__ = ["architecture_beside"]


def architecture_beside(target: Checkpoint) -> "ResolvedArchitecture":
    """Return the architecture of the config.json beside a checkpoint.

    Raises:
        InputError: there is none, or the tensors are not those of that architecture: what
            they do would be shown of another model.
    """
    config = os.path.join(target.folder, "config.json")
    if not exists(config):
        raise TargetError(
            target.path,
            found="has no config.json: nothing says what is computed with its tensors",
            expected="a name of `explorer catalog`, a config.json, or a folder with one",
            cure="in Python, pass (module, *inputs) or (fn, params, inputs)",
        )
    from explorer.architectures.resolve import resolve

    known = resolve(config)._replace(name=target.path)
    _check_fits(target, config)
    return known


def _check_fits(target: Checkpoint, config: str) -> None:
    inventory = inventory_of(target)
    card = inventory.card
    agreement = card.agreement if card else None
    if card is not None and agreement is None:
        return  # in this format keys have other names
    lacking = agreement.lacking if agreement else 0
    if agreement and not (lacking or agreement.unexpected or agreement.misshapen):
        return
    if agreement is None:
        differs = f"{inventory.num_tensors:,} tensors are not, or not all, those"
    elif lacking:
        differs = (
            f"tensors are not those: {lacking:,} of {agreement.tensors:,} are not there"
        )
    else:
        differs = f"tensors are not those: {first_few((*agreement.misshapen, *agreement.unexpected))}"
    raise InputError(
        target.path,
        found=f"its {differs}",
        expected=f"the tensors of {config}",
        cure=f"for what the config describes, pass {config}",
    )
