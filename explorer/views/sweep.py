"""A sweep as a document: a grid of sizes over two settings, a list over more."""

from typing import Any

from explorer.document.records import Cell, Column, Document, Paragraph, Table
from explorer.sizing.records import Lora
from explorer.sizing.sweep import Sweep, SweepRow
from explorer.views import units

__all__ = ["sweep_document", "sweep_records"]


def sweep_document(sweep: Sweep) -> Document:
    """Return bytes on the fullest device for each combination; a mark where they do not fit."""
    names = list(sweep.axes)
    on = f" on {sweep.device}" if sweep.device else ""
    what = Paragraph(f"bytes on the fullest device, by {' and '.join(names)}{on}")
    table = _grid(sweep) if len(names) == 2 else _list(sweep)
    return Document(sweep.target, (what, table))


def sweep_records(sweep: Sweep) -> list[dict[str, Any]]:
    """Return a flat row for each combination, exact, for CSV and Markdown."""
    terms = dict.fromkeys(name for row in sweep.rows for name in row.terms)
    return [
        {
            **{name: _word(value) for name, value in row.settings.items()},
            "parameters": row.parameters,
            "bits_per_weight": row.bits_per_weight,
            **{f"{name}_bytes": row.terms.get(name, 0) for name in terms},
            "total_bytes": row.total_bytes,
            "per_device_bytes": row.per_device_bytes,
            "fits": row.fits,
            "longest_context": row.longest_context,
        }
        for row in sweep.rows
    ]


def _grid(sweep: Sweep) -> Table:
    (first, downwards), (second, across) = sweep.axes.items()
    columns = (
        Column(f"{first} \\ {second}"),
        *(Column(_word(value), "right") for value in across),
    )
    rows = [
        (_word(value), *map(_cell, sweep.rows[i * len(across) : (i + 1) * len(across)]))
        for i, value in enumerate(downwards)
    ]
    return Table(columns, rows)


def _list(sweep: Sweep) -> Table:
    columns = (
        *(Column(name, "right") for name in sweep.axes),
        Column("parameters", "right", rank=3),
        Column("bits/weight", "right", rank=2),
        Column("total", "right", rank=1),
        Column("on a device", "right"),
        Column("longest context", "right", rank=1),
    )
    rows = [
        (
            *map(_word, row.settings.values()),
            row.parameters,
            units.bits(row.bits_per_weight),
            units.size(row.total_bytes),
            _cell(row),
            row.longest_context,
        )
        for row in sweep.rows
    ]
    return Table(columns, rows).without_empty_columns()


def _cell(row: SweepRow) -> Cell:
    mark = {True: " ✓", False: " ✗", None: ""}[row.fits]
    return f"{units.size(row.per_device_bytes)}{mark}"


def _word(value: Any) -> str:
    if isinstance(value, Lora):
        return f"rank {value.rank}"
    if isinstance(value, dict):
        return ",".join(f"{axis}={size}" for axis, size in value.items())
    return (
        f"{value:,}"
        if isinstance(value, int) and not isinstance(value, bool)
        else str(value)
    )
