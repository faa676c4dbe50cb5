"""Inventories of parts -> the inventory of the whole: every total adds up by construction."""

from collections.abc import Sequence
from itertools import chain

from explorer.inventory.columns import Columns
from explorer.inventory.inventory import Basis, Inventory
from explorer.inventory.tensor import Kind, Tie
from explorer.paths import Key, path_of

__all__ = ["merged"]


# the whole is as well known as the part that is known least
_LEAST: tuple[Basis, ...] = ("source", "model", "collection", "use", "name", "format")


def merged(parts: Sequence[tuple[str, Inventory]], target: str, source: str) -> Inventory:
    """Return the inventory of what several parts hold together.

    Args:
        parts: each part's name and inventory. The name comes before each path of the part,
            and before its remarks; the part named "" keeps its keys.
        target: the name the user gave.
        source: the kind of target.

    >>> kind = Kind((2,), "float32", 2, 8, "bias", "mlp", "params")
    >>> part = Inventory(Columns(["b"], [kind], [0]))
    >>> whole = merged([("", part), ("head", part)], "m", "parts")
    >>> [t.name for t in whole], whole.num_parameters
    (['b', 'head/b'], 4)
    """
    inventories = [inventory for _, inventory in parts]
    sizes = [inventory.file_bytes for inventory in inventories]
    return Inventory(
        columns=_columns(parts),
        target=target,
        source=source,
        ties=tuple(
            Tie(tuple(_key(name, key) for key in tie.keys), tie.by, tie.shown)
            for name, inventory in parts
            for tie in inventory.ties
        ),
        file_bytes=None if None in sizes else sum(filter(None, sizes)),
        files=sum(inventory.files for inventory in inventories),
        role_by=inventories[0].role_by,
        parameters_by=_LEAST[max(_LEAST.index(i.parameters_by) for i in inventories)],
        remarks=tuple(
            f"{name}: {remark}" if name else remark
            for name, inventory in parts
            for remark in inventory.remarks
        ),
        rules=tuple(dict.fromkeys(chain.from_iterable(i.rules for i in inventories))),
        assumptions=tuple(chain.from_iterable(i.assumptions for i in inventories)),
    )


def _columns(parts: Sequence[tuple[str, Inventory]]) -> Columns:
    keys: list[Key] = []
    numbers: list[int] = []
    aliases: list[int] = []
    shardings = {}
    kinds: dict[Kind, int] = {}
    for name, inventory in parts:
        columns, begin = inventory.columns, len(keys)
        new = [kinds.setdefault(kind, len(kinds)) for kind in columns.kinds]
        keys += [_key(name, key) for key in columns.keys]
        numbers += [new[number] for number in columns.numbers]
        aliases += [begin + index for index in columns.aliases]
        shardings |= {begin + index: held for index, held in columns.shardings.items()}
    return Columns(keys, list(kinds), numbers, aliases, shardings)


def _key(part: str, key: Key) -> Key:
    return (*part.split("/"), *path_of(key)) if part else key
