"""PyTorch files (.pt, .pth, .bin, .ckpt, TorchScript) and plain pickles of arrays.

No pickle is run: `explorer.formats.pytorch.pickles` turns it into records, a list of names limits
what may be in it, and the bytes of tensors are not read until `values` maps them.
"""

from collections.abc import Callable
from functools import partial
from itertools import islice
from math import prod
from typing import TYPE_CHECKING

from explorer.errors import printable
from explorer.formats.pytorch.arrays import mapped, unpickled
from explorer.formats.pytorch.plain_names import PickledArray
from explorer.formats.pytorch.records import Tensor
from explorer.formats.pytorch.sparse import dense, sparse_remarks
from explorer.formats.pytorch.storages import (
    TorchCheckpoint,
    open_checkpoint,
    storage_reader,
)
from explorer.formats.pytorch.tree import EMA, TorchLeaf, leaves_of
from explorer.formats.pytorch.views import Views, measure, shared
from explorer.inventory.gc_pause import paused_gc
from explorer.inventory.listing import Listing
from explorer.paths import Key, name_of, path_of
from explorer.storage.local import LOCAL
from explorer.storage.store import Blob, Store
from explorer.tree.collections import collection_of

if TYPE_CHECKING:
    import numpy as np

__all__ = ["read", "values"]

MAX_METADATA = 100


def read(path: str, store: Store = LOCAL) -> Listing:
    """Return the tensors of a PyTorch file; none of their bytes is read.

    Raises:
        UnsafePickleError: its pickle names something that is not a part of a tensor.
        FormatError: the file breaks the rules of its format.
    """
    with store.blob(path) as blob:
        checkpoint, leaves, nbytes, views = _open(blob)
    ties, remarks = shared(checkpoint, leaves, nbytes, views)
    collections = [leaf.collection for leaf in leaves]
    if checkpoint.format == "pickle":  # of JAX or NumPy: Flax's names of collections
        collections = [
            leaf.collection or collection_of(path_of(leaf.key)) for leaf in leaves
        ]
    return Listing(
        format=checkpoint.format,
        keys=[leaf.key for leaf in leaves],
        shapes=[_shape_of(leaf) for leaf in leaves],
        dtypes=[_dtype_of(leaf.tensor) for leaf in leaves],
        nbytes=nbytes,
        collections=collections if any(collections) else None,
        typed=_are_declared(leaves, collections),
        ties=ties,
        remarks=[*_remarks(checkpoint, leaves), *remarks],
        file_bytes=blob.size(),
        files=1,
        metadata=_metadata(checkpoint.root),
    )


def _are_declared(leaves: list[TorchLeaf], collections: list[str]) -> bool:
    """Return whether modules and Variables say which tensors are parameters, and no names."""
    declared = [leaf.collection == "params" for leaf in leaves]
    said = [word == "params" for word in collections]
    return any(declared) and declared == said


def values(
    path: str, wanted: Callable[[Key], bool], store: Store = LOCAL
) -> "dict[Key, np.ndarray]":
    """Return the wanted tensors as arrays, memory-mapped (copy on write) where they can be.

    Quantised tensors are returned as the stored integers.

    Raises:
        UnsafePickleError, FormatError: as `read`; FormatError also for a tensor without
            values (of the meta device).
    """
    arrays: dict[Key, np.ndarray] = {}
    with store.blob(path) as blob:
        checkpoint, leaves, _, views = _open(blob)
        reached = {key: sum(v.end - v.begin for v in group) for key, group in views.items()}
        storage_bytes = storage_reader(checkpoint, reached)
        for key, tensor, _, sparse in leaves:
            if wanted(key):
                if isinstance(tensor, PickledArray):
                    arrays[key] = unpickled(path, tensor)
                elif sparse is not None:
                    stored = partial(mapped, checkpoint, key, storage_bytes=storage_bytes)
                    arrays[key] = dense(path, name_of(key), sparse, stored)
                else:
                    arrays[key] = mapped(checkpoint, key, tensor, storage_bytes)
    return arrays


def _open(blob: Blob) -> tuple[TorchCheckpoint, list[TorchLeaf], list[int], Views]:
    """Return a file's records, its tensors, their bytes and views, all checked."""
    with paused_gc():
        file = open_checkpoint(blob)
        leaves = leaves_of(blob.name, file.root, file.pickle_bytes, file.classes)
        nbytes, views = measure(file, leaves)
    return file, leaves, nbytes, views


def _dtype_of(tensor: Tensor | PickledArray) -> str:
    if type(tensor) is Tensor:
        return tensor.dtype
    return tensor.key_format or tensor.dtype.name  # pyright: ignore


def _shape_of(leaf: TorchLeaf) -> tuple[int, ...]:
    _, tensor, _, sparse = leaf
    return tensor.shape if type(tensor) is Tensor and sparse is None else leaf.shape


def _metadata(root: object) -> dict[str, str]:
    """Return the plain numbers and texts next to the tensors ("epoch", "version")."""
    if type(root) is not dict:
        return {}
    plain = (
        (printable(name), printable(value))
        for name, value in root.items()
        if type(name) is str and type(value) in (str, int, float, bool)
    )
    return dict(islice(plain, MAX_METADATA))


def _is_learned(leaf: TorchLeaf) -> bool:
    return type(leaf.tensor) is not Tensor or leaf.tensor.learned


def _remarks(checkpoint: TorchCheckpoint, leaves: list[TorchLeaf]) -> list[str]:
    remarks = []
    averages = [leaf.key for leaf in leaves if leaf.collection == EMA]
    if averages:
        first = printable(name_of(averages[0]), 80)
        remarks.append(
            f"a moving average of the parameters (from {first} on, {len(averages):,} in all) "
            "is a second copy, listed separately"
        )
    declared = [leaf for leaf in leaves if leaf.collection == "params"]
    frozen = [leaf for leaf in declared if not _is_learned(leaf)]
    if 0 < len(frozen) < len(declared):
        first, size = (
            printable(name_of(frozen[0].key), 80),
            sum(prod(n.shape) for n in frozen),
        )
        remarks.append(
            f"{size:,} elements are of parameters with requires_grad=False (from {first} on, "
            f"{len(frozen):,} in all): they are counted, and not trained as they are stored"
        )
    absent = sum(type(t) is Tensor and t.storage is None for _, t, _, _ in leaves)
    if absent:
        remarks.append(f"shapes without values, on the meta device: {absent:,}")
    remarks += sparse_remarks(leaves)
    if checkpoint.constants:
        remarks.append(
            f"{checkpoint.constants:,} bytes of constants of the program are not listed"
        )
    return remarks
