"""Notes: whole sentences that explain each difference between a ledger's figures."""

from explorer.inventory import PARAMS, Inventory
from explorer.paths import name_of

__all__ = ["notes_of"]

_MTP = "mtp"


def notes_of(inventory: Inventory) -> list[str]:
    """Return what explains the difference between what is stored and what is counted."""
    return [
        *_state_notes(inventory),
        *_packing_notes(inventory),
        *_tie_notes(inventory),
        *(text for _, text in inventory.assumptions[:5]),
        *inventory.remarks,
    ]


def _state_notes(inventory: Inventory) -> list[str]:
    """One sentence for each kind of stored thing that is no parameter."""
    groups: dict[tuple[str, str], tuple[int, int]] = {}
    for kind, named, _ in inventory.kinds:
        if not kind.is_parameter:
            key = (kind.collection, "" if kind.collection == _MTP else kind.rule)
            tensors, elements = groups.get(key, (0, 0))
            groups[key] = tensors + named, elements + named * kind.stored_size
    return [
        _state_note(collection, rule, tensors, elements)
        for (collection, rule), (tensors, elements) in groups.items()
    ]


_COLLECTION_WORDS = {
    "buffers": "are buffers",
    "batch_stats": "are running statistics",
    "cache": "are a cache",
    "opt_state": "are optimizer state",
    "rng_state": "are random-number state",
    "quantization": "are quantisation state",
}


def _state_note(collection: str, rule: str, tensors: int, elements: int) -> str:
    if collection == _MTP:
        return (
            f"{tensors:,} tensors of a multi-token-prediction layer: {elements:,} elements "
            "are reported apart, as the running model leaves them out"
        )
    words = _COLLECTION_WORDS.get(collection, f"are {collection}")
    if not rule:
        plural = "" if tensors == 1 else "s"
        return f"{tensors:,} tensor{plural}, {elements:,} elements, {words}, not parameters"
    what = f"{tensors:,} {rule}" if tensors > 1 else f"{rule} (one tensor)"
    return f"{what}: {elements:,} elements {words}, not parameters"


def _packing_notes(inventory: Inventory) -> list[str]:
    groups: dict[str, list[int]] = {}
    for kind, _, unique in inventory.kinds:
        if kind.stored and kind.collection == PARAMS and kind.stored_size != kind.size:
            row = groups.setdefault(kind.rule, [0, 0, 0])
            row[0] += unique
            row[1] += unique * kind.stored_size
            row[2] += unique * kind.size
    return [
        f"{tensors:,} tensors packed by {rule}: {stored:,} stored words are {size:,} parameters"
        for rule, (tensors, stored, size) in groups.items()
    ]


def _tie_notes(inventory: Inventory) -> list[str]:
    by_key = {tensor.key: tensor for tensor in inventory.tensors} if inventory.ties else {}
    notes = []
    for tie in inventory.ties:
        owner = tie.keys[0]
        for key in tie.keys[1:]:
            tied = f"{name_of(key)} is tied to {name_of(owner)}"
            if key in by_key:
                size = by_key[key].size
                notes.append(f"{tied} ({tie.by}): {size:,} stored elements count once")
            else:
                notes.append(f"{tied} and not stored ({tie.by})")
    shown = notes[:6]
    if len(notes) > len(shown):
        shown.append(f"{len(notes) - len(shown):,} more tied names")
    return shown
