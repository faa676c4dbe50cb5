"""The folders of checkpoints in a run's folder: listed, deleted, set aside when broken."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from explorer.errors import FormatError, InputError, TargetError, printable, shown
from explorer.storage.documents import read_json
from explorer.storage.local import LOCAL
from explorer.storage.writing import delete_folder, rename_to_free

__all__ = [
    "delete_half_written", "delete_unfinished", "folders_of", "one_line", "set_aside",
    "set_aside_unlisted", "steps_in", "to_restore",
]  # fmt: skip

# in the name of a folder that Orbax is still writing
_UNFINISHED = ".orbax-checkpoint-tmp"
_METRICS = Path("metrics", "metrics")  # where a CheckpointManager stores those of a step
_LARGEST = 1 << 26  # bytes of a file that Orbax reads without its being in the manifest
_READ_BY_ORBAX = ("_CHECKPOINT_METADATA", "commit_success.txt")


def steps_in(folder: Path) -> list[int]:
    """Return the steps that have a checkpoint, in ascending order."""
    steps = [n for n in LOCAL.names(str(folder)) if n.isascii() and n.isdigit()]
    for name in steps:
        if (folder / name).is_symlink() or not (folder / name).is_dir():
            raise InputError(
                folder / name,
                found="is not a folder",
                expected=f"the checkpoint of step {name}, or nothing of this name",
                cure="move it away",
            )
    return sorted(map(int, steps))


def folders_of(folder: Path, step: int) -> list[Path]:
    """Return the folders of a step: the complete one, and those still being written."""
    return [
        folder / name
        for name in LOCAL.names(str(folder))
        if name == str(step) or name.startswith(f"{step}{_UNFINISHED}")
    ]


def delete_unfinished(folder: Path) -> None:
    """Delete the saves that an earlier process did not finish."""
    for name in LOCAL.names(str(folder)):
        if _UNFINISHED in name:
            with one_line(f"delete {name}", folder):
                delete_folder(folder / name)


def delete_half_written(folder: Path, step: int) -> None:
    """Free the disk space of a save that has failed; the error shown is that of the save."""
    for path in folders_of(folder, step):
        if path.name != str(step):
            # what is still being written is deleted when the folder is next opened
            delete_folder(path, missing_ok=True)


def set_aside(folder: Path, step: int, reason: str) -> str:
    """Rename a broken checkpoint to STEP.broken; return a remark that says so.

    One that was set aside earlier at this step is kept: the next is STEP.broken.2.
    """
    with one_line(f"set step {step} aside", folder):
        aside, number = f"{step}.broken", 1
        while LOCAL.exists(str(folder / aside)):
            number += 1
            aside = f"{step}.broken.{number}"
        rename_to_free(folder / str(step), folder / aside)
    return f"{reason}; it is set aside as {aside}"


def set_aside_unlisted(folder: Path) -> list[str]:
    """Set aside checkpoints that Orbax would stumble over, or read without end.

    Their metrics are broken, or a file of theirs is not a regular one or endless.

    Returns:
        A remark for each of them.

    Raises:
        InputError: something else has the name of a step.
    """
    remarks = []
    for step in steps_in(folder):
        try:
            _check_readable(folder / str(step))
        except (TargetError, FormatError) as error:
            remarks.append(set_aside(folder, step, str(error)))
    return remarks


def _check_readable(step: Path) -> None:
    sizes = LOCAL.files(str(step))
    for name, size in sizes.items():
        if name.rpartition("/")[2] in _READ_BY_ORBAX and size > _LARGEST:
            raise FormatError(step / name, found=f"is larger than {_LARGEST:,} bytes")
    path = step / _METRICS
    if not LOCAL.exists(str(path)):  # saved without a metric
        return
    read_json(str(path), _LARGEST, dict[str, float], found="is broken", cure="")


@contextmanager
def one_line(what: str, folder: Path) -> Iterator[None]:
    """Raise errors of the system, of Orbax and of its barriers as one that can be shown.

    Raises:
        InputError: the folder cannot do `what`, and why.
    """
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            folder,
            found=f"cannot {what} ({_reason(error)})",
            expected="a folder on a disk with room",
            cure="make room, or train into another folder",
        ) from None


def _reason(error: BaseException) -> str:
    """Return the system's message, which tensorstore gives by its number."""
    number = re.search("os_error_code='([0-9]{1,4})'", str(error))
    if number:
        return os.strerror(int(number[1]))
    return getattr(error, "strerror", None) or printable(error)


def to_restore(folder: Path, steps: list[int], chosen: int | None) -> list[int]:
    """Return the steps to restore from, of which the first that is intact is taken.

    Raises:
        InputError: one is chosen that has no checkpoint.
    """
    if chosen is None:
        return steps[::-1]
    if chosen not in steps:
        there = ", ".join(map(str, steps[-10:])) or "none"
        raise InputError(
            folder,
            found=f"has no checkpoint of step {shown(chosen, 30)}",
            expected=f"one of {there}",
        )
    return [chosen]
