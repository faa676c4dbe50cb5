"""Two inventories as one folded tree: what each module has in the one and in the other."""

import re

import msgspec

from explorer.analyses.collapse import Row, collapse, compact
from explorer.inventory.inventory import Inventory

__all__ = ["Pair", "side_by_side"]

_NUMBERS = re.compile(r"\[[0-9,\-]+\]")


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """A module or a tensor in two inventories; None where one of them lacks it.

    `children` are those of both; each side of them adds up to that side of this one.
    """

    before: Row | None
    after: Row | None
    children: tuple["Pair", ...] = ()

    @property
    def name(self) -> str:
        """The name in both; "layers_[0-11] -> [0-23]" where the numbers differ."""
        names = [row.name for row in (self.before, self.after) if row is not None]
        first, last = names[0], names[-1]
        if first == last:
            return first
        changed = _NUMBERS.search(last)
        return f"{first} -> {changed[0] if changed else last}"

    @property
    def differs(self) -> bool:
        """Whether anything in it differs: what there is, shapes, formats or sizes."""
        return _of(self.before) != _of(self.after) or any(c.differs for c in self.children)


def side_by_side(a: Inventory, b: Inventory) -> Pair:
    """Return the folded trees of two inventories as one.

    Modules are paired by name; repeated blocks whatever their numbers are.

    >>> import explorer as ex
    >>> pair = side_by_side(ex.explore({"a": [0.0]}), ex.explore({"a": [0.0, 1.0], "b": 0.0}))
    >>> [(each.name, each.differs) for each in pair.children]
    [('a', True), ('b', True)]
    """
    return _paired(compact(collapse(a)), compact(collapse(b)))


def _paired(before: Row | None, after: Row | None) -> Pair:
    old, new = _by_name(before), _by_name(after)
    keys = [*old, *(key for key in new if key not in old)]
    children = tuple(_paired(old.get(key), new.get(key)) for key in keys)
    return Pair(before=before, after=after, children=children)


def _by_name(row: Row | None) -> dict[tuple[str, int], Row]:
    """Return children by name without the numbers of blocks, and how many had it before."""
    found: dict[tuple[str, int], Row] = {}
    for child in () if row is None else row.children:
        name = _NUMBERS.sub("[*]", child.name)
        found[name, sum(1 for other, _ in found if other == name)] = child
    return found


def _of(row: Row | None) -> tuple | None:
    """Return what is compared of one side."""
    if row is None:
        return None
    parts = tuple((part.name, part.shape, part.dtypes) for part in row.parts)
    return row.copies, row.shape, row.dtypes, row.parameters, row.nbytes, row.tensors, parts
