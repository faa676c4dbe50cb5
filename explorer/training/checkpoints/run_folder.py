"""The folder of a run: locked for one process, and for the run whose config it was made with."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from explorer.errors import (
    FormatError,
    InputError,
    TargetError,
    TreeError,
    first_line,
    printable,
    shown,
)
from explorer.storage.documents import NOT_JSON, refuse_json
from explorer.storage.local import LOCAL, read_whole
from explorer.storage.writing import delete_file, make_folders, publish
from explorer.training.checkpoints.lock import Lock

__all__ = ["RunFolder", "lock_run_folder"]

_CONFIG = "run.json"
_LARGEST = 1 << 24  # bytes of it
_CURE = "train into another folder"


class RunFolder(NamedTuple):
    """The folder of a run, locked for this process.

    Attributes:
        folder: of the run.
        lock: of this process.
        is_new: whether this process has made it that of a run.
    """

    folder: Path
    lock: Lock
    is_new: bool

    def release(self, *, has_failed: bool = False) -> None:
        """Let others have it; one of a new run that failed, and has left nothing, for any run."""
        if self.is_new and has_failed and _visible(self.folder) == [_CONFIG]:
            delete_file(self.folder / _CONFIG)
        self.lock.release()


def lock_run_folder(folder: Path, config: Mapping[str, Any]) -> RunFolder:
    """Lock the folder of a run, after making it or checking that it is of the same run.

    Args:
        folder: created if it does not exist, with all its parents.
        config: what the run is, as JSON.

    Returns:
        What is to be released at the end of the run.

    Raises:
        InputError: the folder cannot be created or written, is a file, holds something
            else, is another run's (what differs is named), or is in use.
        FormatError: its run.json is broken.
    """
    try:
        make_folders(folder)
        _check_empty_or_run(folder)  # before anything is written into it
        lock = Lock(folder)
        try:
            is_new = _write_or_compare(folder, config)
        except BaseException:
            lock.release()
            raise
    except FileExistsError:
        raise InputError(
            folder,
            found="is a file" if folder.is_file() else "exists and is not a folder",
            expected="a folder, or a name that is free",
            cure=_CURE,
        ) from None
    except OSError as error:
        raise InputError(
            folder,
            found=f"cannot be written to ({error.strerror})",
            expected="a folder that this user may write to, with room",
            cure=_CURE,
        ) from None
    return RunFolder(folder, lock, is_new)


def _check_empty_or_run(folder: Path) -> None:
    names = _visible(folder)
    if names and _CONFIG not in names:
        raise InputError(
            folder,
            found=f"holds {printable(min(names), 60)!r} and no {_CONFIG}",
            expected="an empty folder, or the one of this run",
            cure=_CURE,
        )


def _visible(folder: Path) -> list[str]:
    """Return what a folder holds but locks, and a run.json that was not finished."""
    return [name for name in LOCAL.names(str(folder)) if not name.startswith(".")]


def _write_or_compare(folder: Path, config: Mapping[str, Any]) -> bool:
    """Write the config of a new run, or check that it equals the one that was written.

    Returns:
        Whether it was written.
    """
    document = folder / _CONFIG
    if not LOCAL.exists(str(document)):
        publish(document, _encoded(config))
        return True
    try:
        raw = read_whole(str(document), _LARGEST)
    except (TargetError, FormatError) as error:
        raise FormatError(document, found=error.found, cure=_CURE) from None
    _check_same(document, raw, config)
    return False


def _check_same(document: Path, raw: bytes, config: Mapping[str, Any]) -> None:
    try:
        there = msgspec.json.decode(raw, type=dict[str, Any])
    except NOT_JSON as error:
        refuse_json(document, error, found="is broken", cure=_CURE)
    before, now = _flat(there), _flat(msgspec.to_builtins(config))
    missing = object()
    differing = [
        f"{name} is {_shown(before, name)} there, {_shown(now, name)} now"
        for name in dict.fromkeys((*now, *before))
        if before.get(name, missing) != now.get(name, missing)
    ]
    if differing:
        raise InputError(
            document.parent,
            found="is another run: " + ", ".join(differing[:4]),
            expected="the settings it began with",
            cure=_CURE,
        )


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Return the leaves of nested dicts by dotted name."""
    if not isinstance(value, dict):
        return {name: value}
    return {
        path: leaf
        for key, inner in value.items()
        for path, leaf in _flat(inner, f"{name}.{key}" if name else key).items()
    }


def _shown(values: dict[str, Any], name: str) -> str:
    return shown(values[name], 60) if name in values else "not set"


def _encoded(config: Mapping[str, Any]) -> bytes:
    try:
        return msgspec.json.format(msgspec.json.encode(config))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise TreeError(
            "config", found=f"cannot be written ({first_line(error)})", expected="JSON"
        ) from None
