"""PyTorch files (.pt, .pth, .bin, .ckpt, TorchScript) and plain pickles of arrays.

No pickle is run: `explorer.formats.pytorch.pickles` turns it into records, a list of names limits
what may be in it, and the bytes of tensors are not read until `values` maps them.
"""

from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from explorer import dtypes
from explorer.errors import FormatError, printable
from explorer.formats.ndarrays import numpy_dtype
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
from explorer.storage.window import Window
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
        typed="params" not in collections
        or all(
            leaf.collection == word
            for leaf, word in zip(leaves, collections, strict=True)
            if word == "params"
        ),  # that word comes from modules and Variables, or from the name of a collection
        ties=ties,
        remarks=[*_remarks(checkpoint, leaves), *remarks],
        file_bytes=blob.size(),
        files=1,
        metadata=_metadata(checkpoint.root),
    )


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
        checkpoint, leaves, _, _ = _open(blob)
        storage_bytes = storage_reader(checkpoint)
        for key, tensor, _, sparse in leaves:
            if wanted(key):
                if isinstance(tensor, PickledArray):
                    arrays[key] = _unpickled(path, tensor)
                elif sparse is not None:
                    stored = partial(_mapped, checkpoint, key, storage_bytes=storage_bytes)
                    arrays[key] = dense(path, name_of(key), sparse, stored)
                else:
                    arrays[key] = _mapped(checkpoint, key, tensor, storage_bytes)
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


def _remarks(checkpoint: TorchCheckpoint, leaves: list[TorchLeaf]) -> list[str]:
    remarks = []
    averages = [leaf.key for leaf in leaves if leaf.collection == EMA]
    if averages:
        first = printable(name_of(averages[0]), 80)
        remarks.append(
            f"a moving average of the parameters (from {first} on, {len(averages):,} in all) "
            "is a second copy, listed separately"
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


# Values


_INTEGERS_OF = {"qint8": "int8", "quint8": "uint8", "qint32": "int32"}


def _unpickled(path: str, array: PickledArray) -> "np.ndarray":
    import numpy as np

    assert array.dtype is not None  # others are not leaves
    try:
        raw = array.data.encode("latin-1") if isinstance(array.data, str) else array.data
    except UnicodeEncodeError:
        found = "has a NumPy array whose bytes are spelled as other text than Latin-1"
        raise FormatError(path, found=found, cure="save the file again") from None
    raw = bytes(raw) if isinstance(raw, Window) else raw
    dtype = numpy_dtype(path, array.dtype.name or "")
    dtype = dtype.newbyteorder(">") if array.dtype.order == ">" else dtype
    flat = np.frombuffer(raw, dtype)
    return flat.reshape(array.shape, order="F" if array.fortran else "C")


def _mapped(
    checkpoint: TorchCheckpoint,
    key: Key,
    tensor: Tensor,
    storage_bytes: "Callable[[str], np.ndarray]",
) -> "np.ndarray":
    import numpy as np

    storage = tensor.storage
    if storage is None:
        raise FormatError(
            checkpoint.path,
            found=f"tensor {printable(name_of(key))!r} is on the meta device",
            expected="a tensor with values",
            cure="select other tensors",
        )
    raw = storage_bytes(storage.key)[storage.start * storage.unit :]
    dtype = dtypes.find(tensor.dtype)
    if dtype.block > 1:
        name = "uint8" if tensor.dtype.startswith("quint") else tensor.dtype
        raw, dtype = _unpacked(raw, dtype.block), numpy_dtype(checkpoint.path, name)
    else:
        name = _INTEGERS_OF.get(tensor.dtype, tensor.dtype)
        dtype = numpy_dtype(checkpoint.path, name)
        raw = _in_order(raw, dtype, checkpoint.big_endian)
    if 0 in tensor.shape:
        return np.empty(tensor.shape, dtype)
    # the stride of an axis of one is any number
    steps = zip(tensor.stride, tensor.shape, strict=True)
    strides = tuple(step * dtype.itemsize if size > 1 else 0 for step, size in steps)
    for flag in tensor.flags:  # on what is stored: a view may repeat it endlessly
        stored = raw[: len(raw) - len(raw) % dtype.itemsize].view(dtype)
        raw = (stored.conj() if flag == "conj" else -stored).view(np.uint8)
    return np.ndarray(tensor.shape, dtype, raw, tensor.offset * dtype.itemsize, strides)


def _unpacked(raw: "np.ndarray", block: int) -> "np.ndarray":
    """Return packed numbers, one in each byte; of a byte, the lowest bits come first."""
    import numpy as np

    bits = 8 // block
    parts = [raw >> (bits * part) & ((1 << bits) - 1) for part in range(block)]
    return np.stack(parts, axis=-1).reshape(-1)


def _in_order(raw: "np.ndarray", dtype: "np.dtype", big_endian: bool) -> "np.ndarray":
    """Return bytes in little-endian order, number by number; a complex one has two."""
    width = dtype.itemsize // (2 if dtype.kind == "c" else 1)
    if not big_endian or width == 1:
        return raw
    numbers = raw[: len(raw) - len(raw) % width]
    return numbers.reshape(-1, width)[:, ::-1].reshape(-1)
