"""The grid of a plan as data for the sliders, and its first point in words."""

import shlex
from collections.abc import Sequence
from typing import Any

from explorer.sizing.devices.catalog import COMMON, devices
from explorer.sizing.grid import PlanGrid, StoredAs
from explorer.sizing.records import Term
from explorer.views import units

__all__ = [
    "TermWords",
    "device_data",
    "first_point",
    "grid_data",
    "need_of",
    "options_of",
    "term_rows",
]


class TermWords:
    """Terms as lists of numbers; their names and notes are kept once."""

    def __init__(self) -> None:
        self.names: dict[str, int] = {}
        self.notes: dict[str, int] = {}

    def of(self, each: Term) -> list[int]:
        """Return a term as [name, bytes, low, high, note]."""
        name = self.names.setdefault(each.name.replace("_", " "), len(self.names))
        note = self.notes.setdefault(each.note or each.provenance, len(self.notes))
        return [name, each.bytes, each.low, each.high, note]


def term_rows(terms: Sequence[Term]) -> list[dict[str, Any]]:
    """Return terms and their total in words, for readers without a script."""
    total = sum(term.bytes for term in terms)
    last = {
        "name": "total",
        "size": units.size(total),
        "bytes": total,
        "span": "",
        "note": "",
    }
    return [*map(_row, terms), last]


def grid_data(grid: PlanGrid) -> dict[str, Any]:
    """Return a grid as lists: a term is [name, bytes, low, high, note], words are indices."""
    words = TermWords()
    stored = [
        {
            "label": way.label,
            "bits": _bits(way),
            "words": options_of(way.settings),
            "before": [words.of(each) for each in way.before],
            "after": [words.of(each) for each in way.after],
            "table": way.table,
        }
        for way in grid.stored
    ]
    tables = [
        [[[words.of(each) for each in point.terms] for point in row] for row in table]
        for table in grid.tables
    ]
    place = dict(zip(("stored", "context", "batch"), first_point(grid), strict=True))
    return {
        "contexts": grid.contexts,
        "batches": grid.batches,
        "stored": stored,
        "tables": tables,
        "names": list(words.names),
        "notes": list(words.notes),
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
    context = "" if grid.context is None else f" --context {grid.context}"
    return {
        "total": units.size(total),
        "terms": term_rows(terms),
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
            "in_meshes": device.in_meshes,
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


def options_of(settings: dict[str, str]) -> list[str]:
    """Return settings of a plan as words of the command line.

    >>> options_of({"compute_dtype": "float32"})
    ['--compute-dtype', 'float32']
    """
    return [
        word
        for name, value in settings.items()
        for word in (f"--{name.replace('_', '-')}", value)
    ]
