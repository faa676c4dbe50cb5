"""Notes: whole sentences that explain each difference between a ledger's figures."""

from explorer.analyses.experts import experts_note
from explorer.analyses.frozen import frozen_note
from explorer.document.words import counted
from explorer.dtypes import is_trainable
from explorer.inventory.inventory import Inventory
from explorer.inventory.tensor import BUFFER_COLLECTIONS, PARAMS
from explorer.paths import Key, name_of

__all__ = ["notes_of"]

_MTP = "mtp"
_MOST = 6  # sentences of a sort
_DOUBTFUL = ("buffers", "ema", "opt_state", "state")
_MATTERS = 0.01  # share of the parameters from which a doubt is worth a word


def notes_of(inventory: Inventory) -> list[str]:
    """Return what explains the difference between what is stored and what is counted."""
    return [
        *_state_notes(inventory),
        *_packing_notes(inventory),
        *_tie_notes(inventory),
        *_assumption_notes(inventory),
        *frozen_note(inventory),
        *experts_note(inventory),
        *inventory.remarks,
    ]


def _state_notes(inventory: Inventory) -> list[str]:
    """One sentence for each kind of stored thing that is not a parameter."""
    groups: dict[tuple[str, str], tuple[int, int]] = {}
    doubtful: dict[tuple[str, str], int] = {}
    for kind, named, _ in inventory.kinds:
        if not kind.is_parameter:
            key = (kind.collection, "" if kind.collection == _MTP else kind.rule)
            tensors, elements = groups.get(key, (0, 0))
            groups[key] = tensors + named, elements + named * kind.stored_size
            in_doubt = kind.collection in _DOUBTFUL or kind.rule == "measured statistics"
            if in_doubt and kind.rule and is_trainable(kind.dtype):
                doubtful[key] = doubtful.get(key, 0) + named * kind.size
    return [
        _state_note(collection, rule, tensors, elements)
        + _doubt(inventory, (collection, rule), doubtful.get((collection, rule), 0))
        for (collection, rule), (tensors, elements) in groups.items()
    ]


def _doubt(inventory: Inventory, group: tuple[str, str], elements: int) -> str:
    """Return what names and shapes alone decided, where it is a share that matters."""
    share = elements / max(elements + inventory.num_parameters, 1)
    if share < _MATTERS or inventory.parameters_by in ("source", "model"):
        return ""
    columns = inventory.columns
    numbers = {n for n, k in enumerate(columns.kinds) if (k.collection, k.rule) == group}
    names = [
        name_of(key)
        for key, number in zip(columns.keys, columns.numbers, strict=True)
        if number in numbers
    ]
    more = f" and {len(names) - 2:,} more" if len(names) > 2 else ""
    return (
        f"; by names and shapes ({', '.join(names[:2])}{more}): were they learned, they would be "
        f"{share:.1%} of the parameters (like= with the model reads its types)"
    )


_COLLECTION_WORDS = {
    "opt_state": "optimizer state",
    "rng_state": "random-number state",
    "quantization": "quantisation state",
    "ema": "second copies",
    "watch": "first values, kept to be compared with",
}
# of these one tensor holds many: there are no "2 position ids" in two tensors
_MASS = ("ids", "frequencies", "factors", "statistics", "state", "keys")


def _state_note(collection: str, rule: str, tensors: int, elements: int) -> str:
    if collection == _MTP:
        return (
            f"{counted(tensors, 'tensor')} of multi-token-prediction layers: {elements:,} elements "
            "are reported separately, as the running model leaves them out"
        )
    if not rule:
        what = counted(tensors, "tensor")
    elif tensors == 1:
        what = f"{rule} (one tensor)"
    elif rule.endswith(_MASS):
        what = f"{tensors:,} tensors of {rule}"
    else:
        what = f"{tensors:,} {rule}"
    if elements == 1:
        return f"{what}: 1 element, not a parameter"
    is_buffer = collection in BUFFER_COLLECTIONS
    words = "buffers" if is_buffer else _COLLECTION_WORDS.get(collection, collection)
    return f"{what}: {elements:,} elements are {words}, not parameters"


def _packing_notes(inventory: Inventory) -> list[str]:
    groups: dict[str, list[int]] = {}
    for kind, _, unique in inventory.kinds:
        if kind.stored and kind.collection == PARAMS and kind.stored_size != kind.size:
            row = groups.setdefault(kind.rule, [0, 0, 0])
            row[0] += unique
            row[1] += unique * kind.stored_size
            row[2] += unique * kind.size
    return [
        f"{counted(tensors, 'tensor')} packed by {rule}: {stored:,} stored elements are {size:,} "
        "parameters"
        for rule, (tensors, stored, size) in groups.items()
    ]


def _tie_notes(inventory: Inventory) -> list[str]:
    """One sentence for the stored names of a group, one for those that no file stores."""
    tied = {key for tie in inventory.ties for key in tie.keys}
    columns = inventory.columns
    by_key = {
        key: columns.kind(index)
        for index, key in enumerate(columns.keys if tied else ())
        if key in tied
    }
    notes = []
    for tie in inventory.ties[:_MOST]:
        owner, *others = tie.keys
        stored = [key for key in others if key in by_key]
        absent = [key for key in others if key not in by_key]
        if stored:
            twice = sum(by_key[key].stored_size for key in stored)
            notes.append(
                f"{_tied(stored, owner)} ({tie.by}): {twice:,} stored elements count once"
            )
        if absent:
            notes.append(f"{_tied(absent, owner)} and not stored ({tie.by})")
    rest = [key for tie in inventory.ties[_MOST:] for key in tie.keys[1:] if key in by_key]
    if rest:
        twice = sum(by_key[key].stored_size for key in rest)
        notes.append(
            f"{counted(len(rest), 'tensor')} more under second names: {twice:,} stored elements "
            "count once"
        )
    return notes


def _tied(keys: list[Key], owner: Key) -> str:
    names = [name_of(key) for key in keys[:_MOST]]
    if len(keys) > _MOST:
        names.append(f"{len(keys) - _MOST:,} more")
    *first, last = names
    subject = f"{', '.join(first)} and {last} are" if first else f"{last} is"
    return f"{subject} tied to {name_of(owner)}"


def _assumption_notes(inventory: Inventory) -> list[str]:
    texts = [text for _, text in inventory.assumptions]
    more = len(texts) - _MOST
    return texts[:_MOST] + (
        [f"{more:,} more such pairs are counted separately"] if more > 0 else []
    )
