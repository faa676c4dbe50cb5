"""A path -> its listing: one file, or a folder of shards; and a path -> its arrays.

A folder's table is like a file format's: what must lie in it, and how it is read.
"""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from explorer.errors import FormatError, TargetError, printable
from explorer.formats.registry import reader_of, recognise
from explorer.formats.shards import Index, merge, read_index, verify
from explorer.inventory.gc_pause import paused_gc
from explorer.inventory.listing import Listing
from explorer.paths import Key
from explorer.storage.local import unreadable

if TYPE_CHECKING:
    import numpy as np

__all__ = ["is_config", "list_path", "load_path"]

# In order of preference; of several single files the first named wins.
_INDEXES = (".safetensors.index.json", ".bin.index.json")
_SINGLE = ("model.safetensors", "pytorch_model.bin", "flax_model.msgpack", "model.gguf")
_ENDINGS = (".safetensors", ".gguf", ".bin", ".pt", ".pth", ".msgpack", ".npz", ".npy")
_NO_WEIGHTS = ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth")


class _Part(NamedTuple):
    """One reader module and the file or folder it is to read."""

    module: str
    path: str


def list_path(path: str) -> Listing:
    """Return what the headers of a file, or of a folder's files, list.

    Raises:
        TargetError: nothing there that explorer knows.
        FormatError: a file breaks its format, or a shard is missing.
    """
    parts, remarks, index = _parts(path)
    with paused_gc():
        listings = [_read(part) for part in parts]
    listing = merge(path, listings)
    if index is not None:
        remarks = [*remarks, *verify(listing, index)]
    listing.remarks = [*listing.remarks, *remarks]
    return listing


def is_config(path: str) -> bool:
    """Say whether a path is of a config alone: a config's file, or a folder that holds one
    and no weights."""
    if not os.path.isdir(path):
        return path.endswith(".json") and not path.endswith(_INDEXES)
    try:
        names = os.listdir(path)
    except OSError as error:
        raise unreadable(path, error) from None
    if "config.json" not in names or any(n.endswith((*_ENDINGS, *_INDEXES)) for n in names):
        return False
    from explorer.formats import orbax

    return not orbax.recognises(path)


def load_path(path: str, wanted: Callable[[Key], bool]) -> "dict[Key, np.ndarray]":
    """Return the arrays of a file or folder whose keys are wanted, memory-mapped where
    the format allows."""
    arrays: dict[Key, np.ndarray] = {}
    for part in _parts(path)[0]:
        try:
            arrays.update(reader_of(part.module).values(part.path, wanted))
        except OSError as error:
            raise unreadable(part.path, error) from None
    return arrays


def _read(part: _Part) -> Listing:
    try:
        return reader_of(part.module).read(part.path)
    except OSError as error:  # of a disk that fails, or a file gone since it was found
        raise unreadable(part.path, error) from None


_Choice = tuple[list[_Part], list[str], Index | None]


def _parts(path: str) -> _Choice:
    """Return what is to be read, remarks on the choice, and the index that says so."""
    try:
        is_folder = os.path.isdir(path)
        names = sorted(os.listdir(path)) if is_folder else []
    except OSError as error:
        raise unreadable(path, error) from None
    if not is_folder:
        if path.endswith(_INDEXES):
            return _indexed(path)
        return [_Part(recognise(path).module, path)], [], None
    for ending in _INDEXES:
        for name in names:
            if name.endswith(ending):
                return _indexed(os.path.join(path, name))
    if not set(_SINGLE) & set(names):
        from explorer.formats import orbax

        if orbax.recognises(path):
            return [_Part("orbax", path)], [], None
    return _unindexed(path, names)


def _unindexed(path: str, names: list[str]) -> _Choice:
    files = [n for n in names if n.endswith(_ENDINGS) and n not in _NO_WEIGHTS]
    chosen = next((name for name in _SINGLE if name in files), None)
    if chosen is None and files:
        ending = next(e for e in _ENDINGS if any(name.endswith(e) for name in files))
        alike = [name for name in files if name.endswith(ending)]
        shards = [name for name in alike if "-of-" in name]
        if shards and ending == ".gguf":  # one part names the others
            chosen = shards[0]
        elif len(shards) == len(alike):
            _check_shard_numbers(path, shards)
            return [_part(path, name) for name in shards], [], None
        elif len(alike) > 1:
            raise TargetError(
                path,
                found=f"holds {len(alike)} {ending} files and no index",
                expected="one of them as target: " + ", ".join(map(printable, alike[:5])),
            )
        else:
            chosen = alike[0]
    if chosen is None:
        shown = ", ".join(printable(name, 40) for name in names[:5]) or "nothing"
        raise TargetError(
            path,
            found=f"holds no weights that explorer knows ({shown})",
            expected="safetensors, GGUF, PyTorch, npz, Flax msgpack or an Orbax checkpoint",
        )
    others = [name for name in files if name != chosen and "-of-" not in name]
    remarks = (
        [f"{chosen} was read; not {', '.join(map(printable, others))}"] if others else []
    )
    return [_part(path, chosen)], remarks, None


def _indexed(path: str) -> _Choice:
    index = read_index(path)
    folder = os.path.dirname(path)
    return [_part(folder, shard) for shard in index.shards], [], index


def _part(folder: str, name: str) -> _Part:
    path = os.path.join(folder, name)
    return _Part(recognise(path).module, path)


def _check_shard_numbers(path: str, shards: list[str]) -> None:
    """Refuse a set "model-00001-of-00003" that is not whole."""
    total = shards[0].rpartition("-of-")[2].partition(".")[0]
    if total.isdecimal() and int(total) != len(shards):
        raise FormatError(
            path,
            found=f"{len(shards)} shards named -of-{total}",
            expected=f"{int(total)}",
            cure="fetch the missing ones",
        )
