"""A path -> its listing or its arrays: one file, or a folder of shards.

Which file of a folder is read is decided here, by the names in it; how a file is read, in
the reader module of its format.
"""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from explorer.errors import FormatError, TargetError, printable
from explorer.formats.registry import detect, reader_of
from explorer.inventory.gc_pause import paused_gc
from explorer.inventory.listing import Listing
from explorer.paths import Key
from explorer.storage.local import LOCAL
from explorer.storage.store import Store

if TYPE_CHECKING:
    import numpy as np

    from explorer.formats.shards import Index

__all__ = ["is_config", "list_path", "load_path"]

# In order of preference: the first that a folder holds is read.
_INDEXES = (".safetensors.index.json", ".bin.index.json")
_SINGLE = ("model.safetensors", "pytorch_model.bin", "flax_model.msgpack", "model.gguf")
_ENDINGS = (".safetensors", ".gguf", ".bin", ".pt", ".pth", ".msgpack", ".npz", ".npy")
_NO_WEIGHTS = ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth")


class _Part(NamedTuple):
    """A file or folder, and the reader module that reads it."""

    module: str
    path: str


class _Choice(NamedTuple):
    """What is read of a path, remarks on the choice, and the index that lists the shards."""

    parts: list[_Part]
    remarks: list[str]
    shard_index: "Index | None" = None


def list_path(path: str, store: Store = LOCAL) -> Listing:
    """Return what the headers of a file, or of a folder's files, list.

    Raises:
        TargetError: the path holds nothing that explorer reads.
        FormatError: a file breaks the rules of its format, or a shard is missing.
    """
    choice = _choose(path, store)
    with paused_gc():
        listings = [reader_of(part.module).read(part.path, store) for part in choice.parts]
    listing = listings[0]
    if choice.shard_index or len(listings) > 1:
        from explorer.formats.shards import merge

        listing = merge(path, listings, choice.shard_index)
    listing.remarks = [*listing.remarks, *choice.remarks]
    return listing


def is_config(path: str, store: Store = LOCAL) -> bool:
    """Return whether a path is a config without weights: a config file, or a folder of one."""
    if not store.is_folder(path):
        return path.endswith(".json") and not path.endswith(_INDEXES)
    names = store.names(path)
    if "config.json" not in names or any(n.endswith((*_ENDINGS, *_INDEXES)) for n in names):
        return False
    from explorer.formats import orbax

    return not orbax.detect(path, store)


def load_path(
    path: str, wanted: Callable[[Key], bool], store: Store = LOCAL
) -> "dict[Key, np.ndarray]":
    """Return the arrays of a file or folder whose keys are wanted, memory-mapped where
    the format and the store allow."""
    arrays: dict[Key, np.ndarray] = {}
    for part in _choose(path, store).parts:
        arrays.update(reader_of(part.module).values(part.path, wanted, store))
    return arrays


def _choose(path: str, store: Store) -> _Choice:
    if not store.is_folder(path):
        if path.endswith(_INDEXES):
            return _indexed(path, store)
        return _Choice([_Part(detect(path, store).module, path)], [])
    names = store.names(path)
    for ending in _INDEXES:
        for name in names:
            if name.endswith(ending):
                return _indexed(os.path.join(path, name), store)
    if not set(_SINGLE) & set(names):
        from explorer.formats import orbax

        if orbax.detect(path, store):
            return _Choice([_Part("orbax", path)], [])
    return _unindexed(path, names, store)


def _unindexed(path: str, names: list[str], store: Store) -> _Choice:
    files = [n for n in names if n.endswith(_ENDINGS) and n not in _NO_WEIGHTS]
    chosen = next((name for name in _SINGLE if name in files), None)
    if chosen is None and files:
        ending = next(e for e in _ENDINGS if any(name.endswith(e) for name in files))
        same = [name for name in files if name.endswith(ending)]
        shards = [name for name in same if "-of-" in name]
        if shards and ending == ".gguf":  # its reader finds the other parts
            chosen = shards[0]
        elif len(shards) == len(same):
            _check_shard_numbers(path, shards)
            return _Choice([_part(path, name, store) for name in shards], [])
        elif len(same) > 1:
            raise TargetError(
                path,
                found=f"holds {len(same)} {ending} files and no index",
                expected="one of them as target: " + ", ".join(map(printable, same[:5])),
            )
        else:
            chosen = same[0]
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
    return _Choice([_part(path, chosen, store)], remarks)


def _indexed(path: str, store: Store) -> _Choice:
    from explorer.formats.shards import read_index

    index = read_index(path, store)
    folder = os.path.dirname(path)
    return _Choice([_part(folder, shard, store) for shard in index.shards], [], index)


def _part(folder: str, name: str, store: Store) -> _Part:
    path = os.path.join(folder, name)
    return _Part(detect(path, store).module, path)


def _check_shard_numbers(path: str, shards: list[str]) -> None:
    """Refuse a set "model-00001-of-00003" that is not complete."""
    total = shards[0].rpartition("-of-")[2].partition(".")[0]
    if total.isdecimal() and int(total) != len(shards):
        raise FormatError(
            path,
            found=f"{len(shards)} shards named -of-{total}",
            expected=f"{int(total)}",
            cure="fetch the missing ones",
        )
