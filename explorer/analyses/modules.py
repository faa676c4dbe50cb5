"""Two inventories module by module: what each row of their common tree holds in either."""

from collections.abc import Iterator

import msgspec

from explorer.analyses.collapse import Row
from explorer.analyses.side_by_side import Pair, side_by_side
from explorer.inventory.inventory import Inventory

__all__ = ["ComparedModule", "ModuleSide", "modules_of"]


class ModuleSide(msgspec.Struct, frozen=True, kw_only=True):
    """What a module or a tensor holds in one of two inventories.

    `shapes` are those of its own tensors, each behind the sizes of the axes that stack it.
    """

    tensors: int
    parameters: int
    nbytes: int
    shapes: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = ()
    dtypes: tuple[str, ...] = ()


class ComparedModule(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the tree of two inventories; None for a side that lacks it.

    `parameters` and `nbytes` are those of the second less those of the first.
    """

    name: str
    level: int
    a: ModuleSide | None
    b: ModuleSide | None
    parameters: int
    nbytes: int


def modules_of(a: Inventory, b: Inventory) -> tuple[ComparedModule, ...]:
    """Return the whole of two inventories and, below it, their modules: those that differ opened.

    >>> import explorer as ex
    >>> found = modules_of(ex.explore({"w": [0.0]}), ex.explore({"w": [0.0], "b": [0.0]}))
    >>> [(each.name, each.level, each.parameters) for each in found]
    [('', 0, 1), ('w', 1, 0), ('b', 1, 1)]
    """
    return tuple(_rows(side_by_side(a, b), 0))


def _rows(pair: Pair, level: int) -> Iterator[ComparedModule]:
    a, b = _side(pair.before), _side(pair.after)
    yield ComparedModule(
        name=pair.name if level else "",
        level=level,
        a=a,
        b=b,
        parameters=(b.parameters if b else 0) - (a.parameters if a else 0),
        nbytes=(b.nbytes if b else 0) - (a.nbytes if a else 0),
    )
    if pair.differs or not level:
        for child in pair.children:
            yield from _rows(child, level + 1)


def _side(row: Row | None) -> ModuleSide | None:
    if row is None:
        return None
    parts = row.parts or ((row,) if row.collection else ())
    shown = [part for part in parts if part.collection == "params"] or list(parts)
    return ModuleSide(
        tensors=row.tensors,
        parameters=row.parameters,
        nbytes=row.nbytes,
        shapes=tuple((part.stack, part.shape or ()) for part in shown),
        dtypes=tuple(dict.fromkeys(name for part in shown for name in part.dtypes)),
    )
