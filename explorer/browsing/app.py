"""The terminal browser: a thin rim of keys and panes around a session, which has no screen."""

from collections.abc import Callable, Sequence

from explorer.browsing.cells import CellText, header_pieces, row_pieces
from explorer.browsing.details import DetailLine, details_of, place_lines
from explorer.browsing.measuring import UnwantedError, measured_lines, unmeasured_line
from explorer.browsing.outline import ItemPath, Outline
from explorer.browsing.search import number_of_hits
from explorer.browsing.session import BrowsingSession
from explorer.browsing.style_sheet import STYLE_SHEET
from explorer.browsing.subject import BrowsedTarget, no_values, spans_of
from explorer.browsing.terminating import TERMINATED, on_termination
from explorer.browsing.themes import ThemeName
from explorer.errors import InputError, MissingPackageError, printable
from explorer.formats.spans import TensorSpans
from explorer.views import units

try:
    from rich.text import Text
    from textual.app import ComposeResult
    from textual.containers import Horizontal, Vertical, VerticalScroll
    from textual.widgets import Footer, Input, Static
    from textual.worker import get_current_worker
except ImportError:
    raise MissingPackageError(
        "browse",
        found="needs textual, which is not installed",
        cure="pip install -e '.[tui]' in the repository",
    ) from None
from explorer.browsing.drawing import details_text, text_of_pieces
from explorer.browsing.keys import KEYS, HelpScreen
from explorer.browsing.rows_pane import RowsPane
from explorer.browsing.themed import ThemedApp

__all__ = ["BrowserApp"]

_ASKED_ABOVE = 1_000_000_000  # bytes of values that are read after a second key alone
_MOST_PLACED = 5000  # tensors of a row whose place in files is looked up
_NARROW, _SHORT = (100, 140), 30  # cells, of one or two targets, and lines of small screens
_LONGEST = 400  # characters of a line


class BrowserApp(ThemedApp):
    """The browser of one target, or of two side by side.

    Args:
        subjects: the targets, opened.
        theme: of the colours at first.
    """

    ENABLE_COMMAND_PALETTE = False
    CSS = STYLE_SHEET
    BINDINGS = KEYS

    def __init__(self, subjects: Sequence[BrowsedTarget], theme: ThemeName = "dark"):
        super().__init__(theme)
        self.session = BrowsingSession(subjects)
        self.spans: TensorSpans | None = None
        self.said: dict[ItemPath, list[DetailLine]] = {}
        self.asked: ItemPath | None = None

    def compose(self) -> ComposeResult:
        """Put the headline above the rows and the details, the keys below."""
        title, sentence, *memory = self.session.headline
        yield Static(Text(printable(title, _LONGEST)), id="title")
        yield Static(Text(printable(sentence, _LONGEST)), id="sentence")
        if memory:
            yield Static(Text(memory[0]), id="memory")
        if not self.session.outline.is_pair:
            yield Static(id="strip")
            yield Static(id="legend")
        with Horizontal(id="body"):
            with Vertical(id="left"):
                yield Static(id="header")
                yield RowsPane(self._draw, self.session.is_hit, lambda: self.colours)
            with VerticalScroll(id="details"):
                yield Static(id="said")
        yield Static(id="status")
        yield Input(placeholder="part of a name", id="search", compact=True)
        yield Footer(compact=True)

    def on_mount(self) -> None:
        """Show the rows; look up where tensors are stored meanwhile. SIGTERM quits in order."""
        on_termination(lambda: self.exit(return_code=TERMINATED))
        self.pane = self.query_one(RowsPane)
        self.pane.show(len(self.session.rows), 0)
        self.pane.focus()
        if not self.session.outline.is_pair:
            self.run_worker(self._find_spans, thread=True, group="spans")

    def on_resize(self) -> None:
        """Put the details below the rows where the terminal is narrow."""
        least = _NARROW[self.session.outline.is_pair]
        self.screen.set_class(self.size.width < least, "narrow")
        self.screen.set_class(self.size.height < _SHORT, "short")
        self.call_after_refresh(self._titles)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer the keys of one target to one, and those of two to two."""
        if action in ("changes", "split"):
            return (action == "changes") == self.session.outline.is_pair
        return True

    @property
    def here(self) -> ItemPath:
        """The path of the current row; that of everything where there is none."""
        rows = self.session.rows
        return rows[min(self.pane.current, len(rows) - 1)] if rows else ()

    def _draw(self, row: int, width: int) -> list[CellText]:
        session = self.session
        return row_pieces(session.outline, session.view, session.rows[row], width)

    def _show(self, row: int) -> None:
        self.pane.show(len(self.session.rows), row)

    def _put(self, place: str, text: Text) -> None:
        self.query_one(place, Static).update(text, layout=place == "#said")

    def _titles(self) -> None:
        session = self.session
        header = header_pieces(session.outline, self.pane.width)
        self._put("#header", text_of_pieces(header, self.colours))
        if not session.outline.is_pair:
            strip, legend = session.strip(max(self.size.width - 2, 10))
            self._put("#strip", text_of_pieces(strip, self.colours))
            self._put("#legend", text_of_pieces(legend, self.colours))
        self._say()

    def on_rows_pane_row_moved(self) -> None:
        """Say what is known of the row that is now the current one."""
        self.asked = None
        self._say()
        self.query_one("#details").scroll_home(animate=False)

    def _say(self) -> None:
        session, path = self.session, self.here
        found: list[DetailLine] = []
        is_placed = session.outline.item(path).first.row.tensors <= _MOST_PLACED
        if self.spans is not None and is_placed and path:
            found += place_lines(session.outline, path, self.spans)
        found += self.said.get(path, [self._unsaid(path)])
        lines = details_of(session.outline, path, found)
        self._put("#said", details_text(lines, self.colours, self._details_width()))
        self._put("#status", Text(printable(session.status(self.pane.current), _LONGEST)))

    def _details_width(self) -> int:
        return max(self.query_one("#said").size.width - 1, 16)

    def _unsaid(self, path: ItemPath) -> DetailLine:
        asked = self.session.nbytes(path) if path == self.asked else None
        return unmeasured_line(self.session.subjects, asked)

    def action_turn(self) -> None:
        """Open the current row, or close it; so does a click on it."""
        if self.here:
            self._show(self.session.toggle(self.here))

    on_rows_pane_row_chosen = action_turn

    def action_open(self) -> None:
        """Open the current row; go into it where it is open."""
        if self.here in self.session.view.opened:
            self.pane.action_move(1)
        else:
            self.action_turn()

    def action_close(self) -> None:
        """Close the current row; go to the one above it where it is closed."""
        path = self.here
        if path in self.session.view.opened:
            self.action_turn()
        elif len(path) > 1:
            self._show(self.session.rows.index(path[:-1]))

    def action_order(self) -> None:
        """Show rows in the next order."""
        self._show(self.session.reorder(self.here))

    def action_filter(self, word: str) -> None:
        """Show one role, or one component, alone: the next one."""
        self._refill(lambda: self.session.filter_by(word))

    def _refill(self, change: Callable[[], None]) -> None:
        self.workers.cancel_group(self, "values")
        change()
        self.said.clear()
        self._show(0)
        self._titles()

    def action_split(self) -> None:
        """Show the layers of a folded row one by one, or as one row again."""
        self._show(self.session.split(self.here))

    def action_changes(self) -> None:
        """Leave out what is equal in both targets, or show it again."""
        self._show(self.session.only_changes(self.here))

    def action_leave(self) -> None:
        """Leave the search field; else end a search; else a filter."""
        if self.query_one("#search").display:
            self._leave_search()
            self._say()
        elif self.session.hits.text:
            self.session.search("")
            self._show(self.pane.current)
        elif not self.session.wanted.is_any:
            self._refill(self.session.filter_none)

    def action_theme(self) -> None:
        """Change between a dark ground and a light one."""
        super().action_theme()
        self._titles()

    def action_help(self) -> None:
        """Show the keys."""
        self.push_screen(HelpScreen())

    def action_search(self) -> None:
        """Ask for a part of a name."""
        field = self.query_one("#search", Input)
        field.value, field.display = "", True
        field.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Say how many tensors have what is typed so far."""
        if event.input.display and event.value:
            number = number_of_hits(self.session.outline, event.value)
            said = f"{units.count(number, 'tensor')}: enter to go there, escape to leave"
            self._put("#status", Text(said))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Search, and go to the first hit after the current row."""
        self._leave_search()
        self.session.search(event.value)
        self.action_hit(1)

    def _leave_search(self) -> None:
        self.query_one("#search").display = False
        self.pane.focus()

    def action_hit(self, step: int) -> None:
        """Go to the next hit of the search, or to the one before."""
        row = self.session.go_to_hit(self.here, step)
        self._show(self.pane.current if row is None else row)

    def action_statistics(self) -> None:
        """Read the values of the current row, and say what they look like."""
        path, outline = self.here, self.session.outline
        if all(map(no_values, self.session.subjects)):
            return
        if self.session.nbytes(path) > _ASKED_ABOVE and self.asked != path:
            self.asked = path
            self._say()
            return
        self._measured(outline, path, [DetailLine("values", "reading", "note")])
        self.run_worker(
            lambda: self._measure(outline, path, self._details_width()),
            thread=True,
            group="values",
            exclusive=True,
        )

    def _measure(self, outline: Outline, path: ItemPath, width: int) -> None:
        """Read values in a thread of its own; what was found is said where it still belongs."""
        worker = get_current_worker()

        def say(line: DetailLine) -> None:
            self.call_from_thread(self._measured, outline, path, [line])

        def is_wanted() -> bool:
            return not worker.is_cancelled

        try:
            lines = measured_lines(
                self.session.subjects, outline, path, width, say, is_wanted
            )
        except UnwantedError:
            return
        if is_wanted():
            self.call_from_thread(self._measured, outline, path, lines)

    def _measured(self, outline: Outline, path: ItemPath, lines: list[DetailLine]) -> None:
        if outline is self.session.outline:
            self.said[path] = lines
            self._say()

    def _find_spans(self) -> None:
        """Look up where tensors are stored, in a thread of its own: headers may be long."""
        try:
            spans = spans_of(self.session.subjects[0])
        except InputError:  # the files are not what they were: nothing is said of places
            return
        self.call_from_thread(self._placed, spans)

    def _placed(self, spans: TensorSpans | None) -> None:
        self.spans = spans
        self._say()
