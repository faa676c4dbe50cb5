"""An inventory as an HTML fragment for notebooks: escaped text, no script, no style sheet
of others."""

from html import escape

import msgspec

from explorer.analyses.collapse import Row, collapse, compact
from explorer.analyses.ledger import Ledger, ledger_of
from explorer.errors import printable
from explorer.inventory.inventory import Inventory
from explorer.views.tree import row_cells

__all__ = ["inventory_html"]

_MAX_ROWS = 500
_STYLE = """
.explorer-inventory table{border-collapse:collapse;font-size:13px;margin:.4em 0}
.explorer-inventory td,.explorer-inventory th{padding:2px 10px;text-align:left}
.explorer-inventory .number{text-align:right;font-variant-numeric:tabular-nums}
.explorer-inventory thead th{border-bottom:1px solid currentColor}
.explorer-inventory tfoot td{border-top:1px solid currentColor;font-weight:bold}
.explorer-inventory .name{font-family:monospace;white-space:pre}
.explorer-inventory .quiet{opacity:.65}
"""
_TITLES = (
    "name",
    "shape",
    "dtype",
    "role",
    "component",
    "sharding",
    "tensors",
    "parameters",
    "bytes",
    "per device",
)
_NUMBERS = frozenset(("tensors", "parameters", "bytes", "per device"))


def inventory_html(inventory: Inventory) -> str:
    """Return the ledger and the folded tree of an inventory as an HTML fragment."""
    ledger = ledger_of(inventory)
    root = compact(collapse(inventory))
    rows: list[str] = []
    for child in root.children:
        _add(rows, child, 0)
    total = msgspec.structs.replace(root, name="total", children=(), parts=())
    return (
        f'<div class="explorer-inventory"><style>{_STYLE}</style>{_ledger(ledger)}'
        f"<table><thead><tr>{_cells(_TITLES, 'th')}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody>"
        f"<tfoot><tr>{_cells(row_cells(total, 0))}</tr></tfoot></table></div>"
    )


def _ledger(ledger: Ledger) -> str:
    title = escape(printable(ledger.target or ledger.source, 200))
    figures = (
        f"<b>{ledger.parameters:,}</b> parameters in {ledger.parameter_tensors:,} tensors "
        f"= {ledger.weights:,} weights + {ledger.biases:,} biases"
    )
    notes = "".join(f"<li>{escape(printable(note, 600))}</li>" for note in ledger.notes)
    known = escape(printable(ledger.provenance["parameters"], 300))
    return (
        f'<p><b>{title}</b> <span class="quiet">{escape(ledger.source)}</span><br>{figures}'
        f' <span class="quiet">{known}</span></p><ul>{notes}</ul>'
    )


def _add(rows: list[str], row: Row, level: int) -> None:
    if len(rows) >= _MAX_ROWS:
        if len(rows) == _MAX_ROWS:
            rows.append(
                f'<tr><td colspan="{len(_TITLES)}">more rows are not shown</td></tr>'
            )
        return
    rows.append(
        f"<tr>{_cells(tuple(printable(c, 300) for c in row_cells(row, level)))}</tr>"
    )
    for child in row.children:
        _add(rows, child, level + 1)


def _cells(texts: tuple[str, ...], tag: str = "td") -> str:
    cells = []
    for title, text in zip(_TITLES, texts, strict=True):
        kind = "number" if title in _NUMBERS else "name" if title == "name" else "text"
        cells.append(f'<{tag} class="{kind}">{escape(text)}</{tag}>')
    return "".join(cells)
