"""The grid of a plan as data for the sliders, and its first point in words."""

import shlex
from collections.abc import Sequence
from typing import Any

from explorer.sizing.devices.catalog import COMMON, devices
from explorer.sizing.grid import PlanGrid, StoredAs
from explorer.sizing.records import Term
from explorer.views import units

__all__ = [
    "TermPool",
    "device_data",
    "first_point",
    "grid_data",
    "need_of",
    "options_of",
    "term_rows",
]


class TermPool:
    """Terms as places in one list of numbers; names and notes are kept once as well.

    >>> pool = TermPool()
    >>> pool.of(Term.exact("kv_cache", 64)), pool.of(Term.exact("kv_cache", 64))
    (0, 0)
    >>> pool.data()
    {'terms': [(0, 64, 64, 64, 0)], 'names': ['kv cache'], 'notes': ['exact']}
    """

    def __init__(self) -> None:
        self._terms: dict[tuple[int, ...], int] = {}
        self._names: dict[str, int] = {}
        self._notes: dict[str, int] = {}

    def of(self, each: Term) -> int:
        """Return the place of a term."""
        name = self._names.setdefault(each.name.replace("_", " "), len(self._names))
        note = self._notes.setdefault(each.note or each.provenance, len(self._notes))
        term = (name, each.bytes, each.low, each.high, note)
        return self._terms.setdefault(term, len(self._terms))

    def data(self) -> dict[str, Any]:
        """Return the terms as (name, bytes, low, high, note); name and note are places."""
        return {
            "terms": list(self._terms),
            "names": list(self._names),
            "notes": list(self._notes),
        }


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
    """Return a grid as lists of places in "terms", where each different one is once."""
    pool = TermPool()
    stored = [
        {
            "label": way.label,
            "bits": _bits(way),
            "words": options_of(way.settings),
            "fixed": [[[pool.of(each) for each in at] for at in row] for row in way.fixed],
            "table": way.table,
        }
        for way in grid.stored
    ]
    tables = [
        [
            [[[pool.of(each) for each in point.terms] for point in row] for row in rows]
            for rows in table
        ]
        for table in grid.tables
    ]
    stored_first, *_, context, batch = first_point(grid)
    return {
        "tensor": grid.tensor,
        "data": grid.data,
        "expert": grid.expert,
        "contexts": grid.contexts,
        "batches": grid.batches,
        "stored": stored,
        "several": pool.of(grid.of_several),
        "tables": tables,
        "first": {"stored": stored_first, "context": context, "batch": batch},
        **pool.data(),
    }


def first_point(grid: PlanGrid) -> tuple[int, int, int, int, int, int]:
    """Return where the sliders are at first: what `plan` gives unasked."""
    stored = next(n for n, way in enumerate(grid.stored) if not way.settings)
    context = 0 if grid.context is None else grid.contexts.index(grid.context)
    return stored, 0, 0, 0, context, 0


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
