"""Statistics as a figure: magnitudes by component, and how large weights are by depth."""

import os
import re
from typing import TYPE_CHECKING

from explorer.values.records import Description, TensorStatistics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_stats"]

_MARK = "explorer: statistics of values"
_NUMBER = re.compile(r"(?:^|[/._])(\d+)(?=$|[/._])")


def plot_stats(found: Description, path: str | os.PathLike | None = None) -> "Figure":
    """Return a figure of the magnitudes of each component, and of their RMS by layer.

    Args:
        found: what `describe` returns.
        path: where to save it as well, in the format of its ending.

    Raises:
        MissingPackageError: matplotlib is not installed.
        InputError: the file is there, or cannot be written.
    """
    from explorer.document.figures import Picture, in_style, save_figure

    parts: dict[str, list[TensorStatistics]] = {}
    for each in found.tensors:
        if each.is_parameter and each.statistics.finite:
            parts.setdefault(each.component or "other", []).append(each)
    with in_style():
        figure = Picture(layout="constrained")
        figure.set_size_inches(9.0, 6.4)
        top, below = figure.subplots(2, 1)
        _draw_magnitudes(top, parts)
        _draw_depth(below, parts)
        figure.suptitle(found.target, parse_math=False)
    if path is not None:
        save_figure(figure, path, _MARK)
    return figure


def _draw_magnitudes(panel: "Axes", parts: dict[str, list[TensorStatistics]]) -> None:
    """Draw the share of each component's elements by the exponent of their magnitude."""
    from matplotlib.ticker import MaxNLocator

    from explorer.document.figures import COLOURS

    for (name, tensors), colour in zip(parts.items(), COLOURS, strict=False):
        sums: dict[int, int] = {}
        for each in tensors:
            for exponent, number in each.statistics.histogram.items():
                sums[exponent] = sums.get(exponent, 0) + number
        total = sum(sums.values())
        if total:
            places = range(_lowest(sums, total // 1000), max(sums) + 2)
            shares = [sums.get(place, 0) / total for place in places]
            panel.stairs(shares[:-1], places, color=colour, label=name, linewidth=1.6)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.xaxis.set_major_formatter(lambda power, _: f"$2^{{{power:.0f}}}$")
    panel.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    panel.set_xlabel("magnitude")
    panel.set_title("Share of the elements of each component")
    if parts:
        panel.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.0)


def _lowest(sums: dict[int, int], rest: int) -> int:
    """Return the exponent below which there is at most a rest of the elements."""
    below = 0
    for exponent in sorted(sums):
        below += sums[exponent]
        if below > rest:
            return exponent
    return max(sums)


def _draw_depth(panel: "Axes", parts: dict[str, list[TensorStatistics]]) -> None:
    """Draw the RMS of each component's elements by the number of the layer."""
    from matplotlib.ticker import MaxNLocator

    from explorer.document.figures import COLOURS

    for (_, tensors), colour in zip(parts.items(), COLOURS, strict=False):
        layers: dict[int, list[float]] = {}
        for each in tensors:
            if number := _NUMBER.search(each.name):
                sums = layers.setdefault(int(number[1]), [0.0, 0.0])
                sums[0] += each.statistics.l2**2
                sums[1] += each.statistics.finite
        depths = sorted(n for n, (_, finite) in layers.items() if finite)
        sizes = [(layers[n][0] / layers[n][1]) ** 0.5 for n in depths]
        panel.plot(depths, sizes, color=colour, marker="o", markersize=3, linewidth=1.6)
    panel.set_yscale("log")
    panel.yaxis.set_major_formatter(lambda size, _: f"{size:.3g}")
    panel.yaxis.set_minor_formatter(lambda size, _: f"{size:.3g}")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.set_xlabel("layer")
    panel.set_title("RMS of the elements of each component")
