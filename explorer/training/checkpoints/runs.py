"""Whose folder is it? A run claims one and no other run gets it, nor the same run twice."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from explorer.errors import FormatError, InputError, printable
from explorer.training.checkpoints.lock import Lock

__all__ = ["claim"]

_CLAIM = "run.json"


def claim(folder: Path, config: Mapping[str, Any]) -> Lock:
    """Make a folder that of the run that `config` describes, or see that it is already.

    Args:
        folder: made where there is none, with all above it.
        config: what the run is, as JSON has it.

    Returns:
        The lock on it, to be released at the end of the run.

    Raises:
        InputError: it cannot be made or written to, is a file, holds something else, is
            another run's (what differs is named), or is in use.
        FormatError: its run.json is broken.
    """
    try:
        os.makedirs(folder, exist_ok=True)
        _check_no_strangers(folder)  # before there is anything of ours in it
        lock = Lock(folder)
        try:
            _describe(folder, config)
        except BaseException:
            lock.release()
            raise
    except FileExistsError:
        raise InputError(
            folder,
            found="is a file" if folder.is_file() else "is there and no folder",
            expected="a folder, or a name that is free",
            cure="train into another folder",
        ) from None
    except OSError as error:
        raise InputError(
            folder,
            found=f"cannot be written to ({error.strerror})",
            expected="a folder that this user may write to, with room",
            cure="train into another folder",
        ) from None
    return lock


def _check_no_strangers(folder: Path) -> None:
    # a hidden name is a lock, or a claim that was not finished
    names = [name for name in os.listdir(folder) if not name.startswith(".")]
    if names and _CLAIM not in names:
        raise InputError(
            folder,
            found=f"holds {printable(min(names), 60)!r} and no {_CLAIM}",
            expected="an empty folder, or the one of this run",
            cure="train into another folder",
        )


def _describe(folder: Path, config: Mapping[str, Any]) -> None:
    """Write what the run is, or see that it is what was written."""
    document = folder / _CLAIM
    if document.exists():
        _check_same(document, document.read_bytes(), config)
        return
    unfinished = folder / f".{_CLAIM}"
    unfinished.write_bytes(msgspec.json.format(msgspec.json.encode(config)))
    os.replace(unfinished, document)


def _check_same(document: Path, raw: bytes, config: Mapping[str, Any]) -> None:
    try:
        there = msgspec.json.decode(raw, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FormatError(
            document, found=f"is broken ({error})", cure="train into another folder"
        ) from None
    before, now = _flat(there), _flat(msgspec.to_builtins(config))
    differing = [
        f"{name} is {_shown(before, name)} there, {_shown(now, name)} now"
        for name in dict.fromkeys((*now, *before))
        if before.get(name, _flat) != now.get(name, _flat)
    ]
    if differing:
        raise InputError(
            document.parent,
            found="is another run: " + ", ".join(differing[:4]),
            expected="the settings it began with",
            cure="train into another folder",
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
    return printable(repr(values[name]), 60) if name in values else "not set"
