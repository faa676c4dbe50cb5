"""Statistics of the tensors of a row as lines of the pane, with a picture of magnitudes."""

from typing import TYPE_CHECKING

from explorer.browsing.details import DetailLine
from explorer.views import units
from explorer.views.stats import magnitude_span

if TYPE_CHECKING:
    from explorer.values.records import Description, Statistics

__all__ = ["chart_of", "value_lines"]

_BARS = " ▁▂▃▄▅▆▇█"
_WIDEST = 3  # cells of a bar


def value_lines(found: "Description", width: int) -> list[DetailLine]:
    """Return what the numbers of tensors look like: those of parameters together, else of all.

    Args:
        found: statistics of all of them.
        width: cells of a line.
    """
    number = units.count(len(found.tensors), "tensor")
    lines = [DetailLine("", f"values of {number}", "head")]
    if found.totals.count:
        return [*lines, *_figures(found.totals, width)]
    for group in found.groups:  # of state, which is not added up
        if len(found.groups) > 1:
            lines.append(DetailLine("", group.name, "name"))
        lines += _figures(group.statistics, width)
    return lines


def _figures(total: "Statistics", width: int) -> list[DetailLine]:
    is_wrong = total.nan or total.inf
    wrong = f"{total.nan:,} NaN, {total.inf:,} infinite" if is_wrong else "all finite"
    lines = [DetailLine("numbers", f"{total.count:,}, {wrong}")]
    if total.mean is not None and total.std is not None:
        lines.append(DetailLine("mean", f"{total.mean:.4g}, std {total.std:.4g}"))
        lines.append(DetailLine("range", f"{total.min:.4g} to {total.max:.4g}"))
    zeros = f"{total.zeros:,} ({units.share(total.zeros, total.count)})"
    lines.append(DetailLine("zeros", zeros))
    if {"1", "50", "99"} <= total.quantiles.keys():
        low, middle, high = (total.quantiles[share] for share in ("1", "50", "99"))
        lines.append(DetailLine("1, 50, 99%", f"{low:.3g}, {middle:.3g}, {high:.3g}"))
    *bars, scale = chart_of(total.histogram, width) or [""]
    lines += [DetailLine("", line, "picture") for line in bars]
    return [*lines, DetailLine("", scale, "note")] if scale else lines


def chart_of(histogram: dict[int, int], width: int, height: int = 4) -> list[str]:
    """Return bars of magnitudes, the smallest on the left, and a line of what they are.

    Args:
        histogram: elements by the exponent of their magnitude.
        width: cells; a bar takes one or more.
        height: lines of the bars.

    >>> chart_of({-3: 2, -2: 4, -1: 1}, 6, 1)
    ['▄▄██▂▂', 'magnitudes, 2^-3 to 2^0']
    """
    span = magnitude_span([histogram])
    if span is None:
        return []
    low, high = span
    bins = min(high - low + 1, width)
    counts = [0] * bins
    for exponent, number in histogram.items():
        counts[(min(max(exponent, low), high) - low) * bins // (high - low + 1)] += number
    cells, most = max(1, min(_WIDEST, width // bins)), max(counts)
    # what is there is seen, however little
    heights = [max(round(8 * height * n / most), n > 0) for n in counts]
    lines = [
        "".join(_BARS[min(max(each - 8 * level, 0), 8)] * cells for each in heights)
        for level in reversed(range(height))
    ]
    return [*lines, f"magnitudes, 2^{low} to 2^{high + 1}"]
