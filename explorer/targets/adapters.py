"""What a folder or file of low-rank adapters says of itself: rank, alpha, modules, base."""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from explorer.errors import printable
from explorer.inventory.inventory import Inventory
from explorer.paths import name_of
from explorer.targets.records import Checkpoint
from explorer.transforms.adapters.peft_config import described_by, is_peft_folder

__all__ = ["with_adapters"]

_NAMES = {"lora": "LoRA", "rslora": "rsLoRA", "dora": "DoRA"}
_PARTS = (".lora_", "lora_magnitude_vector")


def with_adapters(inventory: Inventory, target: Checkpoint) -> Inventory:
    """Return the inventory of adapters with what their config says; any other one as it is.

    Args:
        inventory: of a checkpoint.
        target: the checkpoint.

    Raises:
        FormatError: an adapter_config.json that peft could not have written.
    """
    keys = [name_of(key) for key in inventory.columns.keys]
    number = sum(any(part in key.replace("/", ".") for part in _PARTS) for key in keys)
    if not number and not any(key.startswith("base_model") for key in keys):
        return inventory
    facts: Mapping[str, Any] = inventory.metadata or {}
    if is_peft_folder(target.folder):
        kind, remark = _of_peft(target.folder, inventory)
    elif facts.get("general.type") == "adapter":
        kind = "LoRA adapters"
        ranks = ", ".join(map(str, _ranks(inventory)))
        remark = f"rank {ranks}; {inventory.num_parameters:,} trainable parameters"
    else:
        return inventory
    return replace(
        inventory,
        source=f"{inventory.source}, {kind}",
        remarks=(remark, *inventory.remarks),
        # every one of them is learned; modules that are saved whole may have statistics
        parameters_by="source" if number == len(keys) else inventory.parameters_by,
    )


def _of_peft(folder: str, inventory: Inventory) -> tuple[str, str]:
    """Return what to call a folder's adapters, and a sentence on them."""
    kind, config = described_by(folder)
    if kind != "LORA":
        word = f"adapters of the kind {printable(kind, 40)}"
        return word, f"{word}, which explorer counts and does not apply"
    name = f"{_NAMES[config.variant]} adapters"
    ranks = sorted({config.r, *config.rank_pattern.values()})
    modules = config.target_modules or ()
    words = [modules] if isinstance(modules, str) else modules
    base = config.base_model_name_or_path
    parts = (
        f"{name} of {printable(base, 100) if base else 'a base that is not named'}",
        f"rank {', '.join(map(str, ranks))}",
        f"alpha {config.lora_alpha:g}",
        f"for {', '.join(printable(word, 60) for word in words) or 'modules not named'}",
    )
    return name, f"{', '.join(parts)}; {inventory.num_parameters:,} trainable parameters"


def _ranks(inventory: Inventory) -> list[int]:
    """Return the ranks of a GGUF file's adapters, whose A are [rank, inputs]."""
    columns = inventory.columns
    shapes = [
        columns.kind(index).shape
        for index, key in enumerate(columns.keys)
        if name_of(key).endswith("lora_a")
    ]
    return sorted({shape[0] for shape in shapes if shape})
