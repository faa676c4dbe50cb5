"""The tree of an inventory, folded or tensor by tensor, as a table."""

from collections.abc import Sequence

import msgspec

from explorer.analyses.collapse import Row, collapse, compact, walk
from explorer.document.records import Cell, Column, Table
from explorer.document.widths import clip
from explorer.inventory.gc_pause import paused_gc
from explorer.inventory.inventory import Inventory
from explorer.inventory.own_names import component_word
from explorer.inventory.tensor import TensorSpec
from explorer.views import units

__all__ = ["tensors_table", "tree_table"]

# the last to be left out: names and parameters, then bytes
_COLUMNS = (
    Column("name", least=24),
    Column("shape", rank=2),
    Column("dtype", rank=5),
    Column("role", rank=3),
    Column("component", rank=7, hued=True),
    Column("sharding", rank=4),
    Column("tensors", "right", rank=6),
    Column("parameters", "right"),
    Column("bytes", "right", rank=1),
    Column("per device", "right", rank=1),
)


@paused_gc()
def tree_table(
    inventory: Inventory,
    *,
    depth: int | None = None,
    sort: str | None = None,
    root: Row | None = None,
) -> Table:
    """Return the tree: repeated blocks folded, simple modules in one row each, the total.

    Args:
        inventory: whose tensors to show.
        depth: levels to show; None for all.
        sort: "parameters", "nbytes", "tensors" or "name"; None for the source's order.
        root: of the folded tree, where it is made already.
    """
    root = _sorted(compact(root or collapse(inventory)), sort)
    total = msgspec.structs.replace(root, name="total", children=())
    rows, path = [], []
    for row, level in walk(root):
        path[level:] = [row.name]
        if depth is None or level < depth:
            rows.append(_row(row, path))
    return _table([*rows, _row(total, ["total"])])


@paused_gc()
def tensors_table(inventory: Inventory, keys: bool = False) -> Table:
    """Return one row for each tensor, in order, and the total.

    Args:
        inventory: whose tensors to show.
        keys: whether to name them as their source does.
    """
    rows = [
        (
            tensor.source_name if keys else tensor.name,
            units.shape(tensor.shape, tensor.kind.stack),
            tensor.dtype,
            _job(tensor),
            component_word(tensor.component, tensor.role, tensor.path),
            tensor.sharding,
            1,
            0 if tensor.alias or not tensor.kind.is_parameter else tensor.size,
            units.size(0 if tensor.alias else tensor.nbytes),
            "" if tensor.device_nbytes is None else units.size(tensor.device_nbytes),
        )
        for tensor in inventory.tensors
    ]
    on_device = inventory.device_nbytes
    counts = (inventory.num_tensors, inventory.num_parameters)
    sizes = (
        units.size(inventory.nbytes),
        "" if on_device is None else units.size(on_device),
    )
    return _table([*rows, ("total", "", "", "", "", "", *counts, *sizes)])


def _table(rows: list[tuple[Cell, ...]]) -> Table:
    return Table(_COLUMNS, rows, total=True).without_empty_columns()


def _row(row: Row, path: Sequence[str]) -> tuple[Cell, ...]:
    """Return the cells of a module or of a tensor; bytes on a device where it is sharded.

    Args:
        row: of the folded tree.
        path: the names of what it is in, then its own.
    """
    parts = row.parts or ((row,) if row.collection else ())
    # scales and the like are added to their row and named once, after the parameters
    shown = [part for part in parts if part.collection == "params"] or parts
    return (
        "  " * (len(path) - 1) + (row.name or '""'),
        " + ".join(units.shape(part.shape, part.stack) for part in shown),
        _dtypes(tuple(dict.fromkeys(name for part in shown for name in part.dtypes))),
        " + ".join(dict.fromkeys(_job(part) for part in parts)),
        ", ".join(
            dict.fromkeys(
                _component(part, path, [part.name] * bool(row.parts)) for part in shown
            )
        ),
        next((clip(part.sharding, 40) for part in shown if part.sharding), ""),
        row.tensors,
        row.parameters,
        units.size(row.nbytes),
        "" if row.device_nbytes == row.nbytes else units.size(row.device_nbytes),
    )


def _component(part: Row, path: Sequence[str], own: Sequence[str]) -> str:
    """Return the component of a tensor: of the row that is at a path, or of a part of it.

    Args:
        part: the tensor.
        path: the names of what the row is in, then its own.
        own: the name of a part; nothing of a row that is the tensor.
    """
    if part.component != "other":
        return part.component
    names = [name for each in path for name in each.split("/")]
    return component_word(part.component, part.role, [*names, *own])


def _job(row: Row | TensorSpec) -> str:
    """Return a tensor's role; its collection where it is not a parameter."""
    if row.alias:
        return "tied"
    return row.role if row.collection == "params" else row.collection


def _dtypes(names: Sequence[str]) -> str:
    return ", ".join(names if len(names) <= 3 else (*names[:2], f"+{len(names) - 2}"))


def _sorted(row: Row, sort: str | None) -> Row:
    if sort is None or not row.children:
        return row
    children = [_sorted(child, sort) for child in row.children]
    if sort == "name":
        children.sort(key=lambda child: child.name)
    else:
        children.sort(key=lambda child: -getattr(child, sort))
    return msgspec.structs.replace(row, children=tuple(children))
