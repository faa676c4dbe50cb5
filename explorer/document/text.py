"""A document as plain text for a terminal or a pipe."""

import textwrap

from explorer.document.layout import PLAIN, Style, table_lines
from explorer.document.records import Block, Document, Notes, Paragraph, Table, Terms
from explorer.document.widths import width_of
from explorer.errors import printable

__all__ = ["text_of"]

_UNBOUNDED = 1_000_000  # characters: no text of a document is longer


def text_of(
    document: Document, width: int | None, style: Style = PLAIN, most: int | None = None
) -> str:
    """Return a document as lines of at most `width` cells.

    Args:
        document: what to show; control characters in it are shown as escapes.
        width: cells of a line, 60 or more; None where no text is to be broken.
        style: escape sequences of a terminal.
        most: cells to which a table may grow that does not fit; None for `width`.

    >>> print(text_of(Document("LeNet", (Notes(("trained on MNIST",)),)), 60))
    LeNet
    <BLANKLINE>
    notes
      - trained on MNIST
    """
    width = width or _UNBOUNDED
    parts = [_block(block, width, style, most) for block in document.blocks]
    if document.title:
        parts.insert(0, f"{style.bold}{_title(document.title, width)}{style.reset}")
    return "\n\n".join(parts)


def _title(title: str, width: int) -> str:
    """Return a title in one line where it fits, else in its own lines, each clipped by itself."""
    whole = title.replace("\n", " ")
    lines = [whole] if width_of(whole) <= width else title.split("\n")
    return "\n".join(printable(line, width).rstrip() for line in lines)


def _block(block: Block, width: int, style: Style, most: int | None) -> str:
    match block:
        case Table():
            lines = table_lines(block, width, style, most)
        case Paragraph(text):
            lines = _wrap(text, width)
        case Terms(items, indent, closing, commands):
            lines = []
            for term, text in items:
                first, rest = f"{term:<{indent}}  ", " " * (indent + 2)
                if commands and len(first) + len(text) > width:
                    lines += [term, "  " + printable(text, 10_000)]
                else:
                    lines += _wrap(text, width, first, rest)
            lines += [closing] if closing else []
        case Notes(items):
            lines = [f"{style.dim}notes{style.reset}"]
            for text in items:
                lines += _wrap(printable(text, 600), width, "  - ", "    ")
    return "\n".join(lines)


def _wrap(text: str, width: int, first: str = "", rest: str = "") -> list[str]:
    text = printable(text, 10_000)
    if len(first) + len(text) <= width:
        return [(first + text).rstrip()]
    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
    )
