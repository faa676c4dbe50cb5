"""A document as an HTML fragment for notebooks: escaped text, no script, its own style."""

from collections.abc import Iterable
from html import escape

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

_STYLE = """
.explorer-document table{border-collapse:collapse;font-size:13px;margin:.4em 0}
.explorer-document td,.explorer-document th{padding:2px 10px;text-align:left}
.explorer-document .number{text-align:right;font-variant-numeric:tabular-nums}
.explorer-document thead th{border-bottom:1px solid currentColor}
.explorer-document tfoot td{border-top:1px solid currentColor;font-weight:bold}
.explorer-document .name{font-family:monospace;white-space:pre}
.explorer-document .bar span{display:inline-block;height:.7em;background:currentColor}
"""
_BAR = 20  # em


def html_of(document: Document, max_rows: int = 500) -> str:
    """Return a document as one element that a notebook can show.

    Args:
        document: what to show; nothing in it becomes markup.
        max_rows: of each table; how many more there are is said below them.

    >>> html_of(Document("<b>")).partition("</style>")[2]
    '<p><b>&lt;b&gt;</b></p></div>'
    """
    title = f"<p><b>{_escaped(document.title)}</b></p>" if document.title else ""
    blocks = "".join(_block(block, max_rows) for block in document.blocks)
    return f'<div class="explorer-document"><style>{_STYLE}</style>{title}{blocks}</div>'


def _block(block: Block, max_rows: int) -> str:
    match block:
        case Table():
            return _table(block, max_rows)
        case Paragraph(text):
            return f"<p>{_escaped(text)}</p>"
        case Terms(items, _, closing):
            rows = (
                f"<tr><th>{_escaped(term)}</th><td>{_escaped(text)}</td></tr>"
                for term, text in items
            )
            last = f"<p>{_escaped(closing)}</p>" if closing else ""
            return f"<table><tbody>{''.join(rows)}</tbody></table>{last}"
        case Notes(items):
            return f"<ul>{''.join(f'<li>{_escaped(text)}</li>' for text in items)}</ul>"


def _table(table: Table, max_rows: int) -> str:
    columns, rows = table.columns, list(table.rows)
    foot = [rows.pop()] if table.total and rows else []
    bars = [_bar(share) for share in table.bars] or [""] * len(rows)
    lines = [
        f"<tr>{_cells(columns, row)}{bar}</tr>"
        for row, bar in zip(rows[:max_rows], bars, strict=False)
    ]
    if len(rows) > max_rows:
        more = f"{len(rows) - max_rows:,} more rows are not shown"
        lines.append(f'<tr><td colspan="{len(columns)}">{more}</td></tr>')
    head = _cells(columns, [column.title for column in columns], "th")
    last = "".join(f"<tr>{_cells(columns, row)}</tr>" for row in foot)
    return (
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody>"
        f"<tfoot>{last}</tfoot></table>"
    )


def _bar(share: float) -> str:
    return f'<td class="bar"><span style="width:{_BAR * share:.2f}em"></span></td>'


def _cells(columns: tuple[Column, ...], row: Iterable[object], tag: str = "td") -> str:
    cells = []
    for number, (column, cell) in enumerate(zip(columns, row, strict=True)):
        plain = "text" if number else "name"
        kind = "number" if column.align == "right" else plain
        cells.append(f'<{tag} class="{kind}">{_escaped(shown(cell))}</{tag}>')
    return "".join(cells)


def _escaped(text: str) -> str:
    return escape(printable(text, 1000))
