"""A run as a figure: its loss, how fast its parts learn, and one statistic layer by layer."""

from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from explorer.document.figures import COLOURS, INK, LINES, Picture, in_style
from explorer.errors import InputError, printable
from explorer.training.logging.curves import (
    Run,
    StepRecord,
    component_of,
    depth_of,
    joined_curve,
    layer_of,
    metric_curve,
    metric_names,
    smoothed,
    spans_decades,
)

__all__ = ["MARK", "plot_history"]

_NO_VALUE = "#EEEEEE"
_WIDTH, _PANEL, _LINE = 9.0, 2.5, 0.17  # inches: of all, of a panel, of a layer
_MOST_LABELS = 40
_FEW = 6  # tensors, each of which has a line of its own
_DECADES = 5  # that the colours of a heat map span at most
_FRACTIONS = ("zeros", "dead_rows")
MARK = "explorer: the history of a run"  # by which a saved plot is known again
_MANY = 100  # steps from which on the loss is smoothed


def plot_history(run: Run, column: str) -> Figure:
    """Return the figure of a run.

    Args:
        run: the steps and what is watched of them.
        column: what the heat map shows of each layer.

    Raises:
        InputError: there are no steps.
    """
    if not run.records:
        raise InputError(
            "History.plot", found="no steps", expected="a run that has started"
        )
    with in_style():
        figure = Picture(layout="constrained")
        _draw(figure, run, column)
    return figure


def _draw(figure: Figure, run: Run, column: str) -> None:
    """Draw the panels one above the other over the same steps."""
    heights = [_PANEL]
    if any(record.watch is not None for record in run.records):
        layers = min(len(set(map(layer_of, run.rows))), _MOST_LABELS)
        heights += [_PANEL, max(1.4, 0.6 + _LINE * layers)]
    figure.set_size_inches(_WIDTH, sum(heights) + 0.6)
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    top = figure.add_subplot(grid[0])
    panels = [
        top,
        *(figure.add_subplot(grid[n], sharex=top) for n in range(1, len(heights))),
    ]
    _draw_loss(top, run.records)
    if len(panels) > 1:
        _draw_ratios(panels[1], run)
        _draw_heat(panels[2], run, column)
    for panel in panels[:-1]:
        panel.tick_params(labelbottom=False)
    panels[-1].set_xlabel("step")
    panels[-1].set_xlim(*_limits(run.records))


def _limits(records: Sequence[StepRecord]) -> tuple[float, float]:
    first, last = records[0].step, records[-1].step
    room = (last - first) * 0.01 or 0.5
    return first - room, last + room


def _draw_loss(panel: Axes, records: Sequence[StepRecord]) -> None:
    names = metric_names(records)
    losses = [name for name in names if name.endswith("loss")] or names[:1]
    shown = losses[: len(COLOURS)]
    curves = [metric_curve(records, name) for name in shown]
    is_log = spans_decades(curves)
    for name, colour, (steps, values) in zip(shown, COLOURS, curves):
        is_rare = len(steps) < len(records) / 2
        style: dict[str, Any] = {"color": colour, "label": printable(name, 24)}
        if len(steps) >= _MANY and not is_rare:
            panel.plot(steps, values, color=colour, alpha=0.25, linewidth=0.7)
            # as it is drawn: a steady fall stays straight where the axis is logarithmic
            line = np.exp(smoothed(np.log(values))) if is_log else smoothed(values)
            panel.plot(steps, line, linewidth=1.6, **style)
        else:
            mark = "o" if is_rare or len(steps) < 2 else None
            panel.plot(steps, values, linewidth=1.4, marker=mark, ms=4, **style)
    if is_log:
        panel.set_yscale("log")
    panel.set_title(printable(shown[0], 24) if shown else "no metrics", parse_math=False)
    if len(shown) > 1:
        _legend(panel, len(losses))


def _draw_ratios(panel: Axes, run: Run) -> None:
    """Draw a line for each of few tensors; else for each component, or, of one, layer."""
    column = "update_ratio" if "update_ratio" in run.columns else run.columns[0]
    if len(run.rows) <= _FEW:
        groups, (steps, values) = joined_curve(run, column, str)
    else:
        groups, (steps, values) = joined_curve(run, column, component_of)
        if len(groups) == 1:
            groups, (steps, values) = joined_curve(run, column, layer_of)
    # what is 0 has no place on a logarithmic axis
    positive = np.where((values > 0) & np.isfinite(values), values, np.nan)
    # of many lines, some from the first to the last
    shown = np.linspace(0, len(groups) - 1, min(len(groups), len(COLOURS))).round()
    for colour, line, number in zip(COLOURS, LINES, shown.astype(int).tolist()):
        label, mark = printable(groups[number], 32), "o" if len(steps) < 3 else None
        style: dict[str, Any] = {"color": colour, "linewidth": 1.4, "marker": mark, "ms": 4}
        style["linestyle"] = line
        panel.plot(steps, positive[:, number], label=label, **style)
    if np.isfinite(positive).any():
        panel.set_yscale("log")
    panel.set_title(column)
    if column == "update_ratio":
        panel.axhline(1e-3, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
        panel.set_title(
            "norm of the update / norm of the parameters (1e-3 is a common aim)"
        )
    _legend(panel, len(groups))


def _legend(panel: Axes, lines: int) -> None:
    """Say which line is which, and of how many where not all are drawn."""
    some = f"{len(COLOURS)} of {lines:,}" if lines > len(COLOURS) else None
    found = panel.legend(
        loc="upper left", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.0, title=some
    )
    for text in found.get_texts():
        text.set_parse_math(False)


def _draw_heat(panel: Axes, run: Run, column: str) -> None:
    """Draw the values of layers as colours over the steps, the input's layers on top."""
    layers, heat = joined_curve(run, column, layer_of)
    order = sorted(range(len(layers)), key=lambda n: depth_of(layers[n]))
    values = np.where(np.isfinite(heat.values), heat.values, np.nan)
    norm, colours = _scale(values, column)
    is_log = isinstance(norm, LogNorm)
    cells = np.where(values > 0, values, np.nan) if is_log else values
    mesh = panel.pcolormesh(
        _edges(heat.steps, _limits(run.records)),
        np.arange(len(layers) + 1) - 0.5,
        np.ma.masked_invalid(cells[:, order].T),
        norm=norm,
        cmap=colours,
        rasterized=True,
    )
    panel.invert_yaxis()
    panel.grid(visible=False)
    shown = range(0, len(layers), ceil(len(layers) / _MOST_LABELS))
    names = [printable(layers[order[n]], 24) for n in shown]
    panel.set_yticks(list(shown), names, fontsize=8, parse_math=False)
    panel.tick_params(axis="y", length=0)
    grey = " (grey: 0)" if is_log and (values == 0).any() else ""
    panel.set_title(f"{column}, layer by layer{grey}", parse_math=False)
    bar = panel.inset_axes((1.015, 0.0, 0.018, 1.0))
    is_cut = is_log and np.nanmin(cells) < norm.vmin
    panel.figure.colorbar(mesh, cax=bar, extend="min" if is_cut else "neither")


def _scale(values: np.ndarray, column: str) -> tuple[Any, Any]:
    """Return how values become colours: by their logarithm where none is below 0.

    Fractions, of which 0 is one as good as others, become so evenly.
    """
    finite = values[np.isfinite(values)]
    positive = finite[finite > 0]
    norm, name = Normalize(0, 1), "viridis"
    if finite.size and finite.min() < 0:
        most = float(np.abs(finite).max())
        norm, name = Normalize(-most, most), "RdBu_r"
    elif positive.size:
        high = float(positive.max())
        low = max(float(positive.min()), high / 10**_DECADES)
        is_even = column in _FRACTIONS
        norm = Normalize(0, high) if is_even else LogNorm(min(low, high / 2), high)
    return norm, colormaps[name].with_extremes(bad=_NO_VALUE)


def _edges(steps: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Return where cells begin and end: each has the steps that are nearest to its own."""
    return np.concatenate([limits[:1], (steps[1:] + steps[:-1]) / 2, limits[1:]])
