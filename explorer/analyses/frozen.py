"""Parameters that are stored and counted, and that no training changes: said beside the count.

Whisper's encoder, and what is built on it, adds sinusoids that its reference implementation
keeps as a parameter with requires_grad=False. Published totals include them.
"""

from explorer.inventory.inventory import Inventory
from explorer.paths import name_of, path_of

__all__ = ["frozen_note"]

_TABLE = "embed_positions"
_BESIDE = ("conv1", "conv2")  # over time: no other encoder has both beside a table


def frozen_note(inventory: Inventory) -> list[str]:
    """Return a sentence on the frozen positions of a speech encoder, if there are any.

    >>> import explorer as ex, numpy as np
    >>> encoder = {n: {"weight": np.ones((4, 4, 3))} for n in ("conv1", "conv2")}
    >>> encoder["embed_positions"] = {"weight": np.ones((8, 4))}
    >>> frozen_note(ex.explore({"encoder": encoder}))[0][:56]
    'encoder/embed_positions/weight (32 elements) is a table '
    """
    if inventory.parameters_by in ("source", "model"):
        return []
    columns = inventory.columns
    tables = {
        number
        for number, kind in enumerate(columns.kinds)
        if kind.is_parameter and kind.role == "embedding" and len(kind.shape) == 2
    }
    found: dict[tuple[str, ...], int] = {}
    for index, number in enumerate(columns.numbers):
        if number in tables:
            path = path_of(columns.keys[index])
            if path[-2:-1] == (_TABLE,):
                found[path] = index
    if not found:
        return []
    filters = _filters(inventory)
    return [
        _sentence(inventory, columns.keys[index], columns.kind(index).size)
        for path, index in found.items()
        if all((*path[:-2], name) in filters for name in _BESIDE)
    ]


def _filters(inventory: Inventory) -> set[tuple[str, ...]]:
    """Return the modules that hold a kernel over one axis of time."""
    columns = inventory.columns
    kernels = {n for n, kind in enumerate(columns.kinds) if len(kind.shape) == 3}
    return {
        path_of(columns.keys[index])[:-1]
        for index, number in enumerate(columns.numbers)
        if number in kernels
    }


def _sentence(inventory: Inventory, key: str | tuple[str, ...], size: int) -> str:
    total = inventory.num_parameters
    return (
        f"{name_of(key)} ({size:,} elements) is a table of sinusoids that the reference "
        f"implementation freezes: it is counted, as in published totals, {size / total:.1%} of "
        f"the parameters; {total - size:,} are trained"
    )
