"""The notebook's table: well-formed, complete, and no name is markup."""

from html.parser import HTMLParser
from pathlib import Path

import explorer as ex
from explorer.document.html import html_of
from explorer.document.records import Column, Document, Notes, Paragraph, Table, Terms
from tests.analyses.test_ledger import MODELS, folder_of
from tests.checkpoints import write_folder

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=y>",
    "a&b",
    '"quoted"',
    "\x1b[1m",
]


class Page(HTMLParser):
    """Collects tags and text, and that every tag is closed in order."""

    def __init__(self):
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag != "br":  # has no end
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def parse(html: str) -> Page:
    parser = Page()
    parser.feed(html)
    parser.close()
    assert not parser.open
    return parser


def test_figures_and_rows_are_there(tmp_path: Path):
    model = MODELS["sentence-transformers/all-MiniLM-L6-v2"]
    page = parse(ex.explore(folder_of(tmp_path, model))._repr_html_())
    assert "22,713,216" in page.text
    assert any("encoder/layer/[0-5]" in text for text in page.text)


def test_names_are_never_markup(tmp_path: Path):
    layout = {f"{name}.weight": ((2, 3), "F32") for name in HOSTILE}
    page = parse(ex.explore(write_folder(tmp_path, layout))._repr_html_())
    assert page.tags <= {"div", "style", "p", "b", "span", "br", "ul", "li", "table", "thead", "details", "summary",
                         "tbody", "tfoot", "tr", "td", "th"}  # fmt: skip
    assert any("<script>alert(1)" in text for text in page.text)
    assert not any("\x1b" in text for text in page.text)


def test_a_huge_tree_is_cut_and_says_so(tmp_path: Path):
    layout = {f"{'x' * i}.weight": ((i,), "F32") for i in range(1, 700)}
    page = parse(ex.explore(write_folder(tmp_path, layout))._repr_html_())
    assert any(text.endswith(" more rows are not shown") for text in page.text)


def test_no_text_of_any_block_is_markup():
    text = HOSTILE[0]
    table = Table((Column(text),), [(text,)], bars=(0.5,))
    blocks = (table, Paragraph(text), Terms(((text, text),), 1, text), Notes((text,)))
    page = parse(html_of(Document(text, blocks)))
    assert page.text.count(text) == 8
    assert "script" not in page.tags
