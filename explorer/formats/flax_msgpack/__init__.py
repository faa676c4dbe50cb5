"""Flax msgpack: what flax.serialization.to_bytes and msgpack_serialize write.

A state dict: nested maps with arrays as leaves (see explorer.formats.flax_msgpack.state_dict).
"""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from explorer.formats.flax_msgpack.state_dict import walk
from explorer.formats.ndarrays import numpy_dtype, view
from explorer.inventory.listing import Listing
from explorer.paths import Key
from explorer.storage.local import LOCAL
from explorer.storage.store import Store
from explorer.storage.window import indexed
from explorer.tree.collections import collection_of

if TYPE_CHECKING:
    import numpy as np

__all__ = ["read", "values"]


def read(path: str, store: Store = LOCAL) -> Listing:
    """Return what a Flax msgpack file lists; no array byte is read.

    A Python number is a 0-d tensor of JAX's default format: bool, int32 (64 bits where it
    needs them), float32 or complex64. None, text and raw bytes are not tensors. A file that
    is one bare array has its own name as key.

    Raises:
        FormatError: it is not MessagePack, or an array contradicts its own header.
    """
    with store.blob(path) as blob:
        leaves, file_bytes = walk(path, indexed(blob), _stem(path)), blob.size()
    words = [collection_of(leaf.path) for leaf in leaves]
    return Listing(
        format="flax msgpack",
        keys=[leaf.path for leaf in leaves],
        shapes=[leaf.shape for leaf in leaves],
        dtypes=[leaf.dtype for leaf in leaves],
        nbytes=[leaf.nbytes for leaf in leaves],
        collections=words if any(words) else None,
        file_bytes=file_bytes,
        files=1,
    )


def values(
    path: str, wanted: Callable[[Key], bool], store: Store = LOCAL
) -> "dict[Key, np.ndarray]":
    """Return the wanted arrays: read-only views of the mapped file; chunked ones copied.

    Raises:
        FormatError: as `read`; also for a format that no array type holds.
    """
    import numpy as np

    arrays: dict[Key, np.ndarray] = {}
    with store.blob(path) as blob:
        data = indexed(blob)
        for leaf in walk(path, data, _stem(path)):
            if not wanted(leaf.path):
                continue
            dtype = numpy_dtype(path, leaf.dtype)
            if not leaf.spans:
                arrays[leaf.path] = np.array(leaf.number, dtype)
                continue
            spans = leaf.spans
            flat = [view(data, at, (size // dtype.itemsize,), dtype) for at, size in spans]
            joined = flat[0] if len(flat) == 1 else np.concatenate(flat)
            arrays[leaf.path] = joined.reshape(leaf.shape)
    return arrays


def _stem(path: str) -> str:
    return os.path.basename(path).removesuffix(".msgpack")
