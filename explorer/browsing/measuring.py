"""The values of a row, read on demand: what the pane says of them, or why there are none."""

import time
from collections.abc import Callable, Sequence

from explorer.browsing.details import DetailLine
from explorer.browsing.outline import ItemPath, Outline
from explorer.browsing.subject import BrowsedTarget, measured, no_values
from explorer.browsing.value_details import value_lines
from explorer.errors import InputError, printable
from explorer.views import units

__all__ = ["UnwantedError", "measured_lines", "unmeasured_line"]

_EVERY = 0.2  # seconds between two words of how far it is
_LONGEST = 400  # characters of an error


class UnwantedError(Exception):
    """A pass over values is no longer wanted."""


def measured_lines(
    subjects: Sequence[BrowsedTarget],
    outline: Outline,
    path: ItemPath,
    width: int,
    say: Callable[[DetailLine], object],
    is_wanted: Callable[[], bool],
) -> list[DetailLine]:
    """Return what the values of a row look like, of each target.

    Args:
        subjects: the targets.
        outline: their rows.
        path: of the row.
        width: cells of a line.
        say: called now and then with how far the pass is.
        is_wanted: whether the pass is to go on.

    Raises:
        UnwantedError: it was not.
    """
    lines: list[DetailLine] = []
    for side, subject in enumerate(subjects):
        keys = outline.inventories[side].columns.keys
        wanted = [keys[index] for index in outline.tensors(path, side)]
        if len(subjects) > 1:
            lines.append(DetailLine("", "AB"[side], "head"))
        if not wanted:
            lines.append(DetailLine("values", "none: it is not there", "note"))
            continue
        try:
            found = measured(subject, wanted, _progress(say, is_wanted))
            lines += value_lines(found, width)
        except InputError as error:
            lines.append(DetailLine("values", printable(error, _LONGEST), "note"))
    return lines


def unmeasured_line(subjects: Sequence[BrowsedTarget], asked: int | None) -> DetailLine:
    """Return what stands in the place of statistics that were not read.

    Args:
        subjects: the targets.
        asked: bytes of the row, where it is asked whether to read so many.
    """
    whys = [no_values(each) for each in subjects]
    if all(whys):
        return DetailLine("values", whys[0], "note")
    if asked is not None:
        text = f"{units.size(asked)} are to be read: s again to do so"
        return DetailLine("values", text, "note")
    return DetailLine("values", "s: statistics", "note")


def _progress(
    say: Callable[[DetailLine], object], is_wanted: Callable[[], bool]
) -> Callable[[int, int], None]:
    """Return what a pass calls with what it has read: it says so, or ends the pass."""
    last = time.monotonic()

    def read(done: int, total: int) -> None:
        nonlocal last
        if not is_wanted():
            raise UnwantedError
        if time.monotonic() - last > _EVERY:
            last = time.monotonic()
            say(DetailLine("values", f"reading: {units.share(done, total)}", "note"))

    return read
