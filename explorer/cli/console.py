"""What every command shares: how wide, how coloured, and in which encoding to print."""

import os
import sys
from collections.abc import Callable

import click

from explorer.views.table import Style

__all__ = ["echo", "format_option", "style", "width"]

_WIDTHS = (60, 250)


def format_option(function: Callable) -> Callable:
    """Add --format to a command that prints records."""
    return click.option(
        "--format",
        "form",
        type=click.Choice(["text", "json", "csv", "md"]),
        default="text",
        show_default=True,
        help="How to print.",
    )(function)


def width() -> int:
    """Return the cells of a line: the terminal's, or COLUMNS, within 60 to 250."""
    try:
        cells = int(os.environ["COLUMNS"])
    except (KeyError, ValueError):
        try:
            cells = os.get_terminal_size(sys.stdout.fileno()).columns
        except OSError:  # no terminal
            cells = 100
    return max(_WIDTHS[0], min(cells, _WIDTHS[1]))


def style() -> Style:
    """Return escapes for a terminal; none in a pipe, under NO_COLOR or a dumb TERM."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    if plain or not sys.stdout.isatty():
        return Style()
    return Style(bold="\x1b[1m", dim="\x1b[2m", reset="\x1b[0m")


def echo(text: str) -> None:
    """Print text as UTF-8 whatever the locale; what no encoding holds is escaped."""
    data = (text + "\n").encode("utf-8", "backslashreplace")
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
