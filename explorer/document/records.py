"""The record of what is shown: a title above paragraphs, tables, terms and notes.

A document is built once from a result and lowered to text, HTML, Markdown and CSV, so these
cannot differ in columns or rows. It holds plain text and numbers; each lowering escapes what
its own format would interpret as markup.
"""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

__all__ = [
    "Block",
    "Cell",
    "Column",
    "Document",
    "Notes",
    "Paragraph",
    "Table",
    "Terms",
    "exact",
    "shown",
]

# the value in one field of a table; `shown` and `exact` turn it into text
Cell = Any


class Column(msgspec.Struct, frozen=True):
    """A column: its title, its alignment, and how it gives way where a line is short.

    Args:
        title: what stands above the cells.
        align: the side to which its text is aligned.
        rank: columns of the highest rank are left out first; those of rank 0 stay.
        least: cells that this column keeps while it is narrowed before others are left
            out; 0 where it is not narrowed. At most one column of a table has it.
        lines: how many lines of text one cell may take.
        once: whether a word that the row above has too is not shown again, to readers.
        hued: whether its words have colours, such as components: see `palette`.
    """

    title: str
    align: Literal["left", "right"] = "left"
    rank: int = 0
    least: int = 0
    lines: int = 1
    once: bool = False
    hued: bool = False


class Table(msgspec.Struct, frozen=True):
    """Rows of one cell for each column.

    Args:
        columns: the titles, in order.
        rows: the cells. Spaces before a name show its level in a tree.
        total: whether the last row is the total of the others.
        bars: numbers from 0 to 1, one for each row, drawn beside it: a plot of a column.
        parts: whether the bars are parts of wholes, so that what is drawn adds up as well.
    """

    columns: tuple[Column, ...]
    rows: Sequence[Sequence[Cell]]
    total: bool = False
    bars: tuple[float, ...] = ()
    parts: bool = False

    def without_empty_columns(self) -> "Table":
        """Return the table without those columns of rank 1 or more that are empty.

        >>> table = Table((Column("name"), Column("sharding", rank=1)), [("a", ""), ("b", None)])
        >>> table.without_empty_columns().rows
        [('a',), ('b',)]
        """
        kept = [
            i
            for i, column in enumerate(self.columns)
            if column.rank == 0 or any(row[i] not in ("", None) for row in self.rows)
        ]
        if len(kept) == len(self.columns):
            return self
        columns = tuple(self.columns[i] for i in kept)
        rows = [tuple(row[i] for i in kept) for row in self.rows]
        return msgspec.structs.replace(self, columns=columns, rows=rows)

    def shown_once(self) -> list[tuple[Cell, ...]]:
        """Return the rows for people: a word that the row above has too is left empty.

        >>> table = Table((Column("by", once=True), Column("n")), [("role", 1), ("role", 2)])
        >>> table.shown_once()
        [('role', 1), ('', 2)]
        """
        above: Sequence[Cell] = (None,) * len(self.columns)
        rows: list[tuple[Cell, ...]] = []
        for row in self.rows:
            pairs = zip(self.columns, row, above, strict=True)
            rows.append(
                tuple("" if c.once and cell == old else cell for c, cell, old in pairs)
            )
            above = row
        return rows

    def hues(self) -> list[str]:
        """Return the word of each row that has a colour; empty where no column has such words."""
        at = next((i for i, column in enumerate(self.columns) if column.hued), None)
        return ["" if at is None else shown(row[at]) for row in self.rows]


class Paragraph(msgspec.Struct, frozen=True):
    """A text that is wrapped to the width of the output."""

    text: str


class Terms(msgspec.Struct, frozen=True):
    """Terms, each followed by its text, and a closing line.

    Args:
        items: pairs of a term and a text.
        width: characters that are reserved for the longest term.
        closing: a line below them.
        commands: whether the texts are commands, which are copied: never broken over lines,
            each below its term where there is no room beside it.
    """

    items: tuple[tuple[str, str], ...]
    width: int
    closing: str = ""
    commands: bool = False


class Notes(msgspec.Struct, frozen=True):
    """Remarks, one sentence each."""

    items: tuple[str, ...]


Block = Paragraph | Table | Terms | Notes


class Document(msgspec.Struct, frozen=True):
    """A title (which may be empty) and the blocks below it, in order."""

    title: str = ""
    blocks: tuple[Block, ...] = ()


def shown(cell: Cell) -> str:
    """Return the text of a cell, as people read it.

    >>> shown("norm"), shown(22713216), shown((4, 3)), shown(None), shown({"bias": 1152})
    ('norm', '22,713,216', '4x3', '', 'bias 1,152')
    """
    if isinstance(cell, str):
        return cell
    if cell is None:
        return ""
    if isinstance(cell, int) and not isinstance(cell, bool):
        return f"{cell:,}"
    if isinstance(cell, dict):
        return ", ".join(f"{name} {shown(value)}" for name, value in cell.items())
    return str(exact(cell))


def exact(cell: Cell) -> str | int | float | None:
    """Return a cell as one value that a program can read; nested ones become JSON.

    >>> exact(22713216), exact((4, 3)), exact({"bias": 1152})
    (22713216, '4x3', '{"bias": 1152}')
    """
    if cell is None or isinstance(cell, str | bool | int | float):
        return cell
    if isinstance(cell, tuple) and all(isinstance(size, int) for size in cell):
        return "x".join(map(str, cell))
    import json  # seldom needed, and start-up is counted in milliseconds

    return json.dumps(msgspec.to_builtins(cell))
