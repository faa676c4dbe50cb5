"""The note of a mixture of experts that no config describes: active parameters are not known."""

from explorer.inventory.experts import Mixture, find_experts
from explorer.inventory.inventory import Inventory
from explorer.paths import name_of

__all__ = ["experts_note", "experts_of"]

_UNKNOWN = (
    "no config says how many of them a token uses, so that active parameters are not known"
)


def experts_of(inventory: Inventory) -> list[Mixture]:
    """Return the mixtures of experts that an inventory's shapes show, whatever their names.

    >>> import explorer as ex, numpy as np
    >>> shapes = {"a": (4, 8, 16), "b": (4, 16, 8), "c": (8, 4)}
    >>> experts_of(ex.explore({n: np.ones(s, "float32") for n, s in shapes.items()}))[0].number
    4
    """
    columns = inventory.columns
    kinds = [
        kind.is_parameter and len(kind.shape) > 1 and kind.component != "attention"
        for kind in columns.kinds
    ]
    if not any(ok and len(k.shape) > 2 for ok, k in zip(kinds, columns.kinds, strict=True)):
        return []
    return find_experts(
        (tuple(name_of(key).split("/")), columns.kinds[number].shape)
        for key, number in zip(columns.keys, columns.numbers, strict=True)
        if kinds[number]
    )


def experts_note(inventory: Inventory) -> list[str]:
    """Return the note of a model whose architecture does not say how many experts a token
    uses; none of another model."""
    if inventory.is_declared or (inventory.card is not None and inventory.card.experts):
        return []
    named = inventory.total(
        lambda kind: kind.size,
        lambda kind: kind.is_parameter and kind.component == "experts",
    )
    found = experts_of(inventory)
    if found:
        first, size = found[0], sum(mixture.parameters for mixture in found)
        where = f"experts seen by structure, {first.number} beside {'/'.join(first.router)}"
        return [f"{where}: {max(size, named):,} parameters; {_UNKNOWN}"]
    return [f"{named:,} parameters are of experts; {_UNKNOWN}"] if named else []
