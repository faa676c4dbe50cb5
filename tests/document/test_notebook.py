"""The notebook's table under the styles of notebooks: aligned, its levels kept, dark and light."""

from html.parser import HTMLParser
from pathlib import Path

import pytest

import explorer as ex
from tests.views.report.chromium import CHROMIUM, opened

# what JupyterLab 4 and VS Code's renderer say of tables, from their own style sheets
JUPYTER = """
.jp-RenderedHTMLCommon table{border-collapse:collapse;border:none;font-size:13px;table-layout:fixed;margin-left:auto;margin-right:auto}
.jp-RenderedHTMLCommon td,.jp-RenderedHTMLCommon th,.jp-RenderedHTMLCommon tr{vertical-align:middle;padding:.5em;line-height:normal;white-space:normal;max-width:none;border:none}
:not(.jp-RenderedMarkdown).jp-RenderedHTMLCommon td,:not(.jp-RenderedMarkdown).jp-RenderedHTMLCommon th,:not(.jp-RenderedMarkdown).jp-RenderedHTMLCommon tr{text-align:right}
.jp-RenderedHTMLCommon th{font-weight:bold}
"""
PLAIN = "table{border-collapse:collapse}th,td{text-align:right;padding:5px 10px;white-space:normal}"
STRIPPED = "no style at all"


class _Cells(HTMLParser):
    """Collects the attributes and the text of cells."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[tuple[dict[str, str | None], str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("td", "th"):
            self.cells.append((dict(attrs), ""))

    def handle_data(self, data: str) -> None:
        if self.cells:
            attributes, text = self.cells[-1]
            self.cells[-1] = (attributes, text + data)


def test_every_cell_says_its_alignment_and_levels_are_never_joined():
    parser = _Cells()
    parser.feed(ex.explore("gpt2")._repr_html_())
    named = [(at, text) for at, text in parser.cells if at.get("class") == "name"]
    assert tuple(
        text for _, text in named if text.strip() in ("layers_[0-11]", "attention")
    ) == ("layers_[0-11]", "\N{NO-BREAK SPACE}" * 4 + "attention")
    for attributes, text in parser.cells:
        if attributes["class"] == "bar":
            continue
        if text.replace(",", "").isdecimal():
            assert attributes["align"] == "right"
        assert attributes["style"] == f"text-align:{attributes['align']}"


def test_columns_that_are_empty_are_left_out():
    html = ex.explore("gpt2")._repr_html_()
    assert "sharding" not in html
    assert "per device" not in html


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.slow
@pytest.mark.parametrize(
    "style", [JUPYTER, PLAIN, STRIPPED], ids=["jupyter", "plain", "stripped"]
)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_under_the_styles_of_notebooks(tmp_path: Path, style: str, dark: bool):
    fragment = ex.explore("gpt2")._repr_html_()
    if style == STRIPPED:  # as where a reader takes styles out
        head, _, rest = fragment.partition("<style>")
        fragment = head + rest.partition("</style>")[2]
    colours = "background:#111;color:#eee" if dark else "background:#fff;color:#111"
    page = (
        f"<!doctype html><meta charset=utf-8><style>{style}</style>"
        f'<body style="{colours}"><div class="jp-RenderedHTMLCommon">{fragment}</div>'
    )
    (tmp_path / "cell.html").write_text(page, "utf-8")
    with opened(tmp_path / "cell.html", dark=dark) as shown:
        cells = shown.evaluate("""[...document.querySelectorAll('details tbody tr')].map(row => {
            const range = document.createRange(); range.selectNodeContents(row.cells[0]);
            const text = row.cells[0].textContent.trim(), node = row.cells[0].firstChild;
            range.setStart(node, node.length - node.textContent.trimStart().length);
            const last = row.cells[row.cells.length - 1], numbers = document.createRange();
            numbers.selectNodeContents(last);
            return {text, left: range.getBoundingClientRect().left, right: numbers.getBoundingClientRect().right,
                    colour: getComputedStyle(last).color};
        })""")
        places = {cell["text"]: cell["left"] for cell in cells}
        assert places["embed"] == places["layers_[0-11]"]
        assert places["attention"] > places["layers_[0-11]"] + 10
        assert places["query"] > places["attention"] + 10
        assert (
            len({round(cell["right"], 1) for cell in cells}) == 1
        )  # numbers end below each other
        assert {cell["colour"] for cell in cells} == {
            "rgb(238, 238, 238)" if dark else "rgb(17, 17, 17)"
        }
        assert shown.complaints == []
        shown.evaluate("document.querySelector('summary').click()")
        assert (
            shown.evaluate("document.querySelector('details table').checkVisibility()")
            is False
        )
