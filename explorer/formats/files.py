"""A path -> its listing or its arrays: one file, or what a folder holds.

Which file of a folder is read is decided by the names in it (`folders`, `containers`); how
a file is read, in the reader module of its format. A folder of several models is read part by
part (`composites`).
"""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from explorer.errors import InputError, TargetError, printable
from explorer.formats.bounds import check_names, within_memory
from explorer.formats.folders import (
    ENDINGS,
    SINGLE,
    find_file,
    find_index,
    foreign_names,
    is_index,
    is_training_state,
    not_read,
    weight_folders,
)
from explorer.formats.registry import detect, reader_of
from explorer.formats.slices import (
    SLICE,
    is_incomplete,
    read_slices,
    slices_beside,
    slices_values,
)
from explorer.inventory.gc_pause import paused_gc
from explorer.inventory.listing import Listing
from explorer.paths import Key, path_of
from explorer.storage.local import LOCAL
from explorer.storage.store import Store

if TYPE_CHECKING:
    import numpy as np

    from explorer.formats.gguf import StoredBlocks
    from explorer.formats.pieces import Pieces
    from explorer.formats.shards import Index

__all__ = [
    "blocks_of_path",
    "is_config",
    "list_path",
    "load_path",
    "pieces_path",
    "sources_of_path",
]


# files of training frameworks that are read with their folder, or by their own reader
_CONTAINED = (".metadata", ".distcp", "model_states.pt")


class _Part(NamedTuple):
    """A file or folder, and the reader module that reads it."""

    module: str
    path: str


class _Choice(NamedTuple):
    """What is read of a path, remarks on the choice, and the index that lists the shards."""

    parts: list[_Part]
    remarks: list[str]
    shard_index: "Index | None" = None

    @property
    def slices(self) -> list[str]:
        """The file names, where each holds a slice of every matrix."""
        names = [os.path.basename(part.path) for part in self.parts]
        return names if len(names) > 1 and all(map(SLICE.fullmatch, names)) else []


def list_path(path: str, store: Store = LOCAL) -> Listing:
    """Return what the headers of a file, or of a folder's files, list.

    Raises:
        TargetError: the path holds nothing that explorer reads, or several models.
        FormatError: a file breaks the rules of its format, or a shard is missing.
    """
    choice = _choose(path, store)
    if choice.slices:
        with within_memory(path):
            listing = read_slices(path, choice.slices, store)
        check_names(path, listing.keys)
        listing.remarks = [*listing.remarks, *choice.remarks]
        return listing
    with paused_gc(), within_memory(path):
        listings = [_read(part, choice.shard_index, store) for part in choice.parts]
    for part, listing in zip(choice.parts, listings, strict=True):
        check_names(part.path, listing.keys)
    listing = listings[0]
    if choice.shard_index or len(listings) > 1:
        from explorer.formats.shards import merge

        listing = merge(path, listings, choice.shard_index)
    alone = choice.parts[0].path if len(choice.parts) == 1 and not choice.remarks else ""
    listing.remarks += [*choice.remarks, *is_incomplete(alone, listing, store)]
    return listing


def _read(part: _Part, index: "Index | None", store: Store) -> Listing:
    reader = reader_of(part.module)
    if index and part.module == "safetensors":  # whose names are as many as promised
        return reader.read(part.path, store, index.names[os.path.basename(part.path)])
    return reader.read(part.path, store)


def is_config(path: str, store: Store = LOCAL) -> bool:
    """Return whether a path is a config without weights: a config file, or a folder of one."""
    if not store.is_folder(path):
        return path.endswith(".json") and not is_index(path)
    names = store.names(path)
    has_weights = any(name.endswith(ENDINGS) for name in names) or find_index(names)
    if "config.json" not in names or has_weights:
        return False
    from explorer.formats import orbax
    from explorer.formats.composites import find_parts
    from explorer.formats.containers import find_container

    if orbax.detect(path, store) or find_container(path, names, store):
        return False
    try:
        return find_parts(path, store) is None
    except InputError:  # parts without their weights: a config, unless some have them
        return not weight_folders(path, store)


def load_path(
    path: str, wanted: Callable[[Key], bool], store: Store = LOCAL
) -> "dict[Key, np.ndarray]":
    """Return the arrays of a file or folder whose keys are wanted, memory-mapped where
    the format and the store allow. Those of a part begin with its name."""
    return _of_parts(path, wanted, store, "values")


def pieces_path(
    path: str, wanted: Callable[[Key], bool], store: Store = LOCAL
) -> "dict[Key, np.ndarray | Pieces]":
    """Return what `load_path` does; tensors of block formats decoded a piece at a time."""
    return _of_parts(path, wanted, store, "pieces")


def _of_parts(
    path: str, wanted: Callable[[Key], bool], store: Store, how: str
) -> dict[Key, Any]:
    from explorer.formats.composites import find_parts

    if (composite := find_parts(path, store)) is None:
        return _load(path, wanted, store, how)
    arrays: dict[Key, Any] = {}
    for name, folder, _ in composite.parts:
        if not name:
            arrays.update(_load(folder, wanted, store, how))
            continue
        prefix = tuple(name.split("/"))
        inner = _load(folder, lambda key, p=prefix: wanted((*p, *path_of(key))), store, how)
        arrays.update({(*prefix, *path_of(key)): inner[key] for key in inner})
    return arrays


def sources_of_path(path: str, store: Store = LOCAL) -> list[str]:
    """Return the files, and the folders of many files, that hold the arrays of a path."""
    from explorer.formats.composites import find_parts

    if (composite := find_parts(path, store)) is not None:
        folders = (part.path for part in composite.parts)
        return [each for folder in folders for each in sources_of_path(folder, store)]
    found: list[str] = []
    for part in _choose(path, store).parts:
        if part.module == "orbax":
            from explorer.formats.orbax.folders import find_trees

            found += find_trees(part.path, store).trees.values()
        elif part.module == "gguf":
            found += reader_of(part.module).part_paths(part.path, store)
        else:
            found.append(part.path)
    return found


def blocks_of_path(
    path: str, wanted: Callable[[Key], bool], store: Store = LOCAL
) -> "dict[Key, StoredBlocks]":
    """Return the quantised blocks of a GGUF file, or of a folder's, as stored; {} of others."""
    found: dict[Key, StoredBlocks] = {}
    if store.is_folder(path):
        from explorer.formats.composites import find_parts

        if find_parts(path, store) is not None:
            return found
    for part in _choose(path, store).parts:
        if part.module == "gguf":
            found.update(reader_of(part.module).blocks(part.path, wanted, store))
    return found


def _load(
    path: str, wanted: Callable[[Key], bool], store: Store, how: str
) -> dict[Key, Any]:
    arrays: dict[Key, Any] = {}
    choice = _choose(path, store)
    if choice.slices:
        with within_memory(path):
            return slices_values(path, choice.slices, wanted, store)
    for part in choice.parts:
        with within_memory(part.path):
            reader = reader_of(part.module)
            read = getattr(reader, how, reader.values)  # few formats come in pieces
            arrays.update(read(part.path, wanted, store))
    return arrays


def _choose(path: str, store: Store) -> _Choice:
    if not store.is_folder(path):
        if is_index(path):
            return _indexed(path, store)
        if path.endswith(_CONTAINED):
            from explorer.formats.containers import container_of_file

            if found := container_of_file(path, store):
                return _Choice([_Part(found.module, found.path)], found.remarks)
        part = _Part(detect(path, store).module, path)
        return _Choice([part], slices_beside(path, store))
    names = store.names(path)
    if index := find_index(names):
        choice = _indexed(os.path.join(path, index), store)
        shards = [os.path.basename(part.path) for part in choice.parts]
        return choice._replace(remarks=not_read(path, names, shards, index, store))
    from explorer.formats.containers import find_container

    if container := find_container(path, names, store):
        return _Choice([_Part(container.module, container.path)], container.remarks)
    if not set(SINGLE) & set(names):
        from explorer.formats import orbax

        if orbax.detect(path, store):
            return _Choice([_Part("orbax", path)], [])
    if (found := find_file(path, names, store)) is not None:
        return _Choice([_part(path, name, store) for name in found.names], found.remarks)
    raise _no_weights(path, names, store)


def _indexed(path: str, store: Store) -> _Choice:
    from explorer.formats.shards import read_index

    index = read_index(path, store)
    folder = os.path.dirname(path)
    return _Choice([_part(folder, shard, store) for shard in index.shards], [], index)


def _part(folder: str, name: str, store: Store) -> _Part:
    path = os.path.join(folder, name)
    return _Part(detect(path, store).module, path)


def _no_weights(path: str, names: list[str], store: Store) -> TargetError:
    """Return the error for a folder without a model, which says what there is instead."""
    shown = ", ".join(printable(name, 40) for name in names[:5]) or "nothing"
    found = f"holds no weights that explorer knows ({shown})"
    cure = ""
    folders = weight_folders(path, store)
    state = [name for name in names if is_training_state(name)]
    if folders:
        inner = ", ".join(printable(name, 60) for name in folders[:5])
        found = f"holds no weights itself; folders in it do: {inner}"
        cure = "name one of them"
    elif foreign := foreign_names([os.path.basename(os.path.abspath(path)), *names]):
        found = f"holds no weights that explorer reads: {foreign}"
    elif state:
        found = f"holds training state only ({shown})"
        cure = "name the file itself to see what is in it"
    return TargetError(
        path,
        found=found,
        expected="safetensors, GGUF, PyTorch, npz, Flax msgpack or an Orbax checkpoint",
        cure=cure,
    )
