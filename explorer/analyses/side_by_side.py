"""Two inventories as one folded tree: what each module has in the one and in the other."""

import re
from collections import Counter
from collections.abc import Sequence

import msgspec

from explorer.analyses.collapse import Row, collapse, compact
from explorer.inventory.inventory import Inventory

__all__ = ["Pair", "name_of_both", "paired_rows", "side_by_side"]

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
        return name_of_both(self.before, self.after)

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


def name_of_both(before: Row | None, after: Row | None) -> str:
    """Return the name of a row in both; "layers_[0-11] -> [0-23]" where the numbers differ."""
    names = [row.name for row in (before, after) if row is not None]
    first, last = names[0], names[-1]
    if first == last:
        return first
    changed = _NUMBERS.search(last)
    return f"{first} -> {changed[0] if changed else last}"


def paired_rows(
    before: Sequence[Row], after: Sequence[Row]
) -> list[tuple[int | None, int | None]]:
    """Return which row of the one is which of the other, by index; None where it is missing."""
    old, new = _by_name(before), _by_name(after)
    keys = [*old, *(key for key in new if key not in old)]
    return [(old.get(key), new.get(key)) for key in keys]


def _paired(before: Row | None, after: Row | None) -> Pair:
    old, new = (() if row is None else row.children for row in (before, after))
    children = tuple(
        _paired(None if i is None else old[i], None if j is None else new[j])
        for i, j in paired_rows(old, new)
    )
    return Pair(before=before, after=after, children=children)


def _by_name(rows: Sequence[Row]) -> dict[tuple[str, int], int]:
    """Return indices by name without the numbers of blocks, and how many had it before."""
    found: dict[tuple[str, int], int] = {}
    times: Counter[str] = Counter()
    for index, row in enumerate(rows):
        name = _NUMBERS.sub("[*]", row.name)
        found[name, times[name]] = index
        times[name] += 1
    return found


def _of(row: Row | None) -> tuple | None:
    """Return what is compared of one side."""
    if row is None:
        return None
    parts = tuple((part.name, part.shape, part.dtypes) for part in row.parts)
    return row.copies, row.shape, row.dtypes, row.parameters, row.nbytes, row.tensors, parts
