"""The grid of a plan as data for the sliders, and its first point in words."""

import shlex
from typing import Any

from explorer.sizing.devices.catalog import COMMON, devices
from explorer.sizing.grid import PlanGrid, StoredAs
from explorer.sizing.records import Term
from explorer.views import units

__all__ = ["device_data", "first_point", "grid_data", "need_of"]


def grid_data(grid: PlanGrid) -> dict[str, Any]:
    """Return a grid as lists: a term is [name, bytes, low, high, note], words are indices."""
    names: dict[str, int] = {}
    notes: dict[str, int] = {}

    def term(each: Term) -> list[int]:
        name = names.setdefault(each.name.replace("_", " "), len(names))
        note = notes.setdefault(each.note or each.provenance, len(notes))
        return [name, each.bytes, each.low, each.high, note]

    stored = [
        {
            "label": way.label,
            "bits": _bits(way),
            "words": _words(way),
            "before": [term(each) for each in way.before],
            "after": [term(each) for each in way.after],
            "table": way.table,
        }
        for way in grid.stored
    ]
    tables = [
        [[[term(each) for each in point.terms] for point in row] for row in table]
        for table in grid.tables
    ]
    place = dict(zip(("stored", "context", "batch"), first_point(grid), strict=True))
    return {
        "contexts": grid.contexts,
        "batches": grid.batches,
        "stored": stored,
        "tables": tables,
        "names": list(names),
        "notes": list(notes),
        "first": place,
    }


def first_point(grid: PlanGrid) -> tuple[int, int, int]:
    """Return where the sliders are at first: what `plan` gives unasked."""
    stored = next(n for n, way in enumerate(grid.stored) if not way.settings)
    context = 0 if grid.context is None else grid.contexts.index(grid.context)
    return stored, context, 0


def need_of(grid: PlanGrid, target: str) -> dict[str, Any]:
    """Return the first point in words, for readers without a script."""
    terms = grid.terms(*first_point(grid))
    total = sum(term.bytes for term in terms)
    rows = [_row(term) for term in terms]
    rows.append(
        {"name": "total", "size": units.size(total), "bytes": total, "span": "", "note": ""}
    )
    context = "" if grid.context is None else f" --context {grid.context}"
    return {
        "total": units.size(total),
        "terms": rows,
        "command": f"explorer plan {shlex.quote(target)}{context}",
    }


def device_data() -> list[dict[str, Any]]:
    """Return every device with the bytes that a program may have of it."""
    return [
        {
            "key": device.key,
            "printed": device.printed,
            "memory": device.usable_memory,
            "common": device.key in COMMON,
        }
        for device in devices()
    ]


def _row(term: Term) -> dict[str, Any]:
    is_exact = term.low == term.high
    return {
        "name": term.name.replace("_", " "),
        "size": units.size(term.bytes),
        "bytes": term.bytes,
        "span": "exact"
        if is_exact
        else f"{units.size(term.low)} to {units.size(term.high)}",
        "note": term.note or term.provenance,
    }


def _bits(way: StoredAs) -> str:
    return f"{way.bits:.2f}".removesuffix(".00")


def _words(way: StoredAs) -> list[str]:
    return [word for name, value in way.settings.items() for word in (f"--{name}", value)]
