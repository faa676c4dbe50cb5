"""What every plot shares: its colours and style, and how it is saved over an earlier plot alone."""

import io
import os
from collections.abc import Container
from contextlib import AbstractContextManager, suppress
from typing import Any

from explorer.errors import (
    FormatError,
    InputError,
    MissingPackageError,
    TargetError,
    check_path,
    printable,
)
from explorer.storage.local import read_whole
from explorer.storage.writing import publish, replace_file

try:
    from matplotlib import rc_context
    from matplotlib.figure import Figure
except ImportError:
    raise MissingPackageError(
        "plot",
        found="needs matplotlib, which is not installed",
        cure="pip install -e '.[plot]' in the repository",
    ) from None

__all__ = ["COLOURS", "INK", "LINES", "Picture", "check_picture", "in_style", "save_figure"]

# Okabe and Ito's colours, which people distinguish with any colour vision
COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D1F",
)  # fmt: skip
# beside each colour, for print without colours
LINES = ("-", (0, (6, 1.5)), (0, (6, 1.5, 1.5, 1.5)), (0, (2, 1.2))) * 2
INK, _FAINT = "#333333", "#DDDDDD"
_STYLE: dict[Any, Any] = {
    "font.size": 9.0, "axes.titlesize": 10.5, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "axes.edgecolor": INK, "axes.labelcolor": INK,
    "text.color": INK, "xtick.color": INK, "ytick.color": INK, "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": True, "grid.color": _FAINT,
    "grid.linewidth": 0.6, "axes.axisbelow": True, "legend.frameon": False,
    "figure.facecolor": "white", "axes.facecolor": "white",
}  # fmt: skip
_LARGEST = 1 << 28  # bytes of a saved plot
_OTHER = "choose another .png, .svg or .pdf"
# the field of each format that holds the mark of a plot
_FIELDS = {
    "png": "Software",
    "svg": "Title",
    "pdf": "Creator",
    "ps": "Creator",
    "eps": "Creator",
}


def in_style() -> AbstractContextManager[None]:
    """Return a context in which plots are drawn in explorer's style."""
    return rc_context(_STYLE)


class Picture(Figure):
    """A figure that notebooks show by itself, with no global state of pyplot's."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=110)
        return buffer.getvalue()


def save_figure(figure: Figure, path: str | os.PathLike, mark: str) -> None:
    """Save a figure in the format of its ending.

    Args:
        figure: what is saved.
        path: its name; without an ending it becomes a .png.
        mark: is written into the file. An earlier plot is replaced if it has this mark (in
            png, svg, pdf, ps, eps); any other file is left alone.

    Raises:
        InputError: the file is there, or cannot be written.
    """
    buffer, ending = io.BytesIO(), os.path.splitext(path)[1].lower().removeprefix(".")
    _check_ending(path, ending, figure.canvas.get_supported_filetypes())
    try:
        marked = {_FIELDS[ending]: mark} if ending in _FIELDS else None
        figure.savefig(buffer, format=ending or "png", dpi=160, metadata=marked)
        place = path if ending else f"{os.fspath(path)}.png"
        try:
            publish(place, buffer.getvalue())
        except FileExistsError:
            _check_plot(place, mark)
            replace_file(place, buffer.getvalue())
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        why = getattr(error, "strerror", None) or str(error)
        found = f"cannot be written: {why}"
        raise InputError(path, found=found, cure=_OTHER) from None


def check_picture(path: str | os.PathLike, mark: str) -> None:
    """Refuse what `save_figure` would refuse, before the work that the figure needs.

    Raises:
        InputError: another ending than a plot's, or a file that is not an earlier plot.
    """
    check_path("plot", path)
    ending = os.path.splitext(path)[1].lower().removeprefix(".")
    _check_ending(path, ending, _FIELDS)
    place = path if ending else f"{os.fspath(path)}.png"
    if os.path.lexists(place):
        _check_plot(place, mark)


def _check_ending(path: str | os.PathLike, ending: str, known: Container[str]) -> None:
    """Refuse an ending that plots cannot have; a name without one becomes a .png."""
    if ending and ending not in known:
        found, expected = f"ends with .{printable(ending, 20)}", ".png, .svg or .pdf"
        raise InputError(path, found=found, expected=expected)


def _check_plot(path: str | os.PathLike, mark: str) -> None:
    """Refuse to replace a file that does not say that it is a plot of explorer's."""
    with suppress(TargetError, FormatError):
        if mark.encode() in read_whole(os.fspath(path), _LARGEST):
            return
    found, expected = "is there already", "an earlier plot of explorer's, or a free name"
    raise InputError(path, found=found, expected=expected, cure=_OTHER)
