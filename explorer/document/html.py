"""A document as an HTML fragment for notebooks: escaped text, no script, its own style.

Jupyter, Colab and VS Code align the cells of every table to the right and join spaces. So each
cell says its own alignment, levels of a tree are spaces that are never joined, and colours are
those of the text around it, light or dark. What is left where styles are taken out, as on
GitHub, is still a table with its levels.
"""

from collections.abc import Iterable
from html import escape

from explorer.document.palette import colour_of
from explorer.document.records import (
    Block,
    Column,
    Document,
    Notes,
    Paragraph,
    Table,
    Terms,
    shown,
)
from explorer.errors import printable

__all__ = ["html_of"]

# more names in a selector than Jupyter's own have; marimo takes the margins of all elements
_STYLE = """
div.explorer-document{font-size:13px;line-height:1.45;color:inherit}
div.explorer-document p{margin:.5em 0}
div.explorer-document ul{list-style:disc;margin:.5em 0;padding-left:1.6em}
div.explorer-document table{border-collapse:collapse;border:none;font-size:13px;margin:.4em 0;width:auto;table-layout:auto}
div.explorer-document table td,div.explorer-document table th{padding:2px 14px 2px 0;border:none;vertical-align:top;line-height:1.45;color:inherit;max-width:60em}
div.explorer-document table th{font-weight:normal;white-space:nowrap}
div.explorer-document table thead th{opacity:.7;border-bottom:1px solid}
div.explorer-document table tfoot td{border-top:1px solid;font-weight:bold}
div.explorer-document table .number{text-align:right!important;font-variant-numeric:tabular-nums;white-space:nowrap}
div.explorer-document table .name{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;white-space:pre}
div.explorer-document table .bar span{display:inline-block;height:.7em;background:currentColor;opacity:.6}
div.explorer-document summary{cursor:pointer;opacity:.7}
"""
_BAR = 20  # em
_FOLDED = 12  # rows from which on a table can be closed
_LEVEL = "&nbsp;" * 2  # of a space that shows a level


def html_of(document: Document, max_rows: int = 500) -> str:
    """Return a document as one element that a notebook can show.

    Args:
        document: what to show; nothing in it becomes markup.
        max_rows: of each table; how many more there are is said below them.

    >>> html_of(Document("<b>")).partition("</style>")[2]
    '<p><b>&lt;b&gt;</b></p></div>'
    """
    words = document.title.replace("\n", " ")
    title = f"<p><b>{_escaped(words)}</b></p>" if words else ""
    blocks = "".join(_block(block, max_rows) for block in document.blocks)
    return f'<div class="explorer-document"><style>{_STYLE}</style>{title}{blocks}</div>'


def _block(block: Block, max_rows: int) -> str:
    match block:
        case Table():
            return _table(block.without_empty_columns(), max_rows)
        case Paragraph(text):
            return f"<p>{_escaped(text)}</p>"
        case Terms(items, _, closing, _):
            rows = (
                f"<tr>{_cell('th', 'text', 'left', term)}{_cell('td', 'text', 'left', text)}</tr>"
                for term, text in items
            )
            last = f"<p>{_escaped(closing)}</p>" if closing else ""
            return f"<table><tbody>{''.join(rows)}</tbody></table>{last}"
        case Notes(items):
            return f"<ul>{''.join(f'<li>{_escaped(text)}</li>' for text in items)}</ul>"


def _table(table: Table, max_rows: int) -> str:
    columns, rows = table.columns, [*table.shown_once()]
    foot = [rows.pop()] if table.total and rows else []
    bars = [*map(_bar, table.bars, table.hues())] or [""] * len(rows)
    lines = [
        f"<tr>{_cells(columns, row)}{bar}</tr>"
        for row, bar in zip(rows[:max_rows], bars, strict=False)
    ]
    if len(rows) > max_rows:
        more = f"{len(rows) - max_rows:,} more rows are not shown"
        lines.append(f'<tr><td colspan="{len(columns)}">{more}</td></tr>')
    head = _cells(columns, [column.title for column in columns], "th")
    last = "".join(f"<tr>{_cells(columns, row)}</tr>" for row in foot)
    text = (
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody>"
        f"<tfoot>{last}</tfoot></table>"
    )
    if len(rows) < _FOLDED:
        return text
    return f"<details open><summary>{len(rows):,} rows</summary>{text}</details>"


def _bar(share: float, word: str) -> str:
    """Return a bar, in the colour that its row's word has."""
    colour = colour_of(word)
    hue = f";background:{colour.code};opacity:1" if colour else ""
    left = 'align="left" style="text-align:left"'
    return (
        f'<td class="bar" {left}><span style="width:{_BAR * share:.2f}em{hue}"></span></td>'
    )


def _cells(columns: tuple[Column, ...], row: Iterable[object], tag: str = "td") -> str:
    cells = []
    for number, (column, cell) in enumerate(zip(columns, row, strict=True)):
        plain = "text" if number else "name"
        kind = "number" if column.align == "right" else plain
        cells.append(_cell(tag, kind, column.align, shown(cell)))
    return "".join(cells)


def _cell(tag: str, kind: str, align: str, text: str) -> str:
    """Return a cell that says its alignment itself, in the two ways that readers keep."""
    name = text.lstrip(" ")
    levels = _LEVEL * (len(text) - len(name))
    return f'<{tag} class="{kind}" align="{align}" style="text-align:{align}">{levels}{_escaped(name)}</{tag}>'


def _escaped(text: str) -> str:
    return escape(printable(text, 1000))
