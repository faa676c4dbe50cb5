"""A run as a document: the curve of its metrics, and its newest watched statistics."""

from collections.abc import Sequence
from itertools import pairwise
from math import isfinite, isnan, nan

import numpy as np

from explorer.document.records import Block, Column, Document, Paragraph, Table
from explorer.document.text import text_of
from explorer.errors import printable
from explorer.training.logging.curves import Run, StepRecord, metric_names
from explorer.training.logging.folding import TreeLine, furthest, lines_of

__all__ = ["history_document", "history_text"]

_LINES = 12  # of the curve
_NAME = 32  # cells that a name keeps before columns are left out
# watched columns; the last of them are left out first
_RANKS = (
    "update_ratio", "norm", "grad_norm", "rms", "distance", "std", "mean", "zeros", "dead_rows",
)  # fmt: skip
_FRACTIONS = ("zeros", "dead_rows")


def history_text(run: Run, chosen: Sequence[int], last: int | None, width: int) -> str:
    """Return the document of a run as text, in lines of at most `width` cells (60 or more)."""
    return text_of(history_document(run, chosen, last), width)


def history_document(run: Run, chosen: Sequence[int], last: int | None = None) -> Document:
    """Return the curve of the metrics in a dozen rows, and the newest statistics.

    Args:
        run: the steps and what was watched of them.
        chosen: which of the watched rows to show.
        last: how many of the steps make the curve, from the end; None for all.
    """
    records = run.records
    if not records:
        return Document(blocks=(Paragraph("no steps"),))
    steps = records[-last:] if last else records
    blocks: list[Block] = [Paragraph(_sentence(steps)), _curve(steps)]
    newest = next((r for r in reversed(records) if r.watch is not None), None)
    if newest is not None and newest.watch is not None and len(chosen):
        names = [printable(run.rows[row], 200) for row in chosen]
        blocks.append(Paragraph(f"step {newest.step:,}"))
        blocks += _watched(names, run.columns, newest.watch[list(chosen)])
    return Document(blocks=tuple(blocks))


def _sentence(records: Sequence[StepRecord]) -> str:
    first, last = records[0].step, records[-1].step
    watched = sum(record.watch is not None for record in records)
    if len(records) == 1:
        return f"step {first:,}, {watched} watched"
    means = "" if len(records) <= _LINES else "; means of the steps since the line above"
    return f"steps {first:,} to {last:,}, {watched:,} watched{means}"


def _curve(records: Sequence[StepRecord]) -> Table:
    """Return a row for each piece of the run: means of the metrics, the first as a bar."""
    ends = np.linspace(1, len(records), min(len(records), _LINES)).round().astype(int)
    pieces = [records[start:end] for start, end in pairwise((0, *ends.tolist()))]
    names = metric_names(records)
    means = [[_mean(piece, name) for name in names] for piece in pieces]
    metrics = (Column(printable(n, 20), "right", rank) for rank, n in enumerate(names))
    rows = [
        (piece[-1].step, *map(_shown, row))
        for piece, row in zip(pieces, means, strict=True)
    ]
    bars = _shares([row[0] for row in means]) if names else ()
    return Table((Column("step", "right"), *metrics), rows, bars=bars)


def _mean(records: Sequence[StepRecord], name: str) -> float:
    values = [record.metrics[name] for record in records if name in record.metrics]
    return sum(values) / len(values) if values else nan


def _shares(values: list[float]) -> tuple[float, ...]:
    """Return values as shares of the highest; 0 below 0."""
    highest = max((value for value in values if isfinite(value)), default=0.0)
    return tuple(v / highest if isfinite(v) and v > 0 else 0.0 for v in values)


def _watched(names: list[str], columns: Sequence[str], table: np.ndarray) -> list[Block]:
    """Return the statistics as a tree, and which layer is furthest from those like it."""
    lines = lines_of(names)
    values = np.stack([_median(table[list(line.rows)]) for line in lines])
    blocks: list[Block] = [_statistics(lines, columns, values)]
    # a mean may be next to 0, and a fraction is 0 as a rule: neither is compared by ratio
    sized = [n for n, name in enumerate(columns) if name not in (*_FRACTIONS, "mean")]
    found = furthest(lines, table[:, sized], values[:, sized])
    if found is not None:
        row, column, times = found[0], sized[found[1]], found[2]
        value = _shown(float(table[row, column]))
        blocks.append(
            Paragraph(
                f"numbers of several layers are medians; furthest from its own, {times:.3g} "
                f"times: {columns[column]} {value} of {names[row]}"
            )
        )
    return blocks


def _median(rows: np.ndarray) -> np.ndarray:
    """Return the medians of columns, of the numbers that there are; NaN where there is none."""
    known = ~np.isnan(rows)
    ordered = np.sort(rows, axis=0)  # NaN last
    count = known.sum(0)
    if not len(rows):
        return np.full(rows.shape[1], nan)
    low, high = np.maximum(count - 1, 0) // 2, count // 2
    places = np.arange(rows.shape[1])
    middle = (ordered[low, places] + ordered[np.minimum(high, len(rows) - 1), places]) / 2
    return np.where(count > 0, middle, nan)


def _statistics(
    lines: Sequence[TreeLine], columns: Sequence[str], table: np.ndarray
) -> Table:
    """Return a row for each line; columns that are NaN throughout are left out."""
    shown = [Column("tensor", least=_NAME)]
    cells: list[Sequence[str]] = [[line.name for line in lines]]
    for column, values in zip(columns, table.T.tolist(), strict=True):
        if all(map(isnan, values)):
            continue
        form = _share if column in _FRACTIONS else _shown
        rank = _RANKS.index(column) if column in _RANKS else len(_RANKS)
        shown.append(Column(column, "right", rank))
        cells.append(list(map(form, values)))
    return Table(tuple(shown), list(zip(*cells, strict=True)))


def _shown(value: float) -> str:
    """Return four digits of a number, the last of them shown where they are 0.

    >>> _shown(2.5), _shown(1234.0), _shown(0.0), _shown(float("inf"))
    ('2.500', '1234', '0', 'inf')
    """
    if isnan(value):
        return ""
    return f"{value:#.4g}".rstrip(".") if value else "0"


def _share(value: float) -> str:
    """Return a fraction as per cent.

    >>> _share(0.5), _share(1.0), _share(1e-6)
    ('50%', '100%', '0.0001%')
    """
    return "" if isnan(value) else f"{100 * value:.3g}%"
