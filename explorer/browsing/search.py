"""Tensors whose name has a part, and the rows to look at for them."""

from collections.abc import Iterator, Sequence

import msgspec

from explorer.browsing.outline import ItemPath, Outline, plain_name
from explorer.browsing.state import RowView, children_of
from explorer.inventory.gc_pause import paused_gc

__all__ = ["NameHits", "find", "next_hit", "number_of_hits"]


Hit = tuple[tuple[str, ...], int]


class NameHits(msgspec.Struct, frozen=True):
    """What a search found.

    Attributes:
        text: that was searched for.
        tensors: how many tensors have it in their names.
        paths: the rows to look at, in the order of the screen. Each tensor that was found
            is in one of them: in the first row from the root whose names have the text, or
            in the row that shows it with its module.
    """

    text: str = ""
    tensors: int = 0
    paths: tuple[ItemPath, ...] = ()


@paused_gc()
def find(outline: Outline, view: RowView, text: str) -> NameHits:
    """Return the tensors whose name has a text in it, in upper or lower case.

    Names are joined by "/"; a text with dots finds them too.

    >>> import explorer as ex
    >>> from explorer.browsing.state import first_view
    >>> outline = Outline([ex.explore("gpt2")])
    >>> found = find(outline, first_view(outline), "Query")
    >>> found.tensors, [outline.item(path).name for path in found.paths]
    (24, ['query'])
    """
    wanted = plain_name(text)
    if not wanted:
        return NameHits()
    paths: set[ItemPath] = set()
    number = 0
    for side, names in enumerate(outline.names):
        found = [i for i, name in enumerate(names) if wanted in name]
        number += len(found)
        if found:
            trails = outline.places[side].trails()
            hits = [(trails[i], _levels(trails[i], wanted)) for i in found]
            _collect(outline, view, side, (), hits, paths)
    return NameHits(text, number, tuple(_ordered(outline, view, (), paths)))


def number_of_hits(outline: Outline, text: str) -> int:
    """Return how many tensors have a text in their names, without looking for their rows."""
    wanted = plain_name(text)
    if not wanted:
        return 0
    return sum(wanted in name for names in outline.names for name in names)


def next_hit(
    outline: Outline, view: RowView, hits: NameHits, path: ItemPath, step: int
) -> ItemPath | None:
    """Return the row of the next hit after a row, or before it; from the other end after the last.

    Args:
        outline, view: the rows, in their order.
        hits: of a search in this view.
        path: where to begin.
        step: 1 for the next one, -1 for the one before.
    """
    if not hits.paths:
        return None
    places = _Places(outline, view)
    here, order = places.of(path), hits.paths if step > 0 else hits.paths[::-1]
    for hit in order:
        place = places.of(hit)
        if (place > here) if step > 0 else (place < here):
            return hit
    return order[0]


def _levels(trail: Sequence[str], wanted: str) -> int:
    """Return how many names of a trail, from the root, have the text between them."""
    begin = plain_name("/".join(trail)).find(wanted)
    length = -1
    for level, name in enumerate(trail, 1):
        length += 1 + len(name.casefold())
        if begin >= 0 and length >= begin + len(wanted):
            return level
    return len(trail)  # in the name as its source spells it alone


def _collect(
    outline: Outline,
    view: RowView,
    side: int,
    path: ItemPath,
    hits: list[Hit],
    found: set[ItemPath],
) -> None:
    """Add the first rows from the root that have all names of hits up to their levels.

    Args:
        outline, view: the rows.
        side: the target that has the tensors.
        path: the row in which all of them are.
        hits: the names that lead to each, and how many of those the row must have.
        found: to which paths are added.
    """
    branch = outline.item(path).sides[side]
    depth = len(branch.pattern) if branch is not None else 0
    below: dict[ItemPath | None, list[Hit]] = {}
    if path in view.split:
        at, rows = outline.copies_by_name(path)
    else:
        at, rows = depth, outline.rows_by_name(path, side)
    for hit in hits:
        trail, levels = hit
        row = (
            rows.get(trail[at])
            if at < len(trail) and (depth < levels or not path)
            else None
        )
        below.setdefault(row, []).append(hit)
    for row, inside in below.items():
        if row is None:
            found.add(path)
        elif outline.is_whole(row):
            found.add(row)
        else:
            _collect(outline, view, side, row, inside, found)


def _ordered(
    outline: Outline, view: RowView, path: ItemPath, paths: set[ItemPath]
) -> Iterator[ItemPath]:
    """Yield paths below a row in the order of the screen."""
    by_row: dict[ItemPath, set[ItemPath]] = {}
    depth = len(path) + 1
    for each in paths:
        if len(each) >= depth:
            by_row.setdefault(each[:depth], set()).add(each)
    for row in children_of(outline, view, path) if by_row else ():
        if row not in by_row:
            continue
        inside = by_row[row]
        if row in inside:
            yield row
        if len(inside) > 1 or row not in inside:
            yield from _ordered(outline, view, row, inside)


class _Places:
    """Where rows are in the order of a view: positions among their neighbours."""

    def __init__(self, outline: Outline, view: RowView):
        self._outline, self._view = outline, view
        self._ranks: dict[ItemPath, dict[ItemPath, int]] = {}

    def of(self, path: ItemPath) -> tuple[int, ...]:
        """Return what sorts as the screen does."""
        return tuple(self._rank(path[:depth]) for depth in range(1, len(path) + 1))

    def _rank(self, path: ItemPath) -> int:
        above = path[:-1]
        if above not in self._ranks:
            paths = children_of(self._outline, self._view, above)
            self._ranks[above] = {each: rank for rank, each in enumerate(paths)}
        return self._ranks[above].get(path, -1)
