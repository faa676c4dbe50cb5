"""Whatever a document shows, its four lowerings show the same cells, and none is markup.

Each is parsed back by what knows nothing of explorer: csv, html.parser, markdown-it, and for
text the splitting of lines where the widest cell of each column ends.
"""

import csv
import io
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser

import jax.numpy as jnp
import numpy as np
import pytest
from markdown_it import MarkdownIt

import explorer as ex
from explorer.analyses.ledger import ledger_of
from explorer.analyses.summary import summarize
from explorer.architectures.catalog.entries import entries, undisclosed
from explorer.document.csv import csv_of
from explorer.document.html import html_of
from explorer.document.markdown import markdown_of
from explorer.document.records import Document, Table, shown
from explorer.document.text import text_of
from explorer.training.logging.curves import Run, StepRecord
from explorer.training.logging.table import history_document
from explorer.views.catalog import catalog_document, catalog_rows
from explorer.views.comparison import comparison_document
from explorer.views.counts import counts_document
from explorer.views.exports import records_document, tensor_records
from explorer.views.inventory import inventory_document
from explorer.views.roles import roles_document
from explorer.views.summary import summary_document
from explorer.views.tree import tensors_table
from tests.zoo import TREES

MARKDOWN = MarkdownIt("gfm-like", {"linkify": False, "html": True})
WIDE = 100_000  # no column is left out and no cell is cut
HOSTILE = {
    name: jnp.ones((2, 3))
    for name in (
        "</script><script>alert(1)</script>", "<img src=x onerror=y>", "a&amp;b", '"q"', "a|b", "`c`",
        "**bold**", "[x](y)", "=1+1", "@cmd", "-2", "+3", "\x1b[1m", "line\nbreak", "\u202eabc", "$x$",
        "# h", "1. one", "a,b", "a;b\tc", "\ud800",
    )
}  # fmt: skip


def documents() -> dict[str, Callable[[], Document]]:
    """Return a document of every kind of result, built when it is asked for."""
    found: dict[str, Callable[[], Document]] = {}
    for name, make in (*TREES.items(), ("hostile", lambda: HOSTILE)):
        found[f"inventory of {name}"] = lambda make=make: inventory_document(
            ex.explore(make())
        )
        found[f"tensors of {name}"] = lambda make=make: Document(
            "tensors", (tensors_table(ex.explore(make())),)
        )
        found[f"summary of {name}"] = lambda make=make: summary_document(
            summarize(ex.explore(make()), by=["module", "role"])
        )
        found[f"records of {name}"] = lambda make=make: records_document(
            tensor_records(ex.explore(make()))
        )
    targets = ("gpt2", "deepseek-v3", "grok-1")
    found["counts"] = lambda: counts_document([ledger_of(ex.explore(t)) for t in targets])
    found["catalogue"] = lambda: catalog_document(catalog_rows(entries(), undisclosed()))
    found["roles"] = lambda: roles_document(ex.report_roles("gpt2"))
    found["architecture"] = lambda: inventory_document(ex.explore("deepseek-v3"))
    found["comparison"] = lambda: comparison_document(
        ex.compare(HOSTILE | {"a": jnp.ones(2)}, {"a": jnp.ones(3)})
    )
    found["history"] = lambda: history_document(run(), range(2))
    return found


def run() -> Run:
    watch = np.linspace(0, 1, 4, dtype=np.float32).reshape(2, 2)
    records = [StepRecord(n, {"loss": 4 / n, "<b>": 1.0}, watch) for n in range(1, 30)]
    return Run(records, tuple(HOSTILE)[:2], ("norm", "zeros"))


DOCUMENTS = documents()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_lowerings_agree(name: str):
    document = DOCUMENTS[name]()
    tables = [block for block in document.blocks if isinstance(block, Table)]
    expected = [cells_of(table, once=True) for table in tables]
    assert from_html(html_of(document, max_rows=10**6)) == expected
    assert from_markdown(markdown_of(document)) == [*map(cells_of, tables)]
    for table in tables:
        assert from_csv(csv_of(Document("", (table,)))) == cells_of(table, exact=True)
    assert from_text(text_of(document, WIDE), tables) == expected


@pytest.mark.parametrize("name", DOCUMENTS)
def test_no_lowering_lets_a_control_character_through(name: str):
    document = DOCUMENTS[name]()
    for lowered in (text_of(document, 80), markdown_of(document), csv_of(document), html_of(document)):  # fmt: skip
        assert all(line.isprintable() for line in lowered.split("\n"))
        lowered.encode()


def test_names_are_not_markup_in_markdown_nor_formulas_in_csv():
    document = DOCUMENTS["inventory of hostile"]()
    tags = set(re.findall("<([a-z]+)", MARKDOWN.render(markdown_of(document))))
    assert tags == {"p", "strong", "table", "thead", "tbody", "tr", "th", "td"}
    cells = [cell for row in csv.reader(io.StringIO(csv_of(document))) for cell in row]
    assert {"'=1+1", "'@cmd", "'-2", "'+3"} < set(cells)
    assert not [cell for cell in cells if cell[:1] in tuple("=+-@")]


def cells_of(table: Table, exact: bool = False, once: bool = False) -> list[list[str]]:
    """Return what all lowerings are to show, but for the escapes of control characters.

    Those for readers (`once`) leave empty what the row above has too, where a column says so.
    """
    above: list[object] = [None] * len(table.columns)
    rows: list[list[object]] = [[column.title for column in table.columns]]
    for row in table.rows:
        pairs = zip(table.columns, row, above, strict=True)
        rows.append(["" if once and c.once and x == old else x for c, x, old in pairs])
        above = [*row]
    return [[plain(cell, exact) for cell in row] for row in rows]


def plain(cell: object, exact: bool = False) -> str:
    text = str(cell) if exact and isinstance(cell, bool | int | float) else shown(cell)
    escaped = (c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return "".join(escaped).strip()


class _Tables(HTMLParser):
    """Collects the cells of tables that have a head; only such are tables of a document."""

    def __init__(self):
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.inside = self.cell = self.bar = False

    def handle_starttag(self, tag, attrs):
        if tag == "thead":
            self.tables.append([])
            self.inside = True
        elif tag == "tr" and self.inside:
            self.tables[-1].append([])
        elif tag in ("td", "th") and self.inside:
            self.bar = ("class", "bar") in attrs
            self.cell = True
            if not self.bar:
                self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        if tag == "table":
            self.inside = False
        elif tag in ("td", "th"):
            self.cell = False

    def handle_data(self, data):
        if self.inside and self.cell and not self.bar:
            self.tables[-1][-1][-1] += data


def from_html(page: str) -> list[list[list[str]]]:
    parser = _Tables()
    parser.feed(page)
    parser.close()
    return [[[cell.strip() for cell in row] for row in table] for table in parser.tables]


def from_markdown(text: str) -> list[list[list[str]]]:
    return from_html(MARKDOWN.render(text))


def from_csv(text: str) -> list[list[str]]:
    rows = csv.reader(io.StringIO(text))
    return [[re.sub("^'(?=[=+@-])", "", cell).strip() for cell in row] for row in rows]


def from_text(text: str, tables: list[Table]) -> list[list[list[str]]]:
    """Return the cells of the tables of a text, found by where the titles and cells end."""
    blocks = [block.split("\n") for block in text.split("\n\n")]
    found = []
    for table in tables:
        titles = [column.title for column in table.columns]
        lines = next(b for b in blocks if b[0].split() == " ".join(titles).split())
        blocks.remove(lines)
        if table.total:
            assert set(lines.pop(-2)) <= {"─", " "}
        found.append(list(rows_in(lines, table)))
    return found


def rows_in(lines: list[str], table: Table) -> Iterator[list[str]]:
    widths = [
        max(len(row[i]) for row in untrimmed(table)) for i in range(len(table.columns))
    ]
    for line in lines:
        row = []
        for width in widths:
            row.append(line[:width].strip())
            line = line[width + 2 :]
        yield row


def untrimmed(table: Table) -> list[list[str]]:
    rows = [[column.title for column in table.columns], *table.shown_once()]
    return [
        ["".join(c if c.isprintable() else ascii(c)[1:-1] for c in shown(x)) for x in row]
        for row in rows
    ]
