"""Pieces and lines as text of the screen, in which nothing is markup."""

from collections.abc import Sequence
from textwrap import wrap

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.strip import Strip

from explorer.browsing.cells import CellText
from explorer.browsing.details import DetailLine
from explorer.browsing.themes import Theme
from explorer.document.widths import distinct
from explorer.errors import printable

__all__ = ["details_text", "strip_of", "text_of_pieces"]

_TERM = 12  # cells of a term
_LONGEST = 600  # characters of a text
_NAMES = ("name", "equal")
_HIT = Style(underline=True)


def strip_of(
    pieces: Sequence[CellText], theme: Theme, around: Style, is_hit: bool = False
) -> Strip:
    """Return pieces as a line of the screen.

    Args:
        pieces: of a line.
        theme: whose colours they have.
        around: what all of them have beside their colours.
        is_hit: whether a search found it.
    """
    segments = []
    for text, word in pieces:
        colour = theme.words.get(word)
        style = around if colour is None else around + Style(color=colour)
        segments.append(Segment(text, style + _HIT if is_hit and word in _NAMES else style))
    return Strip(segments)


def text_of_pieces(pieces: Sequence[CellText], theme: Theme) -> Text:
    """Return pieces as one line of text in the colours of a theme."""
    text = Text(no_wrap=True)
    for piece, word in pieces:
        text.append(piece, theme.words.get(word, ""))
    return text


def details_text(lines: Sequence[DetailLine], theme: Theme, width: int) -> Text:
    """Return lines of a pane: terms, and beside them their texts, which are wrapped there.

    Args:
        lines: what is said.
        theme: whose colours they have.
        width: cells.
    """
    text = Text()
    said = [printable(line.text, _LONGEST) for line in lines if line.kind == "name"]
    names = iter(distinct(said, width))
    for term, said, kind in lines:
        if kind == "picture":
            text.append(f"{said}\n", theme.kinds[kind])
            continue
        if kind == "head" and text:
            text.append("\n")
        indent = _TERM if kind == "figure" or term else 0
        text.append(f"{term:<{indent}}", theme.words["dim"])
        shown = next(names) if kind == "name" else printable(said, _LONGEST)
        parts = wrap(shown, max(width - indent, 8), break_on_hyphens=False) or [""]
        text.append(f"\n{' ' * indent}".join(parts) + "\n", theme.kinds.get(kind, ""))
    return text
