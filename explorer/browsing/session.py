"""What a browser shows, without a screen: targets, filter, rows, hits, and the texts around them."""

from collections.abc import Sequence

from msgspec.structs import replace

from explorer.analyses.ledger import ledger_of
from explorer.browsing.cells import CellText, share_strip
from explorer.browsing.filtering import (
    TensorFilter,
    components_of,
    filtered,
    names_of,
    roles_of,
)
from explorer.browsing.outline import ItemPath, Outline
from explorer.browsing.search import NameHits, find, next_hit
from explorer.browsing.state import (
    ORDERS,
    RowView,
    first_view,
    opened_to,
    rows_of,
    split_at,
    toggled,
)
from explorer.browsing.subject import BrowsedTarget
from explorer.document.palette import colour_of
from explorer.document.records import Paragraph
from explorer.inventory.inventory import Inventory
from explorer.views import units
from explorer.views.ledger import ledger_document
from explorer.views.side_by_side import totals_sentence

__all__ = ["BrowsingSession"]


class BrowsingSession:
    """One target or two, and what was done to their rows so far.

    >>> from explorer.browsing.subject import browsed
    >>> session = BrowsingSession([browsed("gpt2")])
    >>> session.headline[1]
    '124,439,808 parameters in 196 tensors = 124,337,664 weights + 102,144 biases'
    """

    def __init__(self, subjects: Sequence[BrowsedTarget]):
        self.subjects = tuple(subjects)
        self.wanted = TensorFilter()
        self.hits = NameHits()
        self.names = names_of(each.inventory for each in subjects)
        self.whole = Outline([each.inventory for each in subjects])
        self.headline = self._headline()
        self._show(self.whole)

    def _show(self, outline: Outline) -> None:
        self.outline = outline
        self.view = first_view(outline)
        self.rows = rows_of(outline, self.view)
        self.search("")

    def search(self, text: str) -> None:
        """Search names for a text; "" ends a search."""
        self.hits = find(self.outline, self.view, text) if text else NameHits()
        self.hit_rows = frozenset(self.hits.paths)

    def is_hit(self, row: int) -> bool:
        """Return whether the search found the row at a position."""
        return self.rows[row] in self.hit_rows

    def _headline(self) -> list[str]:
        """Return a title and the sentences below it, as `show` or `compare` has them."""
        documents = [ledger_document(ledger_of(each.inventory)) for each in self.subjects]
        if len(documents) == 1:
            texts = [b.text for b in documents[0].blocks[:2] if isinstance(b, Paragraph)]
            return [documents[0].title, *texts]
        titles = [f"{side}: {d.title}" for side, d in zip("AB", documents, strict=True)]
        before, after = (each and each.row for each in self.whole.root.sides)
        return ["   ".join(titles), totals_sentence(before, after)]

    def with_view(self, view: RowView, path: ItemPath) -> int:
        """Show another view; return where a row is now, or that above it which is shown."""
        self.view = view
        self.rows = rows_of(self.outline, view)
        places = {each: row for row, each in enumerate(self.rows)}
        while path and path not in places:
            path = path[:-1]
        return places.get(path, 0)

    def toggle(self, path: ItemPath) -> int:
        """Open a row, or close it."""
        return self.with_view(toggled(self.outline, self.view, path), path)

    def split(self, path: ItemPath) -> int:
        """Show the copies of a folded row one by one, or fold them again."""
        row = self.with_view(split_at(self.outline, self.view, path), path)
        self.search(self.hits.text)
        return row

    def reorder(self, path: ItemPath) -> int:
        """Show rows in the next order."""
        order = ORDERS[(ORDERS.index(self.view.order) + 1) % len(ORDERS)]
        row = self.with_view(replace(self.view, order=order), path)
        self.search(self.hits.text)
        return row

    def only_changes(self, path: ItemPath) -> int:
        """Leave out what is equal in both targets, or show it again."""
        changed = not self.view.changes_only and self.outline.is_pair
        row = self.with_view(replace(self.view, changes_only=changed), path)
        self.search(self.hits.text)
        return row

    def filter_by(self, word: str) -> None:
        """Show the tensors of the next role, or component, and after the last those of any.

        Args:
            word: "role" or "component".
        """
        words = ("", *self.words(word))
        now = words.index(getattr(self.wanted, word))
        self.wanted = replace(self.wanted, **{word: words[(now + 1) % len(words)]})
        self._filter()

    def filter_none(self) -> None:
        """Show every tensor."""
        self.wanted = TensorFilter()
        self._filter()

    def words(self, word: str) -> tuple[str, ...]:
        """Return the roles, or the components, of the tensors that the other filter shows."""
        shown = self._filtered(replace(self.wanted, **{word: ""}))
        return roles_of(shown) if word == "role" else components_of(shown, self.names)

    def _filtered(self, wanted: TensorFilter) -> list[Inventory]:
        return [filtered(each.inventory, wanted, self.names) for each in self.subjects]

    def _filter(self) -> None:
        text, order = self.hits.text, self.view.order
        if self.wanted.is_any:
            self._show(self.whole)
        else:
            self._show(Outline(self._filtered(self.wanted), is_part=True))
        self.with_view(replace(self.view, order=order), ())
        self.search(text)

    def go_to_hit(self, path: ItemPath, step: int) -> int | None:
        """Return where the next hit is, all rows above it open; None without any."""
        hit = next_hit(self.outline, self.view, self.hits, path, step)
        if hit is None:
            return None
        return self.with_view(opened_to(self.view, hit), hit)

    def nbytes(self, path: ItemPath) -> int:
        """Return the bytes of a row in all targets."""
        item = self.outline.item(path)
        return sum(item.nbytes(side) for side in range(len(item.sides)))

    def strip(self, width: int) -> tuple[list[CellText], list[CellText]]:
        """Return the components of a target as a bar, and which colour is which."""
        ledger = ledger_of(self.subjects[0].inventory)
        shares: list[tuple[str, int]] = []
        legend: list[CellText] = []
        texts = units.shares([*ledger.components.values()])
        for (word, number), share in zip(ledger.components.items(), texts, strict=True):
            colour = "other" if colour_of(word) is None else word
            shares.append((colour, number))
            legend += [CellText("■ ", colour), CellText(f"{word} {share}   ", "dim")]
        return share_strip(shares, width), legend

    def status(self, row: int) -> str:
        """Return one line: where one is, and what was done to the rows."""
        parts = [f"row {min(row + 1, len(self.rows)):,} of {len(self.rows):,}"]
        if self.view.order != "source":
            parts.append(f"by {self.view.order}")
        if self.view.changes_only:
            parts.append("only what differs")
        if not self.wanted.is_any:
            parts.append(self._shown())
        if self.hits.text:
            parts.append(self._found(row))
        return " · ".join(parts)

    def _shown(self) -> str:
        words = [word for word in (self.wanted.role, self.wanted.component) if word]
        root, whole = self.outline.root, self.whole.root
        numbers = [
            f"{root.parameters(side):,} of {whole.parameters(side):,}"
            for side in range(len(self.subjects))
        ]
        return f"only {', '.join(words)}: {' and '.join(numbers)} parameters"

    def _found(self, row: int) -> str:
        hits, here = self.hits, self.rows[row] if row < len(self.rows) else ()
        if not hits.tensors:
            return f"no name has “{hits.text}”"
        at = f"{hits.paths.index(here) + 1:,} of " if here in self.hit_rows else ""
        rows = f"{at}{units.count(len(hits.paths), 'row')}"
        found = f"“{hits.text}”: {units.count(hits.tensors, 'tensor')} in {rows}"
        return f"{found} (n: next)" if len(hits.paths) > 1 else found
