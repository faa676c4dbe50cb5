"""A document as Markdown, in which no text from data is markup."""

import re
from collections.abc import Iterable

from explorer.document.records import Block, Document, Notes, Paragraph, Table, Terms, shown
from explorer.errors import printable

__all__ = ["markdown_of"]

_MARKUP = re.compile(r"([\\`*_\[\]<>|#~&$])")
# what makes a list or a heading of a line that begins with it
_LINE_START = re.compile(r"([-+=])|(\d+)([.)])")


def markdown_of(document: Document) -> str:
    """Return a document as Markdown: GitHub's, for its tables.

    >>> print(markdown_of(Document("a*b", (Notes(("1. first",)),))))
    **a\\*b**
    <BLANKLINE>
    - 1\\. first
    """
    title = document.title.replace("\n", " ")
    parts = [f"**{_escaped(title)}**"] if title else []
    return "\n\n".join([*parts, *map(_block, document.blocks)])


def _block(block: Block) -> str:
    match block:
        case Table():
            return _table(block)
        case Paragraph(text):
            return _line(text)
        case Terms(items, _, closing, _):
            lines = [
                # a text without a term continues the item above it
                f"- **{_escaped(term)}** {_escaped(text)}" if term else f"  {_line(text)}"
                for term, text in items
            ]
            return "\n".join(lines) + (f"\n\n{_line(closing)}" if closing else "")
        case Notes(items):
            return "\n".join(f"- {_line(text)}" for text in items)


def _table(table: Table) -> str:
    if not table.columns:
        return ""
    rules = ("---:" if column.align == "right" else "---" for column in table.columns)
    titles = (_escaped(column.title) for column in table.columns)
    rows = (map(_cell, map(shown, row)) for row in table.rows)
    return "\n".join(map(_row, (titles, rules, *rows)))


def _cell(text: str) -> str:
    """Return a cell; what indents a name becomes a space that Markdown keeps."""
    name = text.lstrip(" ")
    return "&emsp;" * ((len(text) - len(name) + 1) // 2) + _escaped(name)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _line(text: str) -> str:
    """Return a text that is safe at the beginning of a line."""
    escaped = _escaped(text.lstrip())
    start = _LINE_START.match(escaped)
    if start is None:
        return escaped
    return f"{start[2] or ''}\\{escaped[len(start[2] or '') :]}"


def _escaped(text: str) -> str:
    return _MARKUP.sub(r"\\\1", printable(text, 2000))
