"""Rows as pieces of text that line up, each with the word that decides its colour."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from explorer.analyses.collapse import Row
from explorer.browsing.outline import ItemPath, Outline, OutlineItem
from explorer.browsing.state import RowView
from explorer.document.widths import clip, width_of
from explorer.errors import printable
from explorer.views import units

__all__ = ["CellText", "header_pieces", "row_pieces", "share_strip"]

_BAR = 8  # cells of the bar of a share
_EIGHTHS = " ▏▎▍▌▋▊▉"
_BYTES = 8
_LEAST = 24  # cells of a name
_LONGEST = 400  # characters of a name that are read


class CellText(NamedTuple):
    """A piece of a line: its text, and a component, or a word for what it is."""

    text: str
    word: str = ""


class _Field(NamedTuple):
    """A column beside the names: its title and its cells."""

    title: str
    width: int


def _wanted(outline: Outline) -> tuple[list[_Field], tuple[int, ...]]:
    """Return all columns, and the order in which they give way."""
    digits = max(len(f"{outline.root.parameters(s):,}") for s in range(len(outline.trees)))
    digits = max(digits, len("parameters") + 2 * outline.is_pair)
    if outline.is_pair:
        wanted = [
            _Field("parameters A", digits),
            _Field("parameters B", digits),
            _Field("B - A", digits + 1),
            _Field("bytes B - A", len("bytes B - A")),
        ]
        order = (3, 0, 1)
    else:
        wanted = [
            _Field("shape", 22),
            _Field("parameters", digits),
            _Field("share", _BAR),
            _Field("bytes", _BYTES),
        ]
        order = (0, 2, 3)
    return wanted, order


def _fields(outline: Outline, width: int) -> list[_Field]:
    """Return the columns that fit beside names, in order."""
    wanted, order = _wanted(outline)
    given_up = iter(order)
    kept = list(range(len(wanted)))
    least = _LEAST + 2 * (not outline.is_pair)
    while sum(wanted[n].width + 2 for n in kept) + least > width and len(kept) > 1:
        kept.remove(next(given_up))
        least = _LEAST
    return [wanted[n] for n in kept]


def header_pieces(outline: Outline, width: int) -> list[CellText]:
    """Return the titles of the columns, and how many have no room."""
    fields = _fields(outline, width)
    names = width - sum(field.width + 2 for field in fields)
    hidden = len(_wanted(outline)[0]) - len(fields)
    name = f"  name ({hidden} hidden)" if hidden else "  name"
    pieces = [CellText(_left(name, names), "title")]
    for field in fields:
        side = _left if field.title in ("shape", "share") else _right
        pieces.append(CellText(f"  {side(field.title, field.width)}", "title"))
    return pieces


def row_pieces(
    outline: Outline, view: RowView, path: ItemPath, width: int
) -> list[CellText]:
    """Return a row as pieces that fill a line: its name below its level, then its figures.

    Args:
        outline, view: the rows.
        path: of the row.
        width: cells.
    """
    item = outline.item(path)
    fields = _fields(outline, width)
    names = width - sum(field.width + 2 for field in fields)
    components = {} if outline.is_pair else _components(item)
    component = next(iter(components)) if len(components) == 1 else ""
    is_equal = outline.is_pair and not outline.differs(path)
    mark = "▾ " if path in view.opened else "▸ " if item.is_open_to else "  "
    indent = "  " * (len(path) - 1)
    name = clip(printable(item.name or '""', _LONGEST), max(names - len(indent) - 2, 4))
    pieces = [
        CellText(f"{indent}{mark}", component or "mark"),
        CellText(name, "equal" if is_equal else "name"),
        CellText(" " * (names - len(indent) - 2 - width_of(name))),
    ]
    for field in fields:
        if field.title == "share":
            pieces += [CellText("  "), *_bar(components, outline.root.parameters())]
        else:
            text, word = _figure(item, field)
            pieces.append(CellText(f"  {text}", "equal" if is_equal else word))
    return pieces


def _figure(item: OutlineItem, field: _Field) -> tuple[str, str]:
    """Return a cell of a column, and the word for its colour."""
    row, width = item.first.row, field.width
    match field.title:
        case "shape":
            return _left(clip(_shapes(row), width), width), "dim"
        case "parameters":
            return _right(f"{row.parameters:,}", width), "number"
        case "bytes":
            return _right(units.size(row.nbytes), width), "dim"
        case "parameters A" | "parameters B":
            side = "AB".index(field.title[-1])
            there = item.sides[side] is not None
            return _right(f"{item.parameters(side):,}" if there else "-", width), "number"
        case "B - A":
            more = item.parameters(1) - item.parameters(0)
            word = "more" if more > 0 else "less" if more < 0 else "dim"
            return _right(f"{more:+,}" if more else "=", width), word
        case _:
            more = item.nbytes(1) - item.nbytes(0)
            word = "more" if more > 0 else "less" if more < 0 else "dim"
            return _right(units.change(more) or "=", width), word


def _components(item: OutlineItem) -> dict[str, int]:
    """Return the parameters of each component in a row, the largest first."""
    branch = item.first
    return dict(branch.tree.components(branch).most_common())


def _shapes(row: Row) -> str:
    parts = [part for part in row.parts if part.collection == "params"] or [row]
    return " + ".join(units.shape(part.shape, part.stack) for part in parts)


def _bar(components: Mapping[str, int], whole: int) -> list[CellText]:
    """Return a bar of a share, each cell in the colour of the component that is there.

    What is there is seen, however little.
    """
    part = sum(components.values())
    eighths = max(round(8 * _BAR * part / whole), 1) if part and whole else 0
    full, rest = divmod(eighths, 8)
    cells = "█" * full + (_EIGHTHS[rest] if rest else "")
    words = [
        piece.word
        for piece in share_strip([*components.items()], len(cells))
        for _ in piece.text
    ]
    pieces = [CellText(cell, word) for cell, word in zip(cells, words, strict=True)]
    return [*pieces, CellText(" " * (_BAR - len(cells)))]


def share_strip(shares: Sequence[tuple[str, int]], width: int) -> list[CellText]:
    """Return groups as one bar of all cells, each group with as many as its share.

    >>> [(len(piece.text), piece.word) for piece in share_strip([("mlp", 3), ("norm", 1)], 8)]
    [(6, 'mlp'), (2, 'norm')]
    """
    total = sum(number for _, number in shares)
    pieces, done, before = [], 0, 0
    for word, number in shares:
        done += number
        end = round(width * done / total) if total else 0
        if end > before:
            pieces.append(CellText("▀" * (end - before), word))
        before = end
    return pieces


def _left(text: str, width: int) -> str:
    return text + " " * (width - width_of(text))


def _right(text: str, width: int) -> str:
    return " " * (width - width_of(text)) + text
