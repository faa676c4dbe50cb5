"""Which rows are on the screen and in which order: one record, and functions to the next one."""

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from explorer.browsing.outline import ItemPath, Outline, OutlineItem

__all__ = [
    "ORDERS",
    "RowOrder",
    "RowView",
    "children_of",
    "first_view",
    "opened_to",
    "rows_of",
    "split_at",
    "toggled",
]

RowOrder = Literal["source", "name", "parameters", "bytes"]
ORDERS: tuple[RowOrder, ...] = ("source", "parameters", "bytes", "name")
_KEYS: dict[str, Callable[[OutlineItem], Any]] = {
    "name": lambda item: item.name,
    "parameters": lambda item: -max(map(item.parameters, range(len(item.sides)))),
    "bytes": lambda item: -max(map(item.nbytes, range(len(item.sides)))),
}


class RowView(msgspec.Struct, frozen=True):
    """What was done to the rows of an outline.

    Attributes:
        opened: rows whose rows below are shown.
        split: folded rows whose copies are shown, one by one, in the place of those.
        order: of rows below one another.
        changes_only: of two targets, whether rows that are equal in both are left out.
    """

    opened: frozenset[ItemPath] = frozenset([()])
    split: frozenset[ItemPath] = frozenset()
    order: RowOrder = "source"
    changes_only: bool = False


def first_view(outline: Outline, most: int = 40) -> RowView:
    """Return a view in which as many levels are open as fit: all of a small model, as `show`.

    Args:
        outline: whose rows to show.
        most: rows that may be shown; those of the first level always are.

    >>> import explorer as ex
    >>> outline = Outline([ex.explore("gpt2")])
    >>> [outline.item(path).name for path in rows_of(outline, first_view(outline, 8))]
    ['embed', 'position_embed', 'layers_[0-11]', 'attention_norm', 'attention', 'mlp_norm', 'mlp', 'final_norm']
    """
    opened: set[ItemPath] = {()}
    level = outline.below(())
    shown = len(level)
    while shown <= most and level:
        modules = [p for p in level if _is_module(outline.item(p))]
        more = sum(_number_below(outline.item(path)) for path in modules)
        if not modules or shown + more > most:
            break
        opened.update(modules)
        shown += more
        level = tuple(below for path in modules for below in outline.below(path))
    return RowView(opened=frozenset(opened))


def rows_of(outline: Outline, view: RowView) -> list[ItemPath]:
    """Return the paths of the rows that are shown, from the first to the last."""
    found: list[ItemPath] = []
    todo = [iter(children_of(outline, view, ()))]
    while todo:
        path = next(todo[-1], None)
        if path is None:
            todo.pop()
            continue
        found.append(path)
        if path in view.opened:
            todo.append(iter(children_of(outline, view, path)))
    return found


def children_of(outline: Outline, view: RowView, path: ItemPath) -> list[ItemPath]:
    """Return the paths of the rows below a row, in the order of a view."""
    paths = list(outline.copies(path) if path in view.split else outline.below(path))
    if view.changes_only:
        paths = [each for each in paths if outline.differs(each)]
    if view.order != "source":
        key = _KEYS[view.order]
        paths.sort(key=lambda each: key(outline.item(each)))
    return paths


def toggled(outline: Outline, view: RowView, path: ItemPath) -> RowView:
    """Return the view in which a closed row is open, or an open one closed."""
    if path in view.opened:
        return msgspec.structs.replace(view, opened=view.opened - {path})
    if not outline.item(path).is_open_to and path not in view.split:
        return view
    return msgspec.structs.replace(view, opened=view.opened | {path})


def split_at(outline: Outline, view: RowView, path: ItemPath) -> RowView:
    """Return the view in which a folded row has its copies below it, or folds again."""
    if not outline.item(path).is_folded:
        return view
    # what is open below was of other rows
    opened = frozenset(each for each in view.opened if each[: len(path)] != path)
    split = frozenset(each for each in view.split if each[: len(path)] != path)
    if path not in view.split:
        split |= {path}
    return msgspec.structs.replace(view, opened=opened | {path}, split=split)


def opened_to(view: RowView, path: ItemPath) -> RowView:
    """Return the view in which all rows above a row are open."""
    above = {path[:depth] for depth in range(len(path))}
    return msgspec.structs.replace(view, opened=view.opened | above)


def _is_module(item: OutlineItem) -> bool:
    """Return whether `show` has rows below it: parts of a module are in its own row."""
    return any(
        side is not None and side.groups and not side.row.parts for side in item.sides
    )


def _number_below(item: OutlineItem) -> int:
    return max(len(side.groups) for side in item.sides if side is not None)
