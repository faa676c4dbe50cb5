"""Statistics as a document: a row a tensor with a sparkline of its magnitudes."""

from collections.abc import Sequence
from typing import Any

import msgspec

from explorer.document.records import Column, Document, Notes, Paragraph, Table
from explorer.document.words import counted
from explorer.values.groups import pattern_of, range_name
from explorer.values.records import (
    Description,
    Finding,
    GroupStatistics,
    LineStatistics,
    Statistics,
    StoredStatistics,
    TensorStatistics,
    ValueCheck,
)
from explorer.views.nesting import named, nested

__all__ = [
    "check_document",
    "finding_records",
    "group_records",
    "magnitude_span",
    "stats_document",
    "stats_records",
]

_BARS = "▁▂▃▄▅▆▇█"
_CELLS = 16
_COLUMNS = (
    Column("tensor", least=20),
    Column("dtype", rank=2),
    Column("elements", "right", rank=4),
    Column("mean", "right", rank=5),
    Column("std", "right"),
    Column("min", "right", rank=2),
    Column("max", "right", rank=2),
    Column("zeros", "right", rank=3),
    Column("NaN", "right", rank=1),
    Column("inf", "right", rank=1),
    Column("magnitudes", rank=3),
    Column("rows and columns", rank=1, lines=3),
)


def stats_document(found: Description, every: bool = False, nest: bool = True) -> Document:
    """Return a row for each group of equal layers, or each tensor, and the totals.

    Args:
        found: what `describe` returns.
        every: whether tensors of equal layers have a row each.
        nest: whether names are below one another, or whole in each row.
    """
    shown = found.tensors if every else found.groups
    span = magnitude_span([each.statistics.histogram for each in shown])
    rows = [_row(each, span) for each in shown]
    names = [each.name for each in shown]
    rows = (nested if nest else named)(names, rows)
    rows = [(*row, *[None] * (len(_COLUMNS) - len(row))) for row in rows]
    total = found.totals
    rows.append(("total", "", *_figures(total, span), None))
    notes = (*_scale_notes(span, shown), *found.notes)
    table = Table(_COLUMNS, rows, total=True).without_empty_columns()
    below = [Notes(notes)] if notes else []
    return Document(found.target, (Paragraph(_sentence(total)), table, *below))


def stats_records(found: Description) -> list[dict[str, Any]]:
    """Return a flat record for each tensor, exact."""
    return [
        {
            "name": each.name,
            "key": each.key,
            "dtype": each.dtype,
            "shape": each.shape,
            "role": each.role,
            "component": each.component,
            "is_parameter": each.is_parameter,
            "sparsity": each.sparsity,
            "pattern": each.pattern,
            **msgspec.structs.asdict(each.statistics),
            "stored": _stored(each.stored) if each.stored else None,
            "lines": msgspec.structs.asdict(each.lines) if each.lines else None,
        }
        for each in found.tensors
    ]


def group_records(found: Description) -> list[dict[str, Any]]:
    """Return a flat record for each group, exact."""
    return [
        {
            "name": each.name,
            "dtype": each.dtype,
            "tensors": each.tensors,
            **msgspec.structs.asdict(each.statistics),
        }
        for each in found.groups
    ]


def finding_records(found: ValueCheck) -> list[dict[str, Any]]:
    """Return a flat record for each finding; an index as a list."""
    return [
        {**msgspec.structs.asdict(each), "index": each.index and [*each.index]}
        for each in found.findings
    ]


def _stored(found: StoredStatistics) -> dict[str, Any]:
    figures = msgspec.structs.asdict(found.statistics)
    return {"dtype": found.dtype, "shape": list(found.shape), **figures}


def _sentence(total: Statistics) -> str:
    if not total.count:
        return "no numbers"
    wrong = total.nan + total.inf
    health = f"{total.nan:,} NaN and {total.inf:,} infinite" if wrong else "all finite"
    if total.std is None:
        return f"{total.count:,} numbers, {health}"
    return (
        f"{total.count:,} numbers, {health}; mean {total.mean:.3g}, std {total.std:.3g}, "
        f"from {total.min:.4g} to {total.max:.4g}, {total.zeros:,} zeros"
    )


def _row(each: TensorStatistics | GroupStatistics, span: tuple[int, int] | None) -> tuple:
    lines = _lines(each.lines) if each.lines is not None else None
    return (each.dtype, *_figures(each.statistics, span), lines)


def _lines(found: LineStatistics) -> str:
    """Return which rows and columns are special, in words; "" for none."""
    parts = []
    for what in ("rows", "columns"):
        zeros, equal, far = (getattr(found, f"{kind}_{what}") for kind in _KINDS)
        words = [f"{zeros:,} zero"] * bool(zeros) + [f"{equal:,} equal"] * bool(equal)
        if far:
            numbers = ", ".join(map(str, far[:_SHOWN])) + ", ..." * (len(far) > _SHOWN)
            words.append(f"outliers {numbers}")
        if words:
            parts.append(f"{what}: {', '.join(words)}")
    return "; ".join(parts)


_KINDS = ("zero", "equal", "outlier")
_SHOWN = 5


def _figures(found: Statistics, span: tuple[int, int] | None) -> tuple:
    return (
        found.count,
        _number(found.mean),
        _number(found.std),
        _number(found.min),
        _number(found.max),
        found.zeros or None,
        found.nan or None,
        found.inf or None,
        _sparkline(found.histogram, span),
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def magnitude_span(histograms: list[dict[int, int]]) -> tuple[int, int] | None:
    """Return the exponents that hold all but a thousandth of the elements at either end.

    >>> magnitude_span([{-3: 10_000, -2: 20_000, 5: 1}])
    (-3, -2)
    """
    sums: dict[int, int] = {}
    for histogram in histograms:
        for exponent, number in histogram.items():
            sums[exponent] = sums.get(exponent, 0) + number
    if not sums:
        return None
    rest = sum(sums.values()) // 1000
    ordered = sorted(sums)
    low, high = 0, len(ordered) - 1
    below = above = 0
    while low < high and below + sums[ordered[low]] <= rest:
        below += sums[ordered[low]]
        low += 1
    while high > low and above + sums[ordered[high]] <= rest:
        above += sums[ordered[high]]
        high -= 1
    return ordered[low], ordered[high]


def _scale_notes(
    span: tuple[int, int] | None, shown: Sequence[TensorStatistics | GroupStatistics]
) -> list[str]:
    """Return what the bars stand for, and where what they leave out is."""
    if span is None:
        return []
    low, high = span
    text = f"magnitudes: 2^{low} to 2^{high + 1}, from left to right"
    exponents = {exponent for each in shown for exponent in each.statistics.histogram}
    beyond = [
        word
        for word, is_there in (
            ("smaller", min(exponents) < low),
            ("larger", max(exponents) > high),
        )
        if is_there
    ]
    if beyond:
        text += f"; {' and '.join(beyond)} ones, a thousandth at most, count at the ends"
    return [text]


def _sparkline(histogram: dict[int, int], span: tuple[int, int] | None) -> str:
    """Return the histogram as bars over the span, at most sixteen of them."""
    if span is None or not histogram:
        return ""
    low, high = span
    width = high - low + 1
    cells = min(width, _CELLS)
    heights = [0] * cells
    for exponent, number in histogram.items():
        at = min(max(exponent, low), high) - low
        heights[at * cells // width] += number
    most = max(heights)
    return "".join(
        _BARS[round(height / most * (len(_BARS) - 1))] if height else " "
        for height in heights
    )


_FINDINGS = (
    Column(""),
    Column("tensor", least=20),
    Column("index"),
    Column("", least=20, lines=3),
)


def check_document(found: ValueCheck) -> Document:
    """Return a line for each finding, what is wrong first; notes on equal layers share one."""
    wrong = sum(finding.is_wrong for finding in found.findings)
    looked = f"{counted(found.tensors, 'tensor')}, {counted(found.elements, 'number')}"
    verdict = f"{wrong:,} wrong" if wrong else "nothing is wrong"
    if not found.elements:
        verdict = "there is nothing to check"
    rows = [
        (
            "wrong" if first.is_wrong else "note",
            range_name([each.tensor for each in same]),
            _place(first) if len(same) == 1 else "",
            first.text if len(same) == 1 else _together(same),
        )
        for same in _equal(found.findings)
        for first in same[:1]
    ]
    table = [Table(_FINDINGS, rows)] if rows else []
    notes = len(found.findings) - wrong
    verdict += f", {counted(notes, 'note')}" if notes else ""
    below = [Notes(found.notes)] if found.notes else []
    return Document(found.target, (Paragraph(f"{looked}: {verdict}"), *table, *below))


def _place(each: Finding) -> str:
    return "" if each.index is None else ",".join(map(str, each.index))


def _together(same: list[Finding]) -> str:
    """Return what equal notes say; of such channels, the most extreme and where they are."""
    most = max(same, key=lambda each: each.times or 0.0)
    if most.times is None:
        return most.text
    where = f" at {_place(most)}" if most.kind == "outlier" else ""
    return f"{most.text}: the most, in {most.tensor}{where}"


def _equal(findings: tuple[Finding, ...]) -> list[list[Finding]]:
    """Return findings in their order; notes that differ in numbers of names alone together."""
    found: dict[object, list[Finding]] = {}
    for number, each in enumerate(findings):
        is_own = each.is_wrong or (each.index is not None and each.times is None)
        text = each.text if each.times is None else ""
        key = number if is_own else (pattern_of(each.tensor), each.kind, each.axis, text)
        found.setdefault(key, []).append(each)
    return list(found.values())
