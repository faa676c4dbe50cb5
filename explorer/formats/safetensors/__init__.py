"""safetensors: eight bytes of length, a JSON header, then the tensors back to back.

The rules of the format (github.com/huggingface/safetensors, "Format") are all checked:
offsets start at 0, leave no hole, do not overlap and end where the file ends.
"""

from collections.abc import Callable, Sequence
from math import prod
from operator import attrgetter
from typing import TYPE_CHECKING

from explorer import dtypes
from explorer.errors import FormatError, printable
from explorer.formats.pieces import Pieces
from explorer.formats.safetensors.columns import read_columns
from explorer.formats.safetensors.layout import check_offsets, fits, refuse_entry
from explorer.formats.safetensors.text import read_json
from explorer.inventory.listing import Listing
from explorer.paths import Key
from explorer.storage.local import LOCAL
from explorer.storage.pages import check_there, give_back
from explorer.storage.store import Blob, Store

if TYPE_CHECKING:
    import numpy as np

    from explorer.formats.safetensors.entries import Entry
    from explorer.storage.window import Bytes

__all__ = ["pieces", "read", "spans", "values"]


def read(path: str, store: Store = LOCAL, promised: Sequence[str] = ()) -> Listing:
    """Return what the header of a safetensors file lists; no tensor byte is read.

    Args:
        path: of the file.
        store: where it is.
        promised: the distinct names that an index gives for the file, if there is one.

    Raises:
        FormatError: the header or the offsets break a rule of the format.
    """
    with store.blob(path) as blob:
        raw = read_json(blob)
        listing = read_columns(raw, blob.size() - len(raw) - 8, promised)
        return listing or _read_records(path, blob, raw)


def _read_records(path: str, blob: Blob, raw: bytes) -> Listing:
    """Read a header of another spelling, or say which rule it breaks."""
    from explorer.formats.safetensors.header import decode_header

    header = decode_header(blob, raw)
    entries = header.entries.values()
    shapes = list(map(attrgetter("shape"), entries))
    spelled = list(map(attrgetter("dtype"), entries))
    nbytes = check_offsets(path, header)
    names = {}
    for dtype, shape, size in set(zip(spelled, shapes, nbytes, strict=True)):
        if not fits(dtype, shape, size):
            refuse_entry(path, header)
        names[dtype] = dtypes.find_safetensors(dtype).name  # pyright: ignore
    return Listing(
        format="safetensors",
        keys=list(header.entries),
        shapes=shapes,
        dtypes=list(map(names.__getitem__, spelled)),
        nbytes=nbytes,
        file_bytes=header.file_bytes,
        files=1,
        metadata=header.metadata,
    )


def values(
    path: str, wanted: Callable[[Key], bool], store: Store = LOCAL
) -> "dict[Key, np.ndarray]":
    """Return the wanted tensors as arrays that map the file (copy on write).

    Raises:
        FormatError: as `read`; also for six-bit formats, which no array type holds.
    """
    found = pieces(path, wanted, store)
    return {k: v.whole() if isinstance(v, Pieces) else v for k, v in found.items()}


def pieces(
    path: str, wanted: Callable[[Key], bool], store: Store = LOCAL
) -> "dict[Key, np.ndarray | Pieces]":
    """Return what `values` does, tensors of four-bit formats to be unpacked piece by piece."""
    from explorer.formats.safetensors.header import decode_header
    from explorer.storage.window import indexed

    read(path, store)  # every rule is checked before a byte is mapped
    arrays: dict[Key, np.ndarray | Pieces] = {}
    with store.blob(path) as blob:
        header = decode_header(blob, read_json(blob))
        data = indexed(blob, copy_on_write=True)
        for name, entry in header.entries.items():
            if wanted(name):
                begin = header.data_start + entry.data_offsets[0]
                arrays[name] = _as_array(path, name, entry, data, begin)
    return arrays


def spans(path: str, store: Store = LOCAL) -> dict[Key, tuple[str, int, int]]:
    """Return the file of each tensor, and its first byte and that after its last."""
    from explorer.formats.safetensors.header import decode_header

    with store.blob(path) as blob:
        header = decode_header(blob, read_json(blob))
    start = header.data_start
    return {
        name: (path, start + entry.data_offsets[0], start + entry.data_offsets[1])
        for name, entry in header.entries.items()
    }


def _as_array(
    path: str, name: str, entry: "Entry", data: "Bytes", begin: int
) -> "np.ndarray | Pieces":
    import numpy as np

    from explorer.formats.ndarrays import numpy_dtype, view, writable_view

    dtype = dtypes.find_safetensors(entry.dtype)
    assert dtype is not None  # `read` has checked it
    if dtype.name.startswith("float6_"):
        raise FormatError(
            path,
            found=f"tensor {printable(name)!r} is {entry.dtype}",
            expected="a format that an array can hold",
            cure="select other tensors",
        )
    numpy_type = numpy_dtype(path, dtype.name)
    if dtype.block == 1:
        return writable_view(data, begin, entry.shape, numpy_type)
    raw = view(data, begin, (prod(entry.shape) // 2,), np.dtype(np.uint8))

    def unpack(first: int, last: int) -> np.ndarray:
        # two four-bit values a byte, the first in the low half
        stored = raw[first:last]
        check_there(stored)
        pairs = np.stack([stored & 15, stored >> 4], axis=-1)
        if stored.size < raw.size:
            give_back(stored)
        return pairs.reshape(-1).view(numpy_type)

    return Pieces(entry.shape, numpy_type, raw.size, 2, unpack)
