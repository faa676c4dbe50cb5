"""A table as lines of text that fit a given width, whatever the names in it."""

import textwrap
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from explorer.document.palette import escape_of
from explorer.document.records import Column, Table, shown
from explorer.document.widths import clip, distinct, widest, width_of
from explorer.errors import printable
from explorer.inventory.gc_pause import paused_gc

__all__ = ["PLAIN", "TERMINAL", "Style", "table_lines"]


class Style(NamedTuple):
    """The escape sequences of a terminal; empty for any other output.

    Attributes:
        bold, dim, reset: what begins and ends a text of that kind.
        coloured: whether components have their colours.
    """

    bold: str = ""
    dim: str = ""
    reset: str = ""
    coloured: bool = False

    def hue(self, word: str, text: str) -> str:
        r"""Return a text in the colour of a component; as it is where there are none.

        >>> Style(reset="\x1b[0m", coloured=True).hue("mlp", "ab")
        '\x1b[38;5;36mab\x1b[0m'
        """
        begin = escape_of(word) if self.coloured and text else ""
        return f"{begin}{text}{self.reset}" if begin else text


PLAIN = Style()
TERMINAL = Style(bold="\x1b[1m", dim="\x1b[2m", reset="\x1b[0m", coloured=True)
_GAP = "  "
_LEAST = 24  # cells of the first column, where no other one is to be narrowed
_NARROWEST = 8  # cells of a text in several lines
_LONGEST_BAR, _SHORTEST_BAR = 40, 8  # cells of the terminal
_GAP_AND_BAR = len(_GAP) + 12  # cells that long texts leave to bars
_MARK = "▌"  # beside a word that has a colour
_EIGHTHS = ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")


@paused_gc()
def table_lines(
    table: Table, width: int, style: Style = PLAIN, most: int | None = None
) -> list[str]:
    """Return the lines of a table, its titles first; last, which columns are hidden.

    Args:
        table: what to show; control characters are shown as escapes.
        width: cells of a line; none is wider.
        style: escape sequences for the titles and the total.
        most: cells to which the table may grow where it does not fit; None for `width`.
    """
    columns = table.columns
    longest = 2 * max(width, most or 0)
    limits = [longest if column.lines == 1 else 600 for column in columns]
    cells = [
        [printable(shown(cell), limit) for cell, limit in zip(row, limits, strict=True)]
        for row in table.shown_once()
    ]
    hues = table.hues()
    if most is not None:
        width = _grown(columns, cells, width, most)
    # long texts and columns of a rank give way to bars
    gives_way = table.bars and any(column.lines > 1 for column in columns)
    bar, least = (_GAP_AND_BAR, len(_GAP) + _SHORTEST_BAR) if gives_way else (0, 0)
    cells, begins = _continued(columns, cells, width - bar)
    kept, widths = _fit(columns, cells, width - least)
    named = _narrowed(columns)
    names = distinct([row[named] for row in cells], widths[named]) if cells else []
    for row, name in zip(cells, names, strict=True):
        row[named] = name
    lines = [_line(columns, [c.title for c in columns], kept, widths).rstrip()]
    lines[0] = f"{style.dim}{lines[0]}{style.reset}"
    room = width - _length(kept, widths) - len(_GAP)
    bars = iter(_bars(table.bars, room, table.parts))
    words = iter(hues)
    for number, row in enumerate(cells):
        bar, word = (next(bars, ""), next(words)) if begins[number] else ("", "")
        if not begins[number] and not any(row[i] for i in kept):
            continue  # the column that it continues is left out
        line = _line(columns, row, kept, widths, style, word)
        line = f"{line}{_GAP}{style.hue(word, bar)}".rstrip()
        if table.total and number == len(cells) - 1:
            lines.append(_GAP.join("─" * widths[i] for i in kept))
            line = f"{style.bold}{line}{style.reset}"
        lines.append(line)
    hidden = [c.title for i, c in enumerate(columns) if i not in kept and c.title]
    if hidden:
        said = f"(hidden at this width: {', '.join(hidden)})"
        lines += [f"{style.dim}{line}{style.reset}" for line in textwrap.wrap(said, width)]
    return lines


def _grown(columns: Sequence[Column], cells: list[list[str]], width: int, most: int) -> int:
    """Return the cells that a table needs for every column, if these are at most `most`."""
    needed = len(_GAP) * (len(columns) - 1)
    for column, texts in zip(columns, zip(*cells, strict=True), strict=False):
        longest = widest([column.title, *texts])
        needed += longest if column.lines == 1 else min(longest, width // 2)
    return max(width, min(needed, most))


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
    room, most = max(width - taken, columns[at].least, _NARROWEST), columns[at].lines
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
        widest([column.title, *(row[i] for row in cells)])
        for i, column in enumerate(columns)
    ]
    kept = list(range(len(columns)))
    narrowed = _narrowed(columns)
    while (excess := _length(kept, widths) - width) > 0:
        last = max(kept, key=lambda i: columns[i].rank)
        if widths[narrowed] - excess >= (columns[narrowed].least or _LEAST):
            widths[narrowed] -= excess
        elif columns[last].rank > 0:
            kept.remove(last)
        else:
            largest = max(kept, key=widths.__getitem__)
            widths[largest] -= min(excess, max(1, widths[largest] // 2))
    return kept, widths


def _narrowed(columns: Sequence[Column]) -> int:
    """Return the column that is narrowed before others are left out: that of names."""
    return next((i for i, column in enumerate(columns) if column.least), 0)


def _length(kept: list[int], widths: list[int]) -> int:
    return sum(widths[i] for i in kept) + len(_GAP) * (len(kept) - 1)


def _line(
    columns: Sequence[Column],
    row: Sequence[str],
    kept: list[int],
    widths: list[int],
    style: Style = PLAIN,
    word: str = "",
) -> str:
    """Return a line; before a word that has a colour, half of the gap is drawn in it."""
    line = ""
    for place, i in enumerate(kept):
        text = clip(row[i], widths[i])
        space = " " * (widths[i] - width_of(text))
        marked = columns[i].hued and style.hue(word, _MARK) != _MARK
        gap = " " + style.hue(word, _MARK) if marked else _GAP
        line += gap if place else ""
        line += space + text if columns[i].align == "right" else text + space
    return line


def _bars(shares: Sequence[float], room: int, parts: bool = False) -> list[str]:
    """Return a bar for each share; none where there is no room for a bar of 8 cells.

    Args:
        shares: from 0 to 1.
        room: cells of the longest bar.
        parts: whether they are parts of wholes: each bar then ends where the sum does, so that
            the bars of a whole are together as long as its own would be.

    >>> _bars([1.0, 0.5, 0.32], 10)
    ['██████████', '█████', '███▎']
    >>> _bars([1 / 3, 1 / 3, 1 / 3], 10, parts=True)
    ['███▍', '███▎', '███▍']
    """
    longest = min(_LONGEST_BAR, room)
    if longest < _SHORTEST_BAR:
        return []
    if parts:
        ends = [0, *(round(8 * longest * end) for end in accumulate(shares))]
        eighths = [end - start for start, end in pairwise(ends)]
    else:
        eighths = [round(8 * longest * share) for share in shares]
    return ["█" * (number // 8) + _EIGHTHS[number % 8] for number in eighths]
