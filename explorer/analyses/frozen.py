"""Parameters that are stored and counted, and that no training changes: said beside the count.

Whisper's encoder, what is built on it, and masked autoencoders add sinusoids that their reference
implementations keep as a parameter with requires_grad=False. Published totals include them.
"""

from explorer.inventory.inventory import Inventory
from explorer.paths import name_of, path_of

__all__ = ["frozen_note"]

_Path = tuple[str, ...]
_TABLE = "embed_positions"
_BESIDE = ("conv1", "conv2")  # over time: no other encoder has both beside a table
_DECODER = "decoder_pos_embed"  # of a masked autoencoder
_ENCODERS = ("pos_embed", "position_embeddings")


def frozen_note(inventory: Inventory) -> list[str]:
    """Return a sentence for each frozen table of positions: of speech, of masked images.

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
        if kind.is_parameter and kind.role == "embedding" and len(kind.shape) in (2, 3)
    }
    found: dict[_Path, int] = {}
    for index, number in enumerate(columns.numbers):
        if number in tables:
            path = path_of(columns.keys[index])
            if path[-2:-1] == (_TABLE,) or path[-1] in (_DECODER, *_ENCODERS):
                found[path] = index
    chosen = _frozen(list(found), inventory) if found else []
    return [
        _sentence(inventory, columns.keys[found[path]], columns.kind(found[path]).size)
        for path in chosen
    ]


def _frozen(paths: list[_Path], inventory: Inventory) -> list[_Path]:
    """Return those of the tables that the reference freezes, by what is beside them."""
    is_masked = any(path[-1] == _DECODER for path in paths)
    speech = [path for path in paths if path[-2:-1] == (_TABLE,)]
    filters = _filters(inventory) if speech else set()
    return [
        path
        for path in paths
        if (is_masked and path[-1] in (_DECODER, *_ENCODERS))
        or (path in speech and all((*path[:-2], name) in filters for name in _BESIDE))
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
