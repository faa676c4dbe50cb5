"""Records for other programs: one for each tensor or row, every number exact."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from explorer.analyses.collapse import Row, walk
from explorer.document.records import Column, Document, Table
from explorer.inventory.inventory import Inventory

__all__ = ["json_text", "records_document", "tensor_records", "tree_records"]


def json_text(value: Any) -> str:
    """Return records as indented JSON; integers stay exact.

    >>> print(json_text({"parameters": 2**70}))
    {
      "parameters": 1180591620717411303424
    }
    """
    return json.dumps(msgspec.to_builtins(value), indent=2)


def records_document(
    records: Sequence[dict[str, Any]], fields: Sequence[str] = ()
) -> Document:
    """Return records of equal fields as one table, to be lowered to CSV or Markdown.

    Args:
        records: the rows.
        fields: the columns where there is no record; without them there is no table then.
    """
    if not records:
        columns = tuple(map(Column, fields))
        return Document(blocks=(Table(columns, []),) if columns else ())
    columns = tuple(
        Column(name, "right" if isinstance(value, int | float) else "left")
        for name, value in records[0].items()
    )
    rows = [tuple(record.values()) for record in records]
    return Document(blocks=(Table(columns, rows),))


def tensor_records(inventory: Inventory) -> list[dict[str, Any]]:
    """Return one record for each tensor; their "parameters" add up to the total."""
    return [
        {
            "path": tensor.name,
            "key": tensor.source_name,
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


def tree_records(root: Row) -> list[dict[str, Any]]:
    """Return one record for each folded tensor row of a tree, with its full path.

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
