"""Records as JSON, CSV and Markdown, for other programs and for documents."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from explorer.analyses.collapse import Row, walk
from explorer.errors import printable
from explorer.inventory.inventory import Inventory

__all__ = ["csv_table", "json_text", "markdown_table", "rows_of", "tensor_records"]


def json_text(value: Any) -> str:
    """Return records as indented JSON; integers stay exact."""
    return json.dumps(msgspec.to_builtins(value), indent=2)


def csv_table(records: Sequence[dict[str, Any]]) -> str:
    """Return records of equal fields as CSV with a title line."""
    out = io.StringIO()
    if records:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(records[0])
        for record in records:
            writer.writerow([_cell(value) for value in record.values()])
    return out.getvalue().removesuffix("\n")


def markdown_table(records: Sequence[dict[str, Any]]) -> str:
    """Return records of equal fields as a Markdown table; names are never markup."""
    if not records:
        return ""
    numeric = [isinstance(value, int | float) for value in records[0].values()]
    lines = [
        _markdown_line(records[0]),
        _markdown_line(("---:" if number else "---" for number in numeric), escape=False),
    ]
    lines += [_markdown_line(map(_markdown_cell, record.values())) for record in records]
    return "\n".join(lines)


def tensor_records(inventory: Inventory) -> list[dict[str, Any]]:
    """Return one record a tensor; "parameters" of all records add up to the total."""
    return [
        {
            "path": tensor.name,
            "shape": tensor.shape,
            "stack": tensor.kind.stack,
            "dtype": tensor.dtype,
            "role": tensor.role,
            "component": tensor.component,
            "collection": tensor.collection,
            "parameters": tensor.size
            if tensor.kind.is_parameter and not tensor.alias
            else 0,
            "elements": tensor.size,
            "nbytes": tensor.nbytes,
            "device_nbytes": tensor.on_device,
            "tied": tensor.alias,
            "sharding": tensor.sharding,
        }
        for tensor in inventory.tensors
    ]


def rows_of(root: Row) -> list[dict[str, Any]]:
    """Return one record for each folded tensor row of a tree, with its whole path.

    "parameters", "tensors" and "nbytes" of all records add up to the totals.
    """
    records = []
    path: list[str] = []
    for row, depth in walk(root):
        path[depth:] = [row.name]
        if row.shape is not None:
            records.append(
                {
                    "path": "/".join(path),
                    "tensors": row.tensors,
                    "shape": row.shape,
                    "stack": row.stack,
                    "dtype": ",".join(row.dtypes),
                    "role": row.role,
                    "component": row.component,
                    "collection": row.collection,
                    "parameters": row.parameters,
                    "elements": row.elements,
                    "nbytes": row.nbytes,
                    "device_nbytes": row.device_nbytes,
                    "tied": row.alias,
                    "sharding": row.sharding,
                }
            )
    return records


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        text = printable(value, 2000)
        # a spreadsheet takes a cell that starts so for a formula
        return "'" + text if text[:1] in ("=", "+", "-", "@") else text
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, tuple) and all(isinstance(size, int) for size in value):
        return "x".join(map(str, value))
    return json.dumps(msgspec.to_builtins(value))


def _markdown_cell(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, dict):
        pairs = ((name, _markdown_cell(inner)) for name, inner in value.items())
        return ", ".join(f"{printable(name)} {inner}" for name, inner in pairs)
    return "" if value is None else str(_cell(value))


def _markdown_line(cells: Iterable[str], escape: bool = True) -> str:
    if escape:
        cells = (
            "".join("\\" + c if c in "\\`*_[]<>|#~" else c for c in cell) for cell in cells
        )
    return f"| {' | '.join(cells)} |"
