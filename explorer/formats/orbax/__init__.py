"""Orbax checkpoint folders, read without Orbax, JAX or devices.

The leaves come from _METADATA; their true shapes and formats from the arrays' own
documents, all read at once; shardings are those that were saved.
"""

import os
from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from explorer import dtypes
from explorer.errors import FormatError, printable
from explorer.formats.orbax.documents import Head
from explorer.formats.orbax.folders import detect, find_trees
from explorer.formats.orbax.metadata import (
    OrbaxTree,
    read_key_formats,
    read_shardings,
    read_tree,
)
from explorer.formats.orbax.store import ZarrStore
from explorer.inventory.listing import Listing, Sharding
from explorer.paths import Key
from explorer.storage.local import LOCAL
from explorer.storage.store import Store
from explorer.tree.collections import collection_of

if TYPE_CHECKING:
    import numpy as np

__all__ = ["detect", "read", "values"]

# zstd, the densest of the stores' compressors, needs 4 bytes for a block of 128 KiB
_MAX_COMPRESSION = 2**15
# how Orbax stores a number of Python: JAX's default format of it
_NUMBERS = {"int64": "int32", "float64": "float32", "complex128": "complex64"}
_FREE = 64_000_000  # bytes of zeros that no file holds

_Path = tuple[str, ...]


class _Stored(NamedTuple):
    """A tree, the store of its arrays; of each leaf, its array's head and bytes."""

    tree: OrbaxTree
    arrays: ZarrStore
    heads: list[Head]
    nbytes: list[int]


def read(path: str, store: Store = LOCAL) -> Listing:
    """Return the listing of an Orbax checkpoint; no array is read.

    Of a CheckpointManager's root the newest step is read. Where a step has several items,
    or one with a name of its own, the item is the first name of each path. PRNG keys have
    their logical shape; bytes are those of the arrays before compression. A Python number is
    a 0-d tensor of JAX's default format, as it is in memory.

    Raises:
        FormatError: an unfinished save, broken metadata, or a leaf without its array.
        TargetError: the folder holds no Orbax tree.
        MissingPackageError: tensorstore is not installed.
    """
    found = find_trees(path, store)
    listing = Listing("orbax", [], [], [], [], remarks=found.remarks)
    sizes = store.sizes(found.folder)
    file_bytes = sum(sizes)
    listing.file_bytes, listing.files = file_bytes, len(sizes)
    words = []
    for item, folder in found.trees.items():
        stored = _stored(folder, store)
        _check_sizes(folder, stored, file_bytes)
        _add(listing, item, folder, stored, store)
        words += [_collection(item, leaf) for leaf in stored.tree.leaves]
        if not stored.tree.has_metadata:
            listing.remarks.append(
                "there is no _METADATA: names are array names cut at dots"
            )
    listing.collections = [
        "rng_state" if dtype.startswith("key<") else word
        for word, dtype in zip(words, listing.dtypes, strict=True)
    ]
    return listing


def values(
    path: str, wanted: Callable[[Key], bool], store: Store = LOCAL
) -> "dict[Key, np.ndarray]":
    """Return the wanted arrays; of PRNG keys, their words (uint32).

    Raises:
        FormatError: as `read`; also where the data of an array is broken or missing.
    """
    arrays: dict[Key, np.ndarray] = {}
    for item, folder in find_trees(path, store).trees.items():
        file_bytes = sum(store.sizes(folder))  # first: tensorstore would wait for a fifo
        stored = _stored(folder, store)
        _check_sizes(folder, stored, file_bytes)
        rows = zip(stored.tree.leaves, stored.heads, stored.nbytes, strict=True)
        chosen = [row for row in rows if wanted(_key(item, row[0]))]
        leaves = [leaf for leaf, _, _ in chosen]
        _check_total(folder, sum(size for _, _, size in chosen), file_bytes)
        named = [(".".join(leaf), head) for leaf, head, _ in chosen]
        found = stored.arrays.arrays(named, stored.tree.is_complete, file_bytes)
        arrays.update(zip([_key(item, leaf) for leaf in leaves], found, strict=True))
    return arrays


def _stored(folder: str, store: Store) -> _Stored:
    """Return a tree and the head of every array that it lists.

    Raises:
        FormatError: the database, or the array of a leaf, is missing.
    """
    tree = read_tree(folder, store)
    if tree is None:
        arrays = ZarrStore(folder, store)
        leaves = [tuple(name.split(".")) for name in arrays.names()]
        if not leaves:
            raise FormatError(
                folder,
                found="has no _METADATA and no array",
                expected="what Orbax saves",
                cure="copy the checkpoint again",
            )
        tree = OrbaxTree(leaves, use_zarr3=arrays.is_zarr3, has_metadata=False)
    elif tree.use_ocdbt and not store.exists(os.path.join(folder, "manifest.ocdbt")):
        raise FormatError(
            folder,
            found="has no manifest.ocdbt",
            expected="the database that holds its arrays",
            cure="the save did not finish or was not fully copied: take another step",
        )
    else:
        arrays = ZarrStore(folder, store, tree.use_zarr3)
    heads = arrays.heads(map(".".join, tree.leaves))
    there = [head for head in heads if head is not None]
    if len(there) < len(heads):
        lost = _shown(tree.leaves[heads.index(None)])
        count = f"{len(heads) - len(there):,} of {len(heads):,}"
        raise FormatError(
            folder,
            found=f"the array of leaf {lost} is not there ({count} are missing)",
            expected="an array for every leaf in _METADATA",
            cure="the save did not finish or was not fully copied: take another step",
        )
    sizes = {head: dtypes.find(head.dtype).nbytes(prod(head.shape)) for head in set(there)}
    return _Stored(tree, arrays, there, [sizes[head] for head in there])


def _check_sizes(folder: str, stored: _Stored, file_bytes: int) -> None:
    """Refuse an array that claims more than its files could hold, even of zeros."""
    largest = max(stored.nbytes, default=0)
    if stored.tree.is_complete and largest > _MAX_COMPRESSION * file_bytes:
        leaf = stored.tree.leaves[stored.nbytes.index(largest)]
        raise FormatError(
            folder,
            found=f"leaf {_shown(leaf)} claims {largest:,} bytes; all files together have "
            f"{file_bytes:,}",
            cure="copy the checkpoint again",
        )


def _check_total(folder: str, nbytes: int, file_bytes: int) -> None:
    """Refuse to make more of the files than compression can have put there.

    Chunks of zeros need not be stored, so that a listing may claim more.
    """
    limit = _FREE + _MAX_COMPRESSION * file_bytes
    if nbytes > limit:
        raise FormatError(
            folder,
            found=f"claims arrays of {nbytes:,} bytes in files of {file_bytes:,}",
            expected=f"at most {limit:,} bytes",
            cure="select other tensors",
        )


def _add(listing: Listing, item: str, folder: str, stored: _Stored, store: Store) -> None:
    """Add the tensors of one tree to a listing."""
    key_formats, saved = read_key_formats(folder, store), read_shardings(folder, store)
    shapes, names, sizes = [], [], []
    rows = zip(stored.tree.leaves, stored.heads, stored.nbytes, strict=True)
    for leaf, head, nbytes in rows:
        shape, dtype = head.shape, head.dtype
        if leaf in stored.tree.numbers and not shape and dtype in _NUMBERS:
            dtype, nbytes = _NUMBERS[dtype], nbytes // 2
        key, name = _key(item, leaf), ".".join(leaf)
        if sharding := saved.get(name):
            shard = dtypes.find(dtype).nbytes(sharding.shard_size(shape))
            listing.shardings[key] = Sharding(sharding.axes, shard)
        if name in key_formats:  # the words of a key are the last axis
            shape, dtype = shape[:-1], key_formats[name]
        listing.keys.append(key)
        shapes.append(shape)
        names.append(dtype)
        sizes.append(nbytes)
    listing.shapes = [*listing.shapes, *shapes]
    listing.dtypes = [*listing.dtypes, *names]
    listing.nbytes = [*listing.nbytes, *sizes]


def _key(item: str, leaf: _Path) -> _Path:
    return (item, *leaf) if item else leaf


def _collection(item: str, leaf: _Path) -> str:
    """Return the collection by an item's name, or else by the path inside it."""
    return collection_of(_key(item, leaf)) or collection_of(leaf)


def _shown(leaf: _Path) -> str:
    return repr(printable("/".join(leaf)))
