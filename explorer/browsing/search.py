"""Tensors whose name has a part, and the rows to look at for them."""

from collections.abc import Sequence

import msgspec

from explorer.browsing.outline import ItemPath, Outline
from explorer.browsing.state import RowView, children_of

__all__ = ["NameHits", "find", "next_hit"]


class NameHits(msgspec.Struct, frozen=True):
    """What a search found.

    Attributes:
        text: that was searched for.
        tensors: how many tensors have it in their names.
        paths: the rows to look at, in the order of the screen. Each tensor that was found
            is in one of them: in the first row from the root whose names have the text.
    """

    text: str = ""
    tensors: int = 0
    paths: tuple[ItemPath, ...] = ()


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
    wanted = _plain(text)
    if not wanted:
        return NameHits()
    paths: dict[ItemPath, None] = {}
    number = 0
    for side, names in enumerate(outline.names):
        found = [i for i, name in enumerate(names) if wanted in _plain(name)]
        number += len(found)
        if found:
            trails = outline.places[side].trails()
            for index in found:
                paths[_row_of(outline, view, side, trails[index], wanted)] = None
    ordered = sorted(paths, key=_Places(outline, view).of)
    return NameHits(text, number, tuple(ordered))


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


def _plain(text: str) -> str:
    return text.casefold().replace(".", "/")


def _row_of(
    outline: Outline, view: RowView, side: int, trail: Sequence[str], wanted: str
) -> ItemPath:
    """Return the first row from the root whose names have the text, on the way to a tensor."""
    path: ItemPath = ()
    while True:
        depth = _depth(outline, path, side)
        if path and wanted in _plain("/".join(trail[:depth])):
            return path
        below = _below(outline, view, path, side, trail, depth)
        if below is None:
            return path
        path = below


def _below(
    outline: Outline,
    view: RowView,
    path: ItemPath,
    side: int,
    trail: Sequence[str],
    depth: int,
) -> ItemPath | None:
    """Return the row below a row that has a tensor."""
    if path in view.split:
        return next(p for p in outline.copies(path) if _has(outline, p, side, trail, 0))
    if depth >= len(trail):
        return None
    candidates = outline.with_first(path, side, trail[depth])
    return next((p for p in candidates if _has(outline, p, side, trail, depth)), None)


def _has(
    outline: Outline, path: ItemPath, side: int, trail: Sequence[str], depth: int
) -> bool:
    branch = outline.item(path).sides[side]
    return branch is not None and all(
        at < len(trail) and trail[at] in branch.pattern[at]
        for at in range(depth, len(branch.pattern))
    )


def _depth(outline: Outline, path: ItemPath, side: int) -> int:
    branch = outline.item(path).sides[side]
    return 0 if branch is None else len(branch.pattern)


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
