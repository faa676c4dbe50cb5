"""Tables of plain text that fit a given width, whatever the names in them."""

import unicodedata
from collections.abc import Sequence
from typing import Literal, NamedTuple

from explorer.errors import printable

__all__ = ["PLAIN", "Column", "Style", "clip", "render_table", "width_of"]


class Column(NamedTuple):
    """A column: its title, the side its text keeps to, and when it is left out.

    Columns of higher `rank` are left out first where the width is short; rank 0 stays.
    The one column that is `elastic` gives way before any is left out.
    """

    title: str
    align: Literal["left", "right"] = "left"
    rank: int = 0
    elastic: bool = False


class Style(NamedTuple):
    """How text is set off: escapes in a terminal, nothing in a pipe."""

    bold: str = ""
    dim: str = ""
    reset: str = ""


PLAIN = Style()
_ELASTIC_FLOOR = 24
_GAP = "  "


def width_of(text: str) -> int:
    """Return how many terminal cells a text takes.

    >>> width_of("norm"), width_of("層")
    (4, 2)
    """
    if text.isascii():
        return len(text)
    return sum(
        0
        if unicodedata.combining(c)
        else 2
        if unicodedata.east_asian_width(c) in "WF"
        else 1
        for c in text
    )


def clip(text: str, width: int) -> str:
    """Return a text of at most `width` cells; what is cut goes from its middle.

    >>> clip("encoder/layer/0/attention", 11)
    'encod…ntion'
    """
    if width_of(text) <= width:
        return text
    head, tail = width // 2, width - width // 2 - 1
    left, right = text, text
    while width_of(left) > head:
        left = left[:-1]
    while width_of(right) > tail:
        right = right[1:]
    return left + "…" + right


def render_table(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    width: int,
    style: Style = PLAIN,
    *,
    total: bool = False,
) -> str:
    """Return a table of at most `width` cells a line.

    Args:
        columns: what the table may show, in order.
        rows: one text for each column; control characters are shown as escapes.
        width: cells of a line.
        style: escapes for the title line and the total.
        total: whether the last row is a total, set off by a rule.
    """
    cells = [[printable(cell, 2 * width) for cell in row] for row in rows]
    shown, widths = _fit(columns, cells, width)
    lines = [_line(columns, [c.title for c in columns], shown, widths)]
    lines[0] = f"{style.dim}{lines[0]}{style.reset}"
    for number, row in enumerate(cells):
        line = _line(columns, row, shown, widths)
        if total and number == len(cells) - 1:
            lines.append(_GAP.join("─" * widths[i] for i in shown))
            line = f"{style.bold}{line}{style.reset}"
        lines.append(line)
    return "\n".join(lines)


def _fit(
    columns: Sequence[Column], cells: list[list[str]], width: int
) -> tuple[list[int], list[int]]:
    """Return the columns that are shown and every column's width."""
    widths = [
        max([width_of(column.title), *(width_of(row[i]) for row in cells)])
        for i, column in enumerate(columns)
    ]
    filled = [any(row[i] for row in cells) for i in range(len(columns))]
    shown = [i for i in range(len(columns)) if filled[i] or columns[i].rank == 0]
    elastic = next((i for i, column in enumerate(columns) if column.elastic), 0)

    def excess() -> int:
        return sum(widths[i] for i in shown) + len(_GAP) * (len(shown) - 1) - width

    while excess() > 0:
        last = max(shown, key=lambda i: columns[i].rank)
        if widths[elastic] - excess() >= _ELASTIC_FLOOR:
            widths[elastic] -= excess()
        elif columns[last].rank > 0:
            shown.remove(last)
        else:
            widest = max(shown, key=widths.__getitem__)
            widths[widest] -= min(excess(), max(1, widths[widest] // 2))
    return shown, widths


def _line(
    columns: Sequence[Column], row: Sequence[str], shown: list[int], widths: list[int]
) -> str:
    cells = []
    for i in shown:
        text = clip(row[i], widths[i])
        space = " " * (widths[i] - width_of(text))
        cells.append(space + text if columns[i].align == "right" else text + space)
    return _GAP.join(cells).rstrip()
