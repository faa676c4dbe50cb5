"""Statistics of values as a table with a small histogram for each row."""

from typing import Any, NamedTuple

from explorer.document.records import Notes, Paragraph, Table
from explorer.values.records import Description
from explorer.views.stats import stats_document

__all__ = ["Histogram", "statistics_of"]

_HEIGHT = 24.0
_PICTURE = "magnitudes"  # the column that the histograms stand for


class Histogram(NamedTuple):
    """A row of bars as the path of an SVG, one unit wide for each power of two."""

    cells: int
    path: str
    label: str


def statistics_of(found: Description, most: int) -> dict[str, Any]:
    """Return a sentence, the table of `explorer stats` and a histogram for each row.

    Args:
        found: what `describe` returns.
        most: rows that are kept; the total is kept too.
    """
    document = stats_document(found)
    (sentence,) = (block.text for block in document.blocks if isinstance(block, Paragraph))
    (table,) = (block for block in document.blocks if isinstance(block, Table))
    notes = [text for b in document.blocks if isinstance(b, Notes) for text in b.items]
    titles = [column.title for column in table.columns]
    kept = [number for number, title in enumerate(titles) if title != _PICTURE]
    counted = titles.index("elements")
    histograms = [group.statistics.histogram for group in found.groups]
    histograms.append(found.totals.histogram)
    span = _span(histograms)
    left = iter(histograms)
    pictures = [  # a module's row has no figures
        None if row[counted] is None else _histogram(next(left), span) for row in table.rows
    ]
    rows = [tuple(row[number] for number in kept) for row in table.rows]
    if len(rows) > most:
        more = len(rows) - most
        notes.append(f"{more:,} more rows are not shown: explorer stats has them")
        rows, pictures = (
            [*rows[: most - 1], rows[-1]],
            [*pictures[: most - 1], pictures[-1]],
        )
    columns = tuple(table.columns[number] for number in kept)
    return {
        "sentence": sentence,
        "table": Table(columns, rows, table.total),
        "pictures": pictures,
        "notes": [note for note in notes if not note.startswith(_PICTURE)],
    }


def _span(histograms: list[dict[int, int]]) -> tuple[int, int]:
    """Return the exponents that hold all but a thousandth of the elements at either end."""
    sums: dict[int, int] = {}
    for histogram in histograms:
        for exponent, number in histogram.items():
            sums[exponent] = sums.get(exponent, 0) + number
    if not sums:
        return 0, 0
    rest = sum(sums.values()) // 1000
    low, high = min(sums), max(sums)
    below = above = 0
    while low < high and (below := below + sums.get(low, 0)) <= rest:
        low += 1
    while high > low and (above := above + sums.get(high, 0)) <= rest:
        high -= 1
    return low, high


def _histogram(histogram: dict[int, int], span: tuple[int, int]) -> Histogram | None:
    """Return bars over a span of exponents; what is outside is in the first or last one."""
    if not histogram:
        return None
    low, high = span
    heights = [0] * (high - low + 1)
    for exponent, number in histogram.items():
        heights[min(max(exponent, low), high) - low] += number
    most, total = max(heights), sum(heights)
    parts = []
    for place, height in enumerate(heights):
        if height:
            top = _HEIGHT * (1 - height / most)
            parts.append(f"M{place} {_HEIGHT:g}V{top:.2f}H{place + 1}V{_HEIGHT:g}z")
    peak = heights.index(most) + low
    label = (
        f"magnitudes from 2^{low} to 2^{high + 1}; most, {most / total:.0%}, "
        f"from 2^{peak} to 2^{peak + 1}"
    )
    return Histogram(len(heights), "".join(parts), label)
