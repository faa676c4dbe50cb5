"""The manifest of a checkpoint: its data position, tensors and the checksum of every file."""

import zlib
from pathlib import Path, PurePosixPath
from typing import Any

import jax
import msgspec

from explorer.errors import FormatError, InputError, TargetError, printable
from explorer.storage.documents import NOT_JSON, refuse_json
from explorer.storage.local import LOCAL, open_regular, read_whole, unreadable
from explorer.storage.writing import open_new
from explorer.tree.nesting import check_tree
from explorer.tree.types import PyTree
from explorer.tree.walk import names_of

__all__ = [
    "Manifest",
    "describe",
    "differences",
    "is_of_watch",
    "read_manifest",
    "write_manifest",
]

_NAME = "manifest.json"
_OLD_NAME = "record.json"  # the manifest of older runs
# written by Orbax after the manifest, or never read back
_UNCHECKED = frozenset({_NAME, _OLD_NAME, "_CHECKPOINT_METADATA", "commit_success.txt"})
_CHUNK = 1 << 20
_LARGEST = 1 << 27  # bytes of a manifest; one of 10^6 tensors takes 0.1 GB


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a checkpoint holds.

    Attributes:
        step: how many steps were taken.
        data: the data position, as JSON.
        tensors: shape and dtype of every leaf by its path.
        files: size in bytes and CRC-32 of every file by its path.
    """

    step: int
    data: Any = None
    tensors: dict[str, tuple[tuple[int, ...], str]] = {}
    files: dict[str, tuple[int, int]] = {}


class _Document(msgspec.Struct, frozen=True):
    """A manifest as it was encoded, and the CRC-32 of that; `record` is its key in older runs."""

    crc32: int
    manifest: msgspec.Raw = msgspec.Raw(b"")
    record: msgspec.Raw = msgspec.Raw(b"")


def describe(tree: PyTree) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return the shape and dtype of every leaf by its path.

    >>> describe({"dense": {"bias": jax.ShapeDtypeStruct((3,), "float32")}})
    {'dense/bias': ((3,), 'float32')}
    """
    check_tree(tree)
    return {
        "/".join(names_of(keys)): (tuple(leaf.shape), str(leaf.dtype))
        for keys, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
    }


def differences(stored: dict[str, Any], wanted: dict[str, Any]) -> str:
    """Return how two descriptions differ in words: the first three differences and a count.

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


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write a manifest with the checksums of all files in its folder."""
    files = {
        name: _checksum(folder / name, size)
        for name, size in LOCAL.files(str(folder)).items()
        if PurePosixPath(name).name not in _UNCHECKED
    }
    manifest = msgspec.structs.replace(manifest, files=files)
    body = msgspec.json.encode(manifest)
    document = b'{"manifest":%b,"crc32":%d}' % (body, zlib.crc32(body))
    with open_new(folder / _NAME) as file:
        file.write(document)


def read_manifest(folder: Path, step: int, like: PyTree) -> Manifest:
    """Return the manifest of a checkpoint after checking every file and tensor against it.

    Args:
        folder: of the checkpoint.
        step: that the folder has in its name.
        like: the tree that it should hold: arrays or their shapes.

    Raises:
        FormatError: it has no manifest or that of another step, or a file is missing,
            changed, unreadable or not a regular file.
        InputError: its tensors are others than those of `like`; what a watch compares with
            may differ.
    """
    old = folder / _OLD_NAME
    place = old if LOCAL.exists(str(old)) else folder / _NAME
    try:
        document = _decode(read_whole(str(place), _LARGEST))
        body = document.manifest or document.record
        if zlib.crc32(body) != document.crc32:
            raise FormatError(place, found="is not as it was written")
        manifest = msgspec.json.decode(body, type=Manifest)
        _check_files(folder, manifest.files)
    except TargetError as error:
        raise FormatError(error.place, found=error.found) from None
    except NOT_JSON as error:
        refuse_json(place, error, found="is broken")
    if manifest.step != step:
        raise FormatError(
            place, found=f"is of step {manifest.step:,}", expected=f"of step {step:,}"
        )
    if found := differences(
        _without_watch(manifest.tensors), _without_watch(describe(like))
    ):
        raise InputError(
            folder,
            found=f"is of another model: {found}",
            expected="the tensors of the one that is trained",
            cure="train into another folder",
        )
    return manifest


def is_of_watch(path: str) -> bool:
    """Return whether a tensor of a state is one that a watch compares with.

    >>> [is_of_watch(path) for path in ("watch/dense/bias", "params/watch/bias")]
    [True, False]
    """
    return path.partition("/")[0] == "watch"


def _without_watch(tensors: dict[str, Any]) -> dict[str, Any]:
    return {path: each for path, each in tensors.items() if not is_of_watch(path)}


def _check_files(folder: Path, files: dict[str, tuple[int, int]]) -> None:
    for name, written in files.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise FormatError(folder / _NAME, found=f"names {name!r}, outside its folder")
        if _checksum(folder / name, written[0]) != written:
            raise FormatError(folder / name, found="is not as it was written")


def _checksum(path: Path, most: int) -> tuple[int, int]:
    """Return the size and the CRC-32 of a file, of which `most` bytes are read and one more."""
    size = crc = 0
    with open_regular(path) as file:
        try:
            while chunk := file.read(max(0, min(_CHUNK, most + 1 - size))):
                size, crc = size + len(chunk), zlib.crc32(chunk, crc)
        except OSError as error:
            raise unreadable(str(path), error) from None
    return size, crc


_decode = msgspec.json.Decoder(_Document).decode
