"""A table as lines of text that fit a given width, whatever the names in it."""

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

from explorer.document.records import Column, Table, shown
from explorer.errors import printable

__all__ = ["PLAIN", "Style", "clip", "table_lines", "width_of"]


class Style(NamedTuple):
    """The escape sequences of a terminal; empty for any other output."""

    bold: str = ""
    dim: str = ""
    reset: str = ""


PLAIN = Style()
_GAP = "  "
_LEAST = 24  # cells of the first column, where no other one is to be narrowed
_LONGEST_BAR, _SHORTEST_BAR = 40, 8  # cells of the terminal
_GAP_AND_BAR = len(_GAP) + 12  # cells that long texts leave to bars
_EIGHTHS = ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")


def width_of(text: str) -> int:
    """Return how many terminal cells a text takes.

    >>> width_of("norm"), width_of("層")
    (4, 2)
    """
    if text.isascii() or text.replace("…", "").isascii():
        return len(text)
    import unicodedata  # seldom needed, and start-up is counted in milliseconds

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


def table_lines(table: Table, width: int, style: Style = PLAIN) -> list[str]:
    """Return the lines of a table, its titles first.

    Args:
        table: what to show; control characters are shown as escapes.
        width: cells of a line; none is wider.
        style: escape sequences for the titles and the total.
    """
    columns = table.columns
    limits = [2 * width if column.lines == 1 else 600 for column in columns]
    cells = [
        [printable(shown(cell), limit) for cell, limit in zip(row, limits, strict=True)]
        for row in table.rows
    ]
    # long texts and columns of a rank give way to bars
    gives_way = table.bars and any(column.lines > 1 for column in columns)
    bar, least = (_GAP_AND_BAR, len(_GAP) + _SHORTEST_BAR) if gives_way else (0, 0)
    cells, begins = _continued(columns, cells, width - bar)
    kept, widths = _fit(columns, cells, width - least)
    lines = [_line(columns, [c.title for c in columns], kept, widths).rstrip()]
    lines[0] = f"{style.dim}{lines[0]}{style.reset}"
    bars = iter(_bars(table.bars, width - _length(kept, widths) - len(_GAP)))
    for number, row in enumerate(cells):
        if not begins[number] and not any(row[i] for i in kept):
            continue  # the column that it continues is left out
        bar = next(bars, "") if begins[number] else ""
        line = f"{_line(columns, row, kept, widths)}{_GAP}{bar}".rstrip()
        if table.total and number == len(cells) - 1:
            lines.append(_GAP.join("─" * widths[i] for i in kept))
            line = f"{style.bold}{line}{style.reset}"
        lines.append(line)
    return lines


def _continued(
    columns: Sequence[Column], cells: list[list[str]], width: int
) -> tuple[list[list[str]], list[bool]]:
    """Return rows with the long texts of one column continued in rows below their own.

    Returns:
        The rows, and of each whether it is not such a continuation.
    """
    at = next((i for i, column in enumerate(columns) if column.lines > 1), None)
    if at is None or not cells:
        return cells, [True] * len(cells)
    others = (i for i in range(len(columns)) if i != at)
    taken = sum(max(width_of(row[i]) for row in cells) + len(_GAP) for i in others)
    room, most = max(width - taken, columns[at].least), columns[at].lines
    rows: list[list[str]] = []
    begins: list[bool] = []
    for row in cells:
        wrapped = textwrap.wrap(
            row[at], room, max_lines=most, placeholder=" …", break_on_hyphens=False
        )
        first, *rest = wrapped or [""]
        rows.append([*row[:at], first, *row[at + 1 :]])
        rows += [[more if i == at else "" for i in range(len(row))] for more in rest]
        begins += [True] + [False] * len(rest)
    return rows, begins


def _fit(
    columns: Sequence[Column], cells: list[list[str]], width: int
) -> tuple[list[int], list[int]]:
    """Return the columns that there is room for, and every column's width."""
    widths = [
        max([width_of(column.title), *(width_of(row[i]) for row in cells)])
        for i, column in enumerate(columns)
    ]
    kept = list(range(len(columns)))
    narrowed = next((i for i, column in enumerate(columns) if column.least), 0)
    while (excess := _length(kept, widths) - width) > 0:
        last = max(kept, key=lambda i: columns[i].rank)
        if widths[narrowed] - excess >= (columns[narrowed].least or _LEAST):
            widths[narrowed] -= excess
        elif columns[last].rank > 0:
            kept.remove(last)
        else:
            widest = max(kept, key=widths.__getitem__)
            widths[widest] -= min(excess, max(1, widths[widest] // 2))
    return kept, widths


def _length(kept: list[int], widths: list[int]) -> int:
    return sum(widths[i] for i in kept) + len(_GAP) * (len(kept) - 1)


def _line(
    columns: Sequence[Column], row: Sequence[str], kept: list[int], widths: list[int]
) -> str:
    cells = []
    for i in kept:
        text = clip(row[i], widths[i])
        space = " " * (widths[i] - width_of(text))
        cells.append(space + text if columns[i].align == "right" else text + space)
    return _GAP.join(cells)


def _bars(shares: Sequence[float], room: int) -> list[str]:
    """Return a bar for each share; none where there is no room for a bar of 8 cells.

    >>> _bars([1.0, 0.5, 0.32], 10)
    ['██████████', '█████', '███▎']
    """
    longest = min(_LONGEST_BAR, room)
    if longest < _SHORTEST_BAR:
        return []
    eighths = [round(8 * longest * share) for share in shares]
    return ["█" * (number // 8) + _EIGHTHS[number % 8] for number in eighths]
