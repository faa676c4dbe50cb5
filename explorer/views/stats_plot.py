"""Statistics as a figure: magnitudes by component, sizes by depth, and a map of outliers."""

import os
import re
from math import ceil, floor, hypot, log10
from typing import TYPE_CHECKING

from explorer.document.palette import OTHER, colour_of
from explorer.errors import printable
from explorer.inventory.own_names import component_word
from explorer.values.records import Description, TensorStatistics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_stats"]

_MARK = "explorer: statistics of values"
_DARK = {"head": "#8C6D1F"}  # yellow lines on white are not seen
_MOST_ROWS = 60
_NAME = 40  # characters of a name
_NUMBER = re.compile(r"(?:^|[/._])(\d+)(?=$|[/._])")


def plot_stats(found: Description, path: str | os.PathLike | None = None) -> "Figure":
    """Return a figure: magnitudes of each component, their RMS by layer, a map of outliers.

    The map has the largest magnitude of each tensor, as a multiple of the tensor's RMS.

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
            word = component_word(
                each.component or "other", each.role, each.name.split("/")
            )
            parts.setdefault(word, []).append(each)
    with in_style():
        figure = Picture(layout="constrained")
        rows = _outliers(found)
        height = 1.0 + 0.22 * len(rows) if rows else 0.0
        figure.set_size_inches(9.0, 6.4 + height)
        shares = [3.2, 3.2, *([height] if rows else [])]
        panels = figure.subplots(len(shares), 1, height_ratios=shares)
        _draw_magnitudes(panels[0], parts)
        _draw_depth(panels[1], parts)
        if rows:
            _draw_outliers(figure, panels[2], rows)
        figure.suptitle(found.target, parse_math=False)
    if path is not None:
        save_figure(figure, path, _MARK)
    return figure


def _draw_magnitudes(panel: "Axes", parts: dict[str, list[TensorStatistics]]) -> None:
    """Draw the share of each component's elements by the exponent of their magnitude."""
    from matplotlib.ticker import MaxNLocator

    for name, tensors in parts.items():
        sums: dict[int, int] = {}
        for each in tensors:
            for exponent, number in each.statistics.histogram.items():
                sums[exponent] = sums.get(exponent, 0) + number
        total = sum(sums.values())
        if total:
            places = range(_lowest(sums, total // 1000), max(sums) + 2)
            shares = [sums.get(place, 0) / total for place in places]
            style = {"color": _colour_of(name), "linewidth": 1.6}
            panel.stairs(shares[:-1], places, label=name, **style)
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

    for name, tensors in parts.items():
        layers: dict[int, list[float]] = {}
        for each in tensors:
            if number := _NUMBER.search(each.name):
                sums = layers.setdefault(int(number[1]), [0.0, 0.0])
                norm = (each.statistics.rms or 0.0) * each.statistics.finite**0.5
                sums[0] = hypot(sums[0], norm)
                sums[1] += each.statistics.finite
        depths = sorted(n for n, (_, finite) in layers.items() if finite)
        sizes = [layers[n][0] / layers[n][1] ** 0.5 for n in depths]
        style = {"color": _colour_of(name), "linewidth": 1.6}
        panel.plot(depths, sizes, marker="o", markersize=3, **style)
    panel.set_yscale("log")
    panel.set_yticks(_round_numbers(*panel.get_ylim()))
    panel.yaxis.set_major_formatter(lambda size, _: f"{size:.3g}")
    panel.yaxis.set_minor_formatter(lambda _size, _: "")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.set_xlabel("layer")
    panel.set_title("RMS of the elements of each component in numbered layers")


def _colour_of(component: str) -> str:
    """Return the colour of a component: that of every other picture, dark enough for lines."""
    found = colour_of(component)
    if found is None:
        return OTHER.code
    return _DARK.get(component, found.code)


def _round_numbers(low: float, high: float) -> list[float]:
    """Return at least three round numbers of a range on a logarithmic axis, if it has them.

    >>> _round_numbers(0.03, 0.8), _round_numbers(0.2, 0.35), _round_numbers(0.02, 300)
    ([0.05, 0.1, 0.2, 0.5], [0.2, 0.25, 0.3, 0.35], [0.1, 1.0, 10.0, 100.0])
    """
    inside: list[float] = []
    for steps in ((1,), (1, 2, 5), range(1, 10), [each / 2 for each in range(2, 20)]):
        powers = range(floor(log10(low)), ceil(log10(high)) + 1)
        numbers = {float(f"{step}e{power}") for power in powers for step in steps}
        inside = sorted(number for number in numbers if low <= number <= high)
        if len(inside) > 2:
            break
    return inside or [low, high]


def _outliers(found: Description) -> dict[str, dict[int, float]]:
    """Return the largest magnitude over the RMS, by the tensor's name in its layer and the layer."""
    rows: dict[str, dict[int, float]] = {}
    for each in found.tensors:
        figures, number = each.statistics, _NUMBER.search(each.name)
        if each.is_parameter and number and figures.rms and figures.min is not None:
            largest = max(-figures.min, figures.max or 0.0)
            name = each.name[number.end() :].lstrip("/._")
            if "/" not in name:  # "weight" alone says little
                above = each.name[: number.start()].rpartition("/")[2]
                name = f"{above}/*/{name}"
            rows.setdefault(name, {})[int(number[1])] = largest / figures.rms
    return dict(list(rows.items())[:_MOST_ROWS])


def _draw_outliers(
    figure: "Figure", panel: "Axes", rows: dict[str, dict[int, float]]
) -> None:
    """Draw a heat map: a row for each tensor of a layer, a column for each layer."""
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import MaxNLocator

    layers = 1 + max(layer for row in rows.values() for layer in row)
    gap = float("nan")
    cells = [[row.get(layer, gap) for layer in range(layers)] for row in rows.values()]
    known = [value for row in rows.values() for value in row.values()]
    low, high = min(known), max(max(known), 1.001 * min(known))
    scale = LogNorm(low, high)
    image = panel.imshow(
        cells, aspect="auto", norm=scale, cmap="magma_r", interpolation="none"
    )
    panel.grid(visible=False)
    panel.set_yticks(range(len(rows)), [_shown(name) for name in rows], parse_math=False)
    panel.tick_params(axis="y", labelsize=7)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.set_xlabel("layer")
    panel.set_title("Largest magnitude over the RMS of the tensor")
    bar = figure.colorbar(image, ax=panel, pad=0.02)
    bar.set_ticks(_round_numbers(low, high))
    bar.ax.yaxis.set_major_formatter(lambda times, _: f"{times:.3g}×")
    bar.ax.yaxis.set_minor_formatter(lambda _times, _: "")


def _shown(name: str) -> str:
    return printable(name if len(name) <= _NAME else f"…{name[1 - _NAME :]}", 200)
