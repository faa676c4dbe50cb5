"""The rows on the screen: a widget that draws the visible ones alone, whatever names hold."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.style import Style
from textual import events
from textual.binding import Binding
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from explorer.browsing.cells import CellText
from explorer.browsing.drawing import strip_of
from explorer.browsing.themes import Theme

__all__ = ["RowsPane"]


class RowsPane(ScrollView, can_focus=True):
    """Rows of which one is the current; it asks for the pieces of the visible ones.

    Args:
        draw: returns the pieces of a row by its position and the width.
        is_hit: whether the row of that position is one of a search.
        theme: returns the colours.
    """

    BINDINGS: ClassVar = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home,g", "move(-1000000000)", "First", show=False),
        Binding("end,G", "move(1000000000)", "Last", show=False),
    ]
    DEFAULT_CSS = """
    RowsPane { scrollbar-size-vertical: 1; scrollbar-size-horizontal: 0; scrollbar-gutter: stable; }
    """

    number = reactive(0)
    current = reactive(0)

    class RowMoved(Message):
        """Another row is the current one."""

    class RowChosen(Message):
        """The current row is to be opened or closed."""

    def __init__(
        self,
        draw: Callable[[int, int], Sequence[CellText]],
        is_hit: Callable[[int], bool],
        theme: Callable[[], Theme],
    ):
        super().__init__(id="rows")
        self._draw, self._is_hit, self._theme = draw, is_hit, theme

    @property
    def width(self) -> int:
        """Cells of a row: those beside the scroll bar."""
        return max(self.scrollable_content_region.width, 20)

    def show(self, number: int, current: int) -> None:
        """Show that many rows, one of them the current one."""
        self.number = number
        self.virtual_size = Size(self.width, number)
        self.current = max(0, min(current, number - 1))
        self._scroll_to_current()
        self.refresh()
        self.post_message(self.RowMoved())

    def render_line(self, y: int) -> Strip:
        """Draw one line of the screen."""
        width, row = self.width, self.scroll_offset.y + y
        if row >= self.number:
            return Strip.blank(width, self.rich_style)
        around, theme = self.rich_style, self._theme()
        if row == self.current and self.has_focus:
            around += Style(bgcolor=theme.cursor, bold=True)
        elif row == self.current:
            around += Style(bgcolor=theme.cursor_away)
        strip = strip_of(self._draw(row, width), theme, around, self._is_hit(row))
        return strip.adjust_cell_length(width, around)

    def action_move(self, by: int) -> None:
        """Make another row the current one."""
        self._go(self.current + by)

    def action_page(self, by: int) -> None:
        """Move by as many rows as are visible."""
        self._go(self.current + by * max(self.size.height - 1, 1))

    def _go(self, row: int) -> None:
        before, self.current = self.current, max(0, min(row, self.number - 1))
        if self.current != before:
            self._scroll_to_current()
            self.refresh()
            self.post_message(self.RowMoved())

    def _scroll_to_current(self) -> None:
        region = Region(0, self.current, 1, 1)
        self.scroll_to_region(region, animate=False, force=True)

    def on_click(self, event: events.Click) -> None:
        """Make the row under the mouse the current one; open or close it if it is that already."""
        row = self.scroll_offset.y + event.y
        if row == self.current:
            self.post_message(self.RowChosen())
        elif row < self.number:
            self._go(row)

    def on_resize(self) -> None:
        """Keep the current row visible."""
        self.virtual_size = Size(self.width, self.number)
        self._scroll_to_current()
