"""The folders of checkpoints in a run's folder: listed, deleted, set aside when broken."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from explorer.errors import InputError, printable

__all__ = [
    "delete_half_written", "delete_unfinished", "folders_of", "one_line", "set_aside",
    "set_aside_unlisted", "steps_in",
]  # fmt: skip

# in the name of a folder that Orbax is still writing
_UNFINISHED = ".orbax-checkpoint-tmp"
_METRICS = Path("metrics", "metrics")  # where a CheckpointManager stores those of a step


def steps_in(folder: Path) -> list[int]:
    """Return the steps that have a checkpoint, in ascending order."""
    return sorted(int(n) for n in _names(folder) if n.isascii() and n.isdigit())


def folders_of(folder: Path, step: int) -> list[Path]:
    """Return the folders of a step: the complete one, and those still being written."""
    return [
        folder / name
        for name in _names(folder)
        if name == str(step) or name.startswith(f"{step}{_UNFINISHED}")
    ]


def delete_unfinished(folder: Path) -> None:
    """Delete the saves that an earlier process did not finish."""
    for name in _names(folder):
        if _UNFINISHED in name:
            with one_line(f"delete {name}", folder):
                shutil.rmtree(folder / name)


def delete_half_written(folder: Path, step: int) -> None:
    """Free the disk space of a save that has failed; the error shown is that of the save."""
    for path in folders_of(folder, step):
        if path.name != str(step):
            # what is still being written is deleted when the folder is next opened
            shutil.rmtree(path, ignore_errors=True)


def set_aside(folder: Path, step: int, reason: str) -> str:
    """Rename a broken checkpoint to STEP.broken; return a remark that says so.

    One that was set aside earlier at this step is kept: the next is STEP.broken.2.
    """
    with one_line(f"set step {step} aside", folder):
        aside, number = f"{step}.broken", 1
        while (folder / aside).exists():
            number += 1
            aside = f"{step}.broken.{number}"
        os.rename(folder / str(step), folder / aside)
    return f"{reason}; it is set aside as {aside}"


def set_aside_unlisted(folder: Path) -> list[str]:
    """Set aside checkpoints whose metrics are broken, over which Orbax would stumble.

    Returns:
        A remark for each of them.
    """
    remarks = []
    for step in steps_in(folder):
        path = folder / str(step) / _METRICS
        try:
            msgspec.json.decode(path.read_bytes(), type=dict[str, float])
        except FileNotFoundError:  # saved without a metric
            continue
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            remarks.append(set_aside(folder, step, f"{path}: is broken ({error})"))
    return remarks


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


def _names(folder: Path) -> list[str]:
    with one_line("be listed", folder):
        return os.listdir(folder)
