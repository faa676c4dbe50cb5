"""The tables of a document as CSV: exact numbers for other programs."""

import csv
import io
import re

from explorer.document.records import Cell, Document, Table, exact
from explorer.errors import printable

__all__ = ["csv_of"]

# what a spreadsheet would run as a formula: a sign, also a full-width one, where a cell begins,
# or where one would begin if the file were opened with another separator
_SIGNS = r"=+\-@＝＋－＠﹦﹢﹣﹫−"
_FORMULA = re.compile(rf'(^|[;,|\t])([ "]*[{_SIGNS}])')
# the same within JSON; a negative number is not a formula
_IN_JSON = re.compile(rf'([;,|\t][ "\\]*)([{_SIGNS}])(?![\d.eE+-]+"?[,:\]}}])')
# a number, perhaps with its sign, as a text that a view wrote; perhaps with the unit of a size
_NUMBER = re.compile(r"[+-]?\d[\d,]*(\.\d+)?(e[+-]?\d+)?%?")
_EQUAL = "="  # a difference of nothing, in a column of numbers
_SIZE = re.compile(r"[+-]\d+(\.\d+)? [kMGTPE]?B")


def csv_of(document: Document) -> str:
    """Return the tables of a document, each with a header line; other blocks are left out.

    >>> from explorer.document.records import Column
    >>> print(csv_of(Document("", (Table((Column("name"), Column("=")), [("norm", 1152)]),))))
    name,'=
    norm,1152
    """
    tables = [block for block in document.blocks if isinstance(block, Table)]
    return "\n\n".join(_table(table) for table in tables if table.columns)


def _table(table: Table) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([_guarded(column.title) for column in table.columns])
    numbers = [column.align == "right" for column in table.columns]
    writer.writerows(map(_guarded, row, numbers) for row in table.rows)
    return out.getvalue().removesuffix("\n")


def _guarded(cell: Cell, numbers: bool = False) -> str | int | float | None:
    """Return a cell that no spreadsheet runs; in a column of numbers, these stay numbers."""
    value = exact(cell)
    if not isinstance(value, str):
        return value
    if isinstance(cell, str):
        if numbers and cell == _EQUAL:
            return 0
        if numbers and _NUMBER.fullmatch(cell):
            return cell.replace(",", "").removeprefix("+")
        if numbers and _SIZE.fullmatch(cell):
            return cell
        return _FORMULA.sub(r"\1'\2", printable(value, 2000))
    return _IN_JSON.sub(lambda sign: f"{sign[1]}\\u{ord(sign[2]):04x}", value)
