"""What lies beside the arrays of a checkpoint: the data position, shapes and checksums."""

import os
import zlib
from pathlib import Path
from typing import Any

import jax
import msgspec

from explorer.errors import FormatError, printable
from explorer.tree.walk import names_of

__all__ = ["Record", "describe", "differences", "read_record", "seal"]

_NAME = "record.json"
# Orbax's notes, written later or never read back
_UNCHECKED = frozenset({_NAME, "_CHECKPOINT_METADATA", "commit_success.txt"})
_CHUNK = 1 << 20


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What a checkpoint is of.

    `data` is a position, as JSON has it; `tensors` the shape and format of every leaf by
    its path; `files` the bytes and the CRC-32 of every file.
    """

    step: int
    data: Any = None
    tensors: dict[str, tuple[tuple[int, ...], str]] = {}
    files: dict[str, tuple[int, int]] = {}


class _Sealed(msgspec.Struct, frozen=True):
    """A record and its own CRC-32."""

    record: Record
    crc32: int


def describe(tree: Any) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return the shape and format of every leaf by its path.

    >>> describe({"dense": {"bias": jax.ShapeDtypeStruct((3,), "float32")}})
    {'dense/bias': ((3,), 'float32')}
    """
    return {
        "/".join(names_of(keys)): (tuple(leaf.shape), str(leaf.dtype))
        for keys, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
    }


def differences(stored: dict[str, Any], wanted: dict[str, Any]) -> str:
    """Return in words how two descriptions differ: the first three, and how many more.

    >>> differences({"a": ((2,), "int32")}, {"a": ((3,), "int32"), "b": ((), "int32")})
    'a is int32 (2,) there, int32 (3,) here; b is not there'
    """
    found = []
    for path in dict.fromkeys((*wanted, *stored)):
        there, here = stored.get(path), wanted.get(path)
        if there is None:
            found.append(f"{printable(path)} is not there")
        elif here is None:
            found.append(f"{printable(path)} is only there")
        elif there != here:
            words = (f"{dtype} {shape}" for shape, dtype in (there, here))
            found.append("{} is {} there, {} here".format(printable(path), *words))
    more = f"; {len(found) - 3:,} more" if len(found) > 3 else ""
    return "; ".join(found[:3]) + more


def seal(folder: Path, record: Record) -> None:
    """Write a record, with the checksums of all files that are there, into their folder."""
    record = msgspec.structs.replace(record, files=_checksums(folder))
    document = msgspec.json.encode(_Sealed(record, _crc_of(record)))
    (folder / _NAME).write_bytes(document)


def read_record(folder: Path) -> Record:
    """Return the record of a checkpoint whose every file is as it was written.

    Raises:
        FormatError: it has no record, or a file is missing, changed or cannot be read.
    """
    try:
        sealed = _decode((folder / _NAME).read_bytes())
        if sealed.crc32 != _crc_of(sealed.record):
            raise FormatError(folder / _NAME, found="is not as it was written")
        there = _checksums(folder)
    except OSError as error:
        place = error.filename or folder
        raise FormatError(place, found=f"cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FormatError(folder / _NAME, found=f"is broken ({error})") from None
    for name, written in sealed.record.files.items():
        if name not in there:
            raise FormatError(folder / name, found="is missing")
        if there[name] != written:
            raise FormatError(folder / name, found="is not as it was written")
    return sealed.record


def _crc_of(record: Record) -> int:
    return zlib.crc32(msgspec.json.encode(record))


def _checksums(folder: Path) -> dict[str, tuple[int, int]]:
    """Return the bytes and the CRC-32 of the files below a folder, by relative path."""
    found = {}
    for parent, _, names in os.walk(folder):
        for name in set(names) - _UNCHECKED:
            path = Path(parent, name)
            found[path.relative_to(folder).as_posix()] = _checksum(path)
    return found


def _checksum(path: Path) -> tuple[int, int]:
    size = crc = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            size, crc = size + len(chunk), zlib.crc32(chunk, crc)
    return size, crc


_decode = msgspec.json.Decoder(_Sealed).decode
