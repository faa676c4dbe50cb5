"""The folded tree as rows of cells, and as plain text."""

from collections.abc import Sequence

import msgspec

from explorer.analyses.collapse import Row, collapse, compact, walk
from explorer.inventory.inventory import Inventory
from explorer.inventory.tensor import TensorSpec
from explorer.views import units
from explorer.views.table import PLAIN, Column, Style, clip, render_table

__all__ = ["row_cells", "tensors_text", "tree_text"]

_COLUMNS = (
    Column("name", elastic=True),
    Column("shape", rank=1),
    Column("dtype", rank=5),
    Column("role", rank=2),
    Column("component", rank=7),
    Column("sharding", rank=3),
    Column("tensors", "right", rank=6),
    Column("parameters", "right"),
    Column("bytes", "right", rank=2),
    Column("per device", "right", rank=1),
)


def row_cells(row: Row, level: int) -> tuple[str, ...]:
    """Return the texts of a tree row: name, shape, dtype, role, component, sharding,
    tensors, parameters, bytes, bytes on a device where tensors are sharded."""
    parts = row.parts or ((row,) if row.collection else ())
    # scales and the like are summed in their row and named once, behind the parameters
    shown = [part for part in parts if part.collection == "params"] or parts
    return (
        "  " * level + (row.name or '""'),
        " + ".join(units.shape(part.shape, part.stack) for part in shown),
        _dtypes(tuple(dict.fromkeys(name for part in shown for name in part.dtypes))),
        " + ".join(dict.fromkeys(_job(part) for part in parts)),
        ", ".join(dict.fromkeys(part.component for part in shown)),
        next((clip(part.sharding, 40) for part in shown if part.sharding), ""),
        units.count(row.tensors),
        units.count(row.parameters),
        units.size(row.nbytes),
        "" if row.device_nbytes == row.nbytes else units.size(row.device_nbytes),
    )


def _job(row: Row | TensorSpec) -> str:
    """Return a tensor's role; of one that is no parameter, its collection."""
    if row.alias:
        return "tied"
    return row.role if row.collection == "params" else row.collection


def _dtypes(names: Sequence[str]) -> str:
    return ", ".join(names if len(names) <= 3 else (*names[:2], f"+{len(names) - 2}"))


def tree_text(
    inventory: Inventory,
    width: int,
    style: Style = PLAIN,
    *,
    depth: int | None = None,
    sort: str | None = None,
) -> str:
    """Return the tree, repeated blocks folded and simple modules in one row each.

    Args:
        inventory: whose tensors to show.
        width: cells of a line.
        style: escapes for a terminal.
        depth: levels to show; None for all.
        sort: "parameters", "nbytes", "tensors" or "name"; None for the source's order.
    """
    root = _sorted(compact(collapse(inventory)), sort)
    rows = [
        row_cells(row, level) for row, level in walk(root) if depth is None or level < depth
    ]
    total = msgspec.structs.replace(root, name="total", children=())
    return render_table(_COLUMNS, [*rows, row_cells(total, 0)], width, style, total=True)


def _sorted(row: Row, sort: str | None) -> Row:
    if sort is None or not row.children:
        return row
    children = [_sorted(child, sort) for child in row.children]
    if sort == "name":
        children.sort(key=lambda child: child.name)
    else:
        children.sort(key=lambda child: -getattr(child, sort))
    return msgspec.structs.replace(row, children=tuple(children))


def tensors_text(inventory: Inventory, width: int, style: Style = PLAIN) -> str:
    """Return one line a tensor, in order, and the total."""
    rows = [
        (
            tensor.name,
            units.shape(tensor.shape, tensor.kind.stack),
            tensor.dtype,
            _job(tensor),
            tensor.component,
            tensor.sharding,
            "1",
            units.count(0 if tensor.alias or not tensor.kind.is_parameter else tensor.size),
            units.size(0 if tensor.alias else tensor.nbytes),
            "" if tensor.device_nbytes is None else units.size(tensor.device_nbytes),
        )
        for tensor in inventory.tensors
    ]
    counts = map(units.count, (inventory.num_tensors, inventory.num_parameters))
    held = inventory.device_nbytes
    sizes = (units.size(inventory.nbytes), "" if held is None else units.size(held))
    total = ("total", "", "", "", "", "", *counts, *sizes)
    return render_table(_COLUMNS, [*rows, total], width, style, total=True)
