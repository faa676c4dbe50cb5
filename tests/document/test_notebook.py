"""The notebook's table under the styles of notebooks: aligned, its levels kept, dark and light."""

from html.parser import HTMLParser
from pathlib import Path

import pytest

import explorer as ex
from tests.document.notebook_pages import STYLES, check_tree
from tests.views.report.chromium import CHROMIUM, opened

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
@pytest.mark.parametrize("style", [*STYLES.values(), STRIPPED], ids=[*STYLES, "stripped"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_under_the_styles_of_notebooks(tmp_path: Path, style: str, dark: bool):
    fragment = ex.explore("gpt2")._repr_html_()
    if style == STRIPPED:  # as where a reader takes styles out
        head, _, rest = fragment.partition("<style>")
        fragment = head + rest.partition("</style>")[2]
    colours = "background:#111;color:#eee" if dark else "background:#fff;color:#111"
    page = (
        f"<!doctype html><meta charset=utf-8><style>{style}</style><body style='{colours}'>"
        f"<div class='jp-RenderedHTMLCommon rendered_html output'>{fragment}</div>"
    )
    (tmp_path / "cell.html").write_text(page, "utf-8")
    with opened(tmp_path / "cell.html", dark=dark) as shown:
        check_tree(shown, "rgb(238, 238, 238)" if dark else "rgb(17, 17, 17)")
        bars = shown.evaluate(
            """[...document.querySelectorAll('.bar span')].map(bar =>
            bar.getBoundingClientRect().left - bar.closest('td').getBoundingClientRect().left)"""
        )
        assert bars
        assert len(set(bars)) == 1  # they begin below each other
        assert shown.complaints == []
        shown.evaluate("document.querySelector('summary').click()")
        assert (
            shown.evaluate("document.querySelector('details table').checkVisibility()")
            is False
        )


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.slow
def test_its_style_stays_in_a_shadow_root(tmp_path: Path):
    """Where an output has a scope of its own, it brings all that it needs."""
    fragment = ex.explore("gpt2")._repr_html_()
    page = f"""<!doctype html><meta charset=utf-8><style>{STYLES["vscode"]}</style>
        <body style="color:#111"><div><template shadowrootmode="open">{fragment}</template></div>"""
    (tmp_path / "cell.html").write_text(page, "utf-8")
    with opened(tmp_path / "cell.html") as shown:
        inside = "(document.querySelector('body div').shadowRoot)"
        check_tree(shown, "rgb(17, 17, 17)", inside)
        assert shown.complaints == []
