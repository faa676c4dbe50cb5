"""Notebooks' own styles of outputs, and what an inventory's tree must look like under each."""

from tests.views.report.chromium import Page

__all__ = ["STYLES", "check_tree"]

# what JupyterLab 4 says of tables; its outputs have this class
_JUPYTER = """
.jp-RenderedHTMLCommon table{border-collapse:collapse;border:none;font-size:13px;table-layout:fixed;margin-left:auto;margin-right:auto}
.jp-RenderedHTMLCommon td,.jp-RenderedHTMLCommon th,.jp-RenderedHTMLCommon tr{vertical-align:middle;padding:.5em;line-height:normal;white-space:normal;max-width:none;border:none}
:not(.jp-RenderedMarkdown).jp-RenderedHTMLCommon td,:not(.jp-RenderedMarkdown).jp-RenderedHTMLCommon th,:not(.jp-RenderedMarkdown).jp-RenderedHTMLCommon tr{text-align:right}
.jp-RenderedHTMLCommon th{font-weight:bold}
"""
# what the classic notebook says of tables; Colab's outputs have its class, in a frame
_COLAB = """
body{font-family:Roboto,sans-serif;font-size:14px;line-height:1.5}
.rendered_html table{margin-left:auto;margin-right:auto;border:none;border-collapse:collapse;border-spacing:0;font-size:12px;table-layout:fixed}
.rendered_html tr,.rendered_html th,.rendered_html td{text-align:right;vertical-align:middle;padding:.5em .5em;line-height:normal;white-space:normal;max-width:none;border:none}
.rendered_html th{font-weight:bold}
.rendered_html ul{list-style:disc;margin:0 2em;padding-left:0}
"""
# what VS Code's page of outputs says of tables: wide, and to the right
_VS_CODE = """
table,thead,tr,th,td,tbody{border:none!important;border-color:transparent;border-spacing:0;border-collapse:collapse}
table,th,tr{vertical-align:middle;text-align:right}
thead{font-weight:bold;background-color:rgba(130,130,130,.16)}
th,td{padding:4px 8px}
tr:nth-child(even){background-color:rgba(130,130,130,.08)}
tbody th{font-weight:normal}
"""
# and what it said in versions of 2020 and 2021
_VS_CODE_OF_2020 = _VS_CODE.replace("text-align:right", "text-align:left!important") + (
    "table{width:100%}"
)
# what Tailwind, which marimo has, takes from all elements
_MARIMO = """
*{margin:0;padding:0;box-sizing:border-box;border:0 solid}
table{border-collapse:collapse;border-color:inherit;text-indent:0}
ol,ul{list-style:none}
summary{display:list-item}
.output{font-family:sans-serif;font-size:16px;line-height:1.5}
"""

STYLES = {
    "jupyter": _JUPYTER,
    "colab": _COLAB,
    "vscode": _VS_CODE,
    "vscode of 2020": _VS_CODE_OF_2020,
    "marimo": _MARIMO,
    "plain": "table{border-collapse:collapse}th,td{text-align:right;padding:5px 10px;white-space:normal}",
}

# of the tables whose rows can be closed: where the text of each cell begins and ends
_CELLS = """[...ROOT.querySelectorAll('.explorer-document details table')].slice(0, 1).flatMap(
    table => [...table.rows].map(row => [...row.cells].map(cell => {
        const range = document.createRange(), node = cell.firstChild;
        range.selectNodeContents(cell);
        if (node) range.setStart(node, node.length - node.textContent.trimStart().length);
        const {left, right, top, height} = range.getBoundingClientRect();
        return {text: cell.textContent.trim(), left, right, top, height,
                colour: getComputedStyle(cell).color};
    })))"""


def check_tree(page: Page, colour: str | None = None, root: str = "document") -> None:
    """Check that the first inventory in a page, that of gpt2, shows its tree and its columns.

    Args:
        page: with an inventory in it.
        colour: that every cell must have; None for one colour, whichever.
        root: script that gives what holds the inventory.
    """
    head, *rows = page.evaluate(_CELLS.replace("ROOT", root))
    places = {row[0]["text"]: row[0]["left"] for row in rows}
    assert places["embed"] == places["layers_[0-11]"] == places["final_norm"]
    assert places["attention"] == places["mlp"] > places["layers_[0-11]"] + 10
    assert places["query"] == places["up_proj"] > places["attention"] + 10
    for row in rows:  # one line each, on one level
        texts = [cell for cell in row if cell["text"]]
        assert max(cell["height"] for cell in texts) < 25, row[0]["text"]
        tops = [cell["top"] + cell["height"] / 2 for cell in texts]
        assert max(tops) - min(tops) < 4, row[0]["text"]
    for column in zip(head, *rows, strict=True):
        title, *cells = (cell for cell in column if cell["text"])
        numbers = title["text"] in ("tensors", "parameters", "bytes")
        side = "right" if numbers else "left"
        if title["text"] != "name":
            assert len({round(cell[side], 1) for cell in (title, *cells)}) == 1, title
    colours = {cell["colour"] for row in rows for cell in row}
    assert len(colours) == 1
    assert colour is None or colours == {colour}
    shapes, numbers = rows[0][1], rows[0][-1]
    assert shapes["left"] - rows[0][0]["left"] > 20
    assert numbers["right"] > shapes["right"]
