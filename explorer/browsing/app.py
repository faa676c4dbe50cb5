"""The terminal browser: a thin rim of keys and panes around a session, which has no screen."""

import time
from collections.abc import Callable, Sequence

from explorer.browsing.cells import Piece, header_pieces, row_pieces
from explorer.browsing.details import (
    DetailLine,
    details_of,
    place_lines,
    value_lines,
)
from explorer.browsing.outline import ItemPath
from explorer.browsing.search import NameHits, find, number_of_hits
from explorer.browsing.session import BrowsingSession
from explorer.browsing.subject import BrowsedTarget, measured, no_values, spans_of
from explorer.errors import InputError, MissingPackageError, printable
from explorer.formats.spans import TensorSpans
from explorer.views import units

try:
    from rich.text import Text
    from textual.app import App, ComposeResult
    from textual.binding import Binding
    from textual.containers import Horizontal, Vertical, VerticalScroll
    from textual.screen import ModalScreen
    from textual.widgets import Footer, Input, Static
    from textual.worker import get_current_worker

    from explorer.browsing.rows_pane import STYLES, RowsPane
except ImportError as error:
    if (error.name or "").partition(".")[0] not in ("textual", "rich"):
        raise
    raise MissingPackageError(
        "browse",
        found="needs textual, which is not installed",
        cure="pip install -e '.[tui]' in the repository",
    ) from None

__all__ = ["BrowserApp"]

_ASKED_ABOVE = 1_000_000_000  # bytes of values that are read after a second key alone
_MOST_PLACED = 5000  # tensors of a row whose place in files is looked up
_NARROW = 100  # cells below which the pane of details is under the rows
_HELP = """\
up down, page up page down, home end    move
enter, space                            open a row or close it
right, left                             open; close, or go to the row above
/   then n and N                        search names; next and previous hit
o                                       order: source, parameters, bytes, name
r, c                                    only one role, only one component; again: the next
u                                       a folded row as single layers, and back
s                                       statistics of the values of a row
d                                       of two targets: only what differs
tab                                     to the pane of details and back
escape                                  end a search, then a filter
q                                       quit

A row such as layers_[0-11] stands for twelve equal layers: its numbers are of all of them.
Colours are components; bars are shares of all parameters."""


class HelpScreen(ModalScreen[None]):
    """The keys."""

    BINDINGS = [Binding("escape,q,question_mark,enter", "dismiss", "Close")]

    def compose(self) -> ComposeResult:
        """Show the keys until one is pressed."""
        yield Static(Text(_HELP), id="help")


class BrowserApp(App[None]):
    """The browser of one target, or of two side by side.

    Args:
        subjects: the targets, opened.
    """

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { background: #12161d; color: #e6e9ee; }
    #title { text-style: bold; padding: 0 1; height: 1; }
    #sentence, #memory, #legend { padding: 0 1; height: 1; }
    #memory { color: #9aa4b2; }
    #strip { padding: 0 1; height: 1; }
    #body { height: 1fr; }
    #left { width: 1fr; padding: 0 1; }
    #header { height: 1; }
    #details { width: 46; border-left: solid #39424f; padding: 0 1; }
    #details:focus { border-left: solid #56b4e9; }
    .narrow #body { layout: vertical; }
    .narrow #details { width: 100%; height: 12; border-left: none; border-top: solid #39424f; }
    #status { height: 1; padding: 0 1; background: #1c222c; color: #c8d0da; }
    #search { height: 1; border: none; padding: 0 1; background: #1c222c; display: none; }
    RowsPane { background: #12161d; scrollbar-color: #39424f; scrollbar-background: #12161d; }
    Footer { background: #12161d; }
    HelpScreen { align: center middle; }
    #help { width: 92; height: auto; padding: 1 2; border: round #56b4e9; background: #1c222c; }
    """
    BINDINGS = [
        Binding("enter,space", "toggle", "Open", key_display="⏎"),
        Binding("right,l", "open", "Open", show=False),
        Binding("left,h", "close", "Close", show=False),
        Binding("slash", "search", "Search", key_display="/"),
        Binding("n", "hit(1)", "Next"),
        Binding("N", "hit(-1)", "Previous", show=False),
        Binding("o", "order", "Order"),
        Binding("r", "filter('role')", "Role"),
        Binding("c", "filter('component')", "Component"),
        Binding("u", "split", "Unfold"),
        Binding("d", "changes", "Differences"),
        Binding("s", "statistics", "Statistics"),
        Binding("escape", "back", "Back", show=False),
        Binding("question_mark", "help", "Help", key_display="?"),
        Binding("q", "quit", "Quit"),
    ]

    def __init__(self, subjects: Sequence[BrowsedTarget]):
        super().__init__()
        self.session = BrowsingSession(subjects)
        self.spans: TensorSpans | None = None
        self.said: dict[ItemPath, list[DetailLine]] = {}
        self.asked: ItemPath | None = None

    def compose(self) -> ComposeResult:
        """Put the headline above the rows and the details, the keys below."""
        title, sentence, *memory = self.session.headline
        yield Static(Text(printable(title, 400)), id="title")
        yield Static(Text(sentence), id="sentence")
        if memory:
            yield Static(Text(memory[0]), id="memory")
        if not self.session.outline.is_pair:
            yield Static(id="strip")
            yield Static(id="legend")
        with Horizontal(id="body"):
            with Vertical(id="left"):
                yield Static(id="header")
                yield RowsPane(self._draw, self._is_hit)
            with VerticalScroll(id="details"):
                yield Static(id="said")
        yield Static(id="status")
        yield Input(placeholder="part of a name", id="search", compact=True)
        yield Footer()

    def on_mount(self) -> None:
        """Show the rows; look up where tensors lie meanwhile."""
        self.pane = self.query_one(RowsPane)
        self.pane.show(len(self.session.rows), 0)
        self.pane.focus()
        if not self.session.outline.is_pair:
            self.run_worker(self._find_spans, thread=True, group="spans")

    def on_resize(self) -> None:
        """Put the details below the rows where the terminal is narrow."""
        self.screen.set_class(self.size.width < _NARROW, "narrow")
        self.call_after_refresh(self._titles)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer the keys of one target to one, and those of two to two."""
        is_pair = self.session.outline.is_pair
        if action == "changes":
            return is_pair
        if action == "split":
            return not is_pair
        return True

    @property
    def here(self) -> ItemPath:
        """The path of the current row; that of everything where there is none."""
        rows = self.session.rows
        return rows[self.pane.current] if rows else ()

    def _draw(self, row: int, width: int) -> list[Piece]:
        session = self.session
        return row_pieces(session.outline, session.view, session.rows[row], width)

    def _is_hit(self, row: int) -> bool:
        return self.session.rows[row] in self.session.hits.paths

    def _show(self, row: int) -> None:
        self.pane.show(len(self.session.rows), row)

    def _titles(self) -> None:
        width = max(self.pane.size.width, 20)
        self.query_one("#header", Static).update(
            _text([header_pieces(self.session.outline, width)])
        )
        if not self.session.outline.is_pair:
            strip, legend = self.session.strip(max(self.size.width - 2, 10))
            self.query_one("#strip", Static).update(_text([strip]))
            self.query_one("#legend", Static).update(_text([legend]))

    def on_rows_pane_moved(self) -> None:
        """Say what is known of the row that is now the current one."""
        self.asked = None
        self._say()

    def on_rows_pane_chosen(self) -> None:
        """Open or close the row that was clicked."""
        self.action_toggle()

    def _say(self) -> None:
        session, path = self.session, self.here
        lines = details_of(session.outline, path)
        placed = session.outline.item(path).first.row.tensors <= _MOST_PLACED
        if self.spans is not None and placed and path:
            lines += place_lines(session.outline, path, self.spans)
        lines += self.said.get(path, [self._unsaid(path)])
        self.query_one("#said", Static).update(_details_text(lines))
        self.query_one("#status", Static).update(Text(printable(session.status(self.pane.current), 400)))

    def _unsaid(self, path: ItemPath) -> DetailLine:
        """Return what stands in the place of statistics."""
        whys = [no_values(each) for each in self.session.subjects]
        if all(whys):
            return DetailLine("values", whys[0], "note")
        if path == self.asked:
            size = units.size(self._bytes_of(path))
            return DetailLine("values", f"{size} are to be read: s again to do so", "note")
        return DetailLine("values", "s: statistics", "note")

    def _bytes_of(self, path: ItemPath) -> int:
        item = self.session.outline.item(path)
        return sum(item.nbytes(side) for side in range(len(item.sides)))

    def action_toggle(self) -> None:
        """Open the current row, or close it."""
        self._show(self.session.toggle(self.here))

    def action_open(self) -> None:
        """Open the current row; go into it where it is open."""
        path = self.here
        if path in self.session.view.opened:
            self.pane.action_move(1)
        else:
            self._show(self.session.toggle(path))

    def action_close(self) -> None:
        """Close the current row; go to the one above it where it is closed."""
        path = self.here
        if path in self.session.view.opened and path:
            self._show(self.session.toggle(path))
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
        self._titles()
        self._show(0)

    def action_split(self) -> None:
        """Show the layers of a folded row one by one, or as one row again."""
        self._show(self.session.split(self.here))

    def action_changes(self) -> None:
        """Leave out what is equal in both targets, or show it again."""
        self._show(self.session.only_changes(self.here))

    def action_back(self) -> None:
        """End a search; a filter where none is on."""
        if self.session.hits.text:
            self.session.hits = NameHits()
            self._show(self.pane.current)
        elif not self.session.wanted.is_any:
            self._refill(self.session.filter_none)

    def action_help(self) -> None:
        """Show the keys."""
        self.push_screen(HelpScreen())

    def action_search(self) -> None:
        """Ask for a part of a name."""
        field = self.query_one("#search", Input)
        field.value = ""
        field.display = True
        field.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Say how many tensors have what is typed so far."""
        if event.input.display and event.value:
            number = number_of_hits(self.session.outline, event.value)
            said = f"{units.count(number, 'tensor')}: enter to go there, escape to leave"
            self.query_one("#status", Static).update(Text(said))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Search, and go to the first hit after the current row."""
        self._leave_search()
        session = self.session
        session.hits = find(session.outline, session.view, event.value)
        self.action_hit(1)

    def on_key(self, event: object) -> None:
        """Leave the search field with escape."""
        if getattr(event, "key", "") == "escape" and self.query_one("#search").display:
            self._leave_search()
            self._say()

    def _leave_search(self) -> None:
        self.query_one("#search").display = False
        self.pane.focus()

    def action_hit(self, step: int) -> None:
        """Go to the next hit of the search, or to the one before."""
        row = self.session.go_to_hit(self.here, step)
        self._show(self.pane.current if row is None else row)

    def action_statistics(self) -> None:
        """Read the values of the current row, and say what they look like."""
        path = self.here
        if all(map(no_values, self.session.subjects)):
            return
        if self._bytes_of(path) > _ASKED_ABOVE and self.asked != path:
            self.asked = path
            self._say()
            return
        self.said[path] = [DetailLine("values", "reading", "note")]
        self._say()
        outline = self.session.outline
        self.run_worker(
            lambda: self._measure(outline, path), thread=True, group="values", exclusive=True
        )

    def _measure(self, outline: object, path: ItemPath) -> None:
        """Read values in a thread of its own; what was found is said where it still belongs."""
        session, worker = self.session, get_current_worker()
        lines: list[DetailLine] = []
        for side, subject in enumerate(session.subjects):
            keys = session.outline.inventories[side].columns.keys
            wanted = [keys[index] for index in session.outline.tensors(path, side)]
            if len(session.subjects) > 1:
                lines.append(DetailLine("", "AB"[side], "head"))
            if not wanted:
                lines.append(DetailLine("values", "none: it is not there", "note"))
                continue
            try:
                found = measured(subject, wanted, self._progress(path, worker))
                lines += value_lines(found, self._details_width())
            except InputError as error:
                lines.append(DetailLine("values", printable(error, 400), "note"))
            except _Cancelled:
                return
        if not worker.is_cancelled:
            self.call_from_thread(self._measured, outline, path, lines)

    def _measured(self, outline: object, path: ItemPath, lines: list[DetailLine]) -> None:
        if outline is self.session.outline:
            self.said[path] = lines
            self._say()

    def _progress(self, path: ItemPath, worker: object) -> Callable[[int, int], None]:
        """Return what is told how far a pass is: it says so, and ends one that is not wanted."""
        last = time.monotonic()

        def told(done: int, total: int) -> None:
            nonlocal last
            if getattr(worker, "is_cancelled", False):
                raise _Cancelled
            if time.monotonic() - last > 0.2:
                last = time.monotonic()
                line = DetailLine("values", f"reading: {units.share(done, total)}", "note")
                self.call_from_thread(self._measured, self.session.outline, path, [line])

        return told

    def _details_width(self) -> int:
        return max(self.query_one("#said").size.width - 1, 16)

    def _find_spans(self) -> None:
        """Look up where tensors lie, in a thread of its own: headers may be long."""
        try:
            spans = spans_of(self.session.subjects[0])
        except InputError:  # the files are not what they were: nothing is said of places
            return
        self.call_from_thread(self._placed, spans)

    def _placed(self, spans: TensorSpans | None) -> None:
        self.spans = spans
        self._say()


class _Cancelled(Exception):
    """A pass over values is no longer wanted."""


def _text(lines: Sequence[Sequence[Piece]]) -> Text:
    """Return pieces as text in which nothing is markup."""
    text = Text(no_wrap=True)
    for number, pieces in enumerate(lines):
        text.append("\n" if number else "")
        for piece, word in pieces:
            text.append(piece, STYLES.get(word, ""))
    return text


_KINDS = {
    "title": "bold #ffffff",
    "head": "bold #56b4e9",
    "note": "#9aa4b2",
    "name": "#c8d0da",
    "picture": "#2fbf91",
}


def _details_text(lines: Sequence[DetailLine]) -> Text:
    """Return the lines of the pane, terms before their texts."""
    text = Text()
    for term, said, kind in lines:
        if kind == "head" and text:
            text.append("\n")
        shown = said if kind == "picture" else printable(said, 600)
        if kind == "figure" or term:
            text.append(f"{term:<11} ", STYLES["dim"])
        text.append(f"{shown}\n", _KINDS.get(kind, ""))
    return text
