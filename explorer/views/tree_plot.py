"""The folded tree as a figure: each part's height is its number of parameters."""

import os
from typing import TYPE_CHECKING, Any

from explorer.analyses.collapse import collapse
from explorer.document.palette import OTHER, colour_of
from explorer.document.words import counted
from explorer.errors import InputError, printable
from explorer.inventory.inventory import Inventory
from explorer.views import units
from explorer.views.report.nodes import MIXED, map_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_tree"]

_MARK = "explorer: the tree of a model"
_MOST = 400  # parts that are drawn; those left out are one part
_WIDTH, _HEIGHT = 10.0, 5.6  # inches
_ROOT = 0.45  # of a column's width
_LINE = 0.034  # of the height, that a line of text needs
_MIXED = "#D5DADF"


def plot_tree(inventory: Inventory, path: str | os.PathLike | None = None) -> "Figure":
    """Return a figure of a tree: modules to the left, what is in them to their right.

    Heights are parameters; bytes where there are none. Colours are components, which are also
    written on the parts that are large enough.

    Args:
        inventory: whose tree to draw.
        path: where to save it as well, in the format of its ending.

    Raises:
        MissingPackageError: matplotlib is not installed.
        InputError: nothing to draw; or the file is there, or cannot be written.
    """
    from explorer.document.figures import Picture, in_style, save_figure

    drawn = map_of(collapse(inventory), _MOST, 60)
    size = 2 if inventory.num_parameters else 3
    if not drawn["nodes"][0][size]:
        raise InputError("plot", found="a tree without a byte", expected="tensors to draw")
    with in_style():
        figure = Picture(layout="constrained")
        figure.set_size_inches(_WIDTH, _HEIGHT)
        panel = figure.subplots()
        _draw(panel, drawn, size)
        tensors = inventory.num_parameter_tensors or inventory.num_tensors
        held = (
            f"{counted(inventory.num_parameters, 'parameter')} in "
            f"{counted(tensors, 'tensor')}"
        )
        title = f"{printable(inventory.target or inventory.source, 80)}: {held}"
        panel.set_title(title, parse_math=False)
    if path is not None:
        save_figure(figure, path, _MARK)
    return figure


def _draw(panel: "Axes", drawn: dict[str, Any], size: int) -> None:
    """Draw the parts as rectangles, a column for each level; a tensor fills its row."""
    nodes, words = drawn["nodes"], drawn["words"]
    below: dict[int, list[int]] = {}
    for number, node in enumerate(nodes):
        below.setdefault(node[1], []).append(number)
    depths = _depths(nodes)
    right = _ROOT + max(depths)
    shown: dict[str, int] = {}
    todo = [(0, 0.0, 1.0)]
    while todo:
        number, top, height = todo.pop()
        node, level, inside = nodes[number], depths[number], below.get(number, [])
        left = 0.0 if level == 0 else _ROOT + level - 1
        width = (_ROOT if level == 0 else 1.0) if inside else right - left
        word = words[node[5]]
        _part(panel, (left, top, width, height), node, word, nodes[0][size], size)
        if not inside:
            shown[word] = shown.get(word, 0) + node[size]
        total = sum(nodes[child][size] for child in inside)
        for child in inside if total else ():
            share = height * nodes[child][size] / total
            todo.append((child, top, share))
            top += share
    panel.set_xlim(0.0, right)
    panel.set_ylim(1.0, 0.0)
    panel.axis("off")
    _legend(panel, shown)


def _depths(nodes: list[list[Any]]) -> list[int]:
    depths: list[int] = []
    for node in nodes:
        depths.append(0 if node[1] < 0 else depths[node[1]] + 1)
    return depths


def _part(
    panel: "Axes",
    box: tuple[float, float, float, float],
    node: list[Any],
    word: str,
    whole: int,
    size: int,
) -> None:
    """Draw one part: its name where there is room, and below it its share and its size."""
    from matplotlib.patches import Rectangle

    left, top, width, height = box
    colour = _colour(word)
    panel.add_patch(
        Rectangle(
            (left, top), width, height, facecolor=colour, edgecolor="white", linewidth=0.8
        )
    )
    if height < _LINE:
        return
    ink = "white" if word == "embedding" else "black"
    name = (
        _clipped(node[0], 21 if width <= 1 else 60)
        if width >= 1
        else _clipped(node[0].rstrip("/").rpartition("/")[2], 9)
    )
    lines = [name]
    if height > 2 * _LINE:
        number = f"{node[2]:,}" if size == 2 else units.size(node[3])
        share = units.share(node[size], whole)
        lines.append(share if width < 1 else f"{share}  {number}")
    panel.text(
        left + 0.04, top + height / 2, "\n".join(lines), color=ink, va="center",
        fontsize=8, parse_math=False, clip_on=True,
    )  # fmt: skip


def _colour(word: str) -> str:
    return _MIXED if word == MIXED else (colour_of(word) or OTHER).code


def _clipped(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _legend(panel: "Axes", shown: dict[str, int]) -> None:
    """Say which colour is which component, and its share."""
    from matplotlib.patches import Patch

    ordered = sorted(shown.items(), key=lambda item: -item[1])
    shares = units.shares([number for _, number in ordered])
    patches = [
        Patch(facecolor=_colour(word), label=f"{word} {share}")
        for (word, _), share in zip(ordered, shares, strict=True)
    ]
    panel.legend(
        handles=patches,
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
        ncols=min(len(patches), 8),
    )
