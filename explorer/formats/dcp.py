"""DCP, torch.distributed.checkpoint: the `.metadata` of a folder lists every tensor.

It is a pickle of dataclasses: for each name, the size and format of the complete tensor and the
chunks that the ranks wrote. It is read into records, never executed; the `.distcp` files that
hold the chunks are not opened.
"""

import os
from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING

from explorer import dtypes
from explorer.errors import FormatError, printable
from explorer.formats.bounds import MAX_RANK, shape_fault
from explorer.formats.pytorch.machine import Global, Instance
from explorer.formats.pytorch.pickles import load
from explorer.formats.pytorch.torch_names import finder
from explorer.formats.pytorch.tree import collection_of_path
from explorer.inventory.gc_pause import paused_gc
from explorer.inventory.listing import Listing
from explorer.paths import Key
from explorer.storage.local import LOCAL
from explorer.storage.store import Store
from explorer.storage.window import Bytes, indexed

if TYPE_CHECKING:
    import numpy as np

__all__ = ["read", "values"]

_NAME = ".metadata"
_CURE = (
    "convert it with python -m torch.distributed.checkpoint.format_utils dcp_to_torch "
    "FOLDER FILE"
)
_OPAQUE = ("torch.distributed.", "megatron.", "pathlib.", "torch.futures.")


def read(path: str, store: Store = LOCAL) -> Listing:
    """Return what the `.metadata` of a DCP folder lists.

    Raises:
        FormatError: it is not such a pickle, or a tensor in it has no size or format.
        UnsafePickleError: it names something that is not a part of such metadata.
    """
    place = os.path.join(path, _NAME)
    with paused_gc(), store.blob(place) as blob:
        if blob.size() == 0:
            raise _refuse(place, "is empty")
        root, _ = _load(place, indexed(blob))
    entries = _field(root, "state_dict_metadata")
    if not isinstance(entries, dict):
        raise _refuse(place, "lists no state_dict_metadata")
    rows: list[tuple[str, tuple[int, ...], str]] = []
    objects = 0
    for name, entry in entries.items():
        size = _field(entry, "size")
        if not isinstance(name, str):
            raise _refuse(place, "has a name that is not text")
        if size is None:  # a pickled object: a number, a learning rate
            objects += 1
            continue
        shape, dtype = _shape(place, name, size), _dtype(place, name, entry)
        if fault := shape_fault(shape, dtypes.find(dtype).nbytes(1)):
            raise _refuse(place, f"{printable(name, 80)!r} has {fault}")
        rows.append((name, shape, dtype))
    words = [collection_of_path(name.split(".")) for name, _, _ in rows]
    listing = Listing(
        "dcp",
        keys=[name for name, _, _ in rows],
        shapes=[shape for _, shape, _ in rows],
        dtypes=[dtype for _, _, dtype in rows],
        nbytes=[dtypes.find(dtype).nbytes(prod(shape)) for _, shape, dtype in rows],
        collections=words if any(words) else None,
    )
    if objects:
        listing.remarks.append(f"pickled objects that are not tensors: {objects:,}")
    _add_files(path, listing, store)
    return listing


def values(
    path: str, wanted: Callable[[Key], bool], store: Store = LOCAL
) -> "dict[Key, np.ndarray]":
    """Refuse: the chunks of a DCP folder are not put together here.

    Raises:
        FormatError: always.
    """
    raise FormatError(path, found="values of DCP folders are not read", cure=_CURE)


def _load(place: str, data: Bytes) -> tuple[object, int]:
    find = finder(place)

    def find_record(module: str, name: str) -> Global:
        full = f"{module}.{name}"
        if full.startswith(_OPAQUE):
            return Global(full, lambda *_: Instance(full))
        return find(module, name)

    try:
        return load(place, data, find_record)
    except FormatError as error:
        raise _refuse(place, error.found) from None


def _refuse(place: str, fault: str) -> FormatError:
    return FormatError(
        place,
        found=f"lists a DCP checkpoint (torch.distributed.checkpoint) and is broken: {fault}",
        cure=f"copy the folder again, or {_CURE}",
    )


def _field(record: object, name: str) -> object:
    state = record.state if isinstance(record, Instance) else None
    return state.get(name) if isinstance(state, dict) else None


def _shape(place: str, name: str, size: object) -> tuple[int, ...]:
    if not isinstance(size, tuple):
        raise _refuse(place, f"{printable(name, 80)!r} has no size")
    if len(size) <= MAX_RANK and not all(type(n) is int and n >= 0 for n in size):
        raise _refuse(place, f"{printable(name, 80)!r} has no valid size")
    return size


def _dtype(place: str, name: str, entry: object) -> str:
    """Return the format, the first of TensorProperties' state."""
    properties = _field(entry, "properties")
    state = properties.state if isinstance(properties, Instance) else None
    named = state[0] if isinstance(state, tuple) and state else _field(properties, "dtype")
    if isinstance(named, Global):
        known = dtypes.find_torch(named.name.removeprefix("torch."))
        if known is not None:
            return known.name
    raise _refuse(place, f"{printable(name, 80)!r} has no format")


def _add_files(path: str, listing: Listing, store: Store) -> None:
    """Add the bytes of the files, and a remark where the chunks are not there."""
    sizes = []
    for name in store.names(path):
        if name.endswith(".distcp") or name == _NAME:
            with store.blob(os.path.join(path, name)) as blob:
                sizes.append(blob.size())
    listing.file_bytes, listing.files = sum(sizes), len(sizes)
    if listing.file_bytes < sum(listing.nbytes):
        listing.remarks.append(
            f"the files hold {listing.file_bytes:,} bytes, fewer than the "
            f"{sum(listing.nbytes):,} of the tensors listed: fetch the missing .distcp files"
        )
