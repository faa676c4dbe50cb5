"""The keys of the browser, and the screen that explains them."""

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widgets import Static

__all__ = ["KEYS", "HelpScreen"]

KEYS: list[BindingType] = [
    # first, as a narrow terminal has no room for the others
    Binding("question_mark", "help", "Help", key_display="?"),
    Binding("q,ctrl+c", "quit", "Quit", key_display="q"),
    Binding("enter,space", "turn", "Open", key_display="⏎"),
    Binding("right,l", "open", "Open", show=False),
    Binding("left,h", "close", "Close", show=False),
    Binding("slash", "search", "Search", key_display="/"),
    Binding("n", "hit(1)", "Next", show=False),
    Binding("N", "hit(-1)", "Previous", show=False),
    Binding("o", "order", "Sort"),
    Binding("r", "filter('role')", "Role"),
    Binding("c", "filter('component')", "Component"),
    Binding("u", "split", "Unfold"),
    Binding("d", "changes", "Changes"),
    Binding("s", "statistics", "Stats"),
    Binding("t", "theme", "Theme"),
    Binding("escape", "leave", "Leave", show=False),
]
_HELP = """\
up, down, page up, page down    move
enter                           open a row, or close it
right, left                     open; close, or go to the row above
/, then n and N                 search names; the next hit, the one before
o                               order: source, parameters, bytes, name
r, c                            one role alone, one component; again: the next
u                               a folded row as single layers, and back
d                               of two targets, only what differs
s                               read the values of a row
t                               a light ground, or a dark one
tab                             to the pane of details, and back
escape                          end a search, then a filter
q                               quit

A row such as layers_[0-11] stands for twelve equal layers, and its
numbers are of all of them. Colours are components; a bar is the
share of all parameters. A wider terminal shows the columns that are
counted as hidden."""


class HelpScreen(ModalScreen[None]):
    """What the keys do, over the rows."""

    BINDINGS: ClassVar = [Binding("escape,q,question_mark,enter", "dismiss", "Close")]

    def compose(self) -> ComposeResult:
        """Show the keys until one is pressed."""
        yield Static(Text(_HELP), id="help")
