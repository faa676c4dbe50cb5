"""A run as plain text: the course of its metrics, and the newest of what is watched."""

import textwrap
from collections.abc import Sequence
from itertools import pairwise
from math import isfinite, isnan, nan
from typing import NamedTuple

import numpy as np

from explorer.errors import printable
from explorer.training.logging.curves import Record, Run, metric_names

__all__ = ["history_text"]

_LINES = 12  # of the course of the metrics
_BAR = 40  # cells of the longest bar
_SHORTEST_BAR = 8
_EIGHTHS = ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")
_GAP = "  "
_NAME = 32  # cells that a name keeps before columns are left out
# columns of what is watched, those that are left out last first
_RANKS = (
    "update_ratio", "norm", "grad_norm", "rms", "distance", "std", "mean", "zeros", "dead_rows",
)  # fmt: skip
_FRACTIONS = ("zeros", "dead_rows")


class _Column(NamedTuple):
    """A title above cells; columns of higher rank are left out first, rank 0 stays."""

    title: str
    cells: list[str]
    rank: int = 0


def history_text(run: Run, chosen: Sequence[int], last: int | None, width: int) -> str:
    """Return the course of the metrics in a dozen lines, and the newest statistics.

    Args:
        run: the steps and what is watched of them.
        chosen: which of the rows are told.
        last: how many of the steps make the course, from the end; None for all.
        width: cells of a line, 60 or more.
    """
    records = run.records
    if not records:
        return "no steps"
    course = records[-last:] if last else records
    parts = [*textwrap.wrap(_sentence(course), width), "", *_course(course, width)]
    newest = next((r for r in reversed(records) if r.watch is not None), None)
    if newest is not None and newest.watch is not None and len(chosen):
        names = [printable(run.rows[row], 200) for row in chosen]
        parts += ["", f"step {newest.step:,}", ""]
        parts += _statistics(names, run.columns, newest.watch[list(chosen)], width)
    return "\n".join(parts)


def _sentence(records: Sequence[Record]) -> str:
    first, last = records[0].step, records[-1].step
    watched = sum(record.watch is not None for record in records)
    if len(records) == 1:
        return f"step {first:,}, {watched} watched"
    means = "" if len(records) <= _LINES else "; means of the steps since the line above"
    return f"steps {first:,} to {last:,}, {watched:,} watched{means}"


def _course(records: Sequence[Record], width: int) -> list[str]:
    """Return a line for each piece of the run: means of the metrics, the first as a bar."""
    ends = np.linspace(1, len(records), min(len(records), _LINES)).round().astype(int)
    pieces = [records[start:end] for start, end in pairwise((0, *ends.tolist()))]
    columns = [_Column("step", [f"{piece[-1].step:,}" for piece in pieces])]
    means: list[list[float]] = []
    for rank, name in enumerate(metric_names(records)):
        means.append([_mean(piece, name) for piece in pieces])
        columns.append(_Column(printable(name, 20), list(map(_shown, means[-1])), rank))
    lines = _aligned(columns, width)
    room = min(_BAR, width - max(map(len, lines)) - len(_GAP))
    if not means or room < _SHORTEST_BAR:
        return [line.rstrip() for line in lines]
    head, *rest = lines
    bars = _bars(means[0], room)
    return [
        head.rstrip(),
        *(f"{line}{_GAP}{bar}".rstrip() for line, bar in zip(rest, bars)),
    ]


def _mean(records: Sequence[Record], name: str) -> float:
    values = [record.metrics[name] for record in records if name in record.metrics]
    return sum(values) / len(values) if values else nan


def _bars(values: list[float], room: int) -> list[str]:
    """Return bars as long as values are high, the highest `room` cells; "" below 0."""
    highest = max((value for value in values if isfinite(value)), default=0.0)
    shares = [v / highest if isfinite(v) and v > 0 else 0.0 for v in values]
    eighths = [round(8 * room * share) for share in shares]
    return ["█" * (number // 8) + _EIGHTHS[number % 8] for number in eighths]


def _statistics(
    names: list[str], columns: Sequence[str], table: np.ndarray, width: int
) -> list[str]:
    """Return a line for each row; columns that are NaN throughout are left out."""
    shown = [_Column("tensor", names)]
    for column, values in zip(columns, table.T.tolist(), strict=True):
        if all(map(isnan, values)):
            continue
        form = _share if column in _FRACTIONS else _shown
        rank = _RANKS.index(column) if column in _RANKS else len(_RANKS)
        shown.append(_Column(column, list(map(form, values)), rank))
    return [line.rstrip() for line in _aligned(shown, width, is_named=True)]


def _aligned(columns: list[_Column], width: int, is_named: bool = False) -> list[str]:
    """Return lines of at most `width` cells, titles first.

    Columns are right-aligned; but names, the first column, are left-aligned, and are cut in
    their middle rather than that a column is left out.
    """
    widths = [max(map(len, (column.title, *column.cells))) for column in columns]
    least = [min(widths[0], _NAME) if is_named else widths[0], *widths[1:]]
    shown = list(range(len(columns)))
    while sum(least[i] + len(_GAP) for i in shown) - len(_GAP) > width:
        last = max(shown, key=lambda i: columns[i].rank)
        if columns[last].rank == 0:
            break
        shown.remove(last)
    if is_named:
        others = sum(widths[i] + len(_GAP) for i in shown[1:])
        widths[0] = min(widths[0], max(width - others, 3))
    lines = []
    for cells in zip(*([columns[i].title, *columns[i].cells] for i in shown), strict=True):
        padded = [cell.rjust(widths[i]) for i, cell in zip(shown, cells, strict=True)]
        if is_named:
            padded[0] = printable(cells[0], widths[0]).ljust(widths[0])
        lines.append(_GAP.join(padded))
    return lines


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
