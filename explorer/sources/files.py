"""A path -> its listing: one file, or a folder of shards; and a path -> its arrays.

A folder's table is like a file format's: what must lie in it, and how it is read.
"""

import os
from collections.abc import Callable, Iterable
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import msgspec

from explorer.bulk import paused_gc
from explorer.errors import FormatError, TargetError, printable
from explorer.paths import Key
from explorer.sources.listing import Listing
from explorer.sources.registry import reader_of, recognise

if TYPE_CHECKING:
    import numpy as np

__all__ = ["list_path", "load_path"]

_T = TypeVar("_T")

_MAX_INDEX = 200_000_000
_MAX_ENTRIES = 100_000  # files in a folder that are looked at

# In order of preference; of several single files the first named wins.
_INDEXES = (".safetensors.index.json", ".bin.index.json")
_SINGLE = ("model.safetensors", "pytorch_model.bin", "flax_model.msgpack", "model.gguf")
_ENDINGS = (".safetensors", ".gguf", ".bin", ".pt", ".pth", ".msgpack", ".npz", ".npy")
_NO_WEIGHTS = ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth")


class _Part(NamedTuple):
    """One reader module and the file or folder it is to read."""

    module: str
    path: str


class _Index(msgspec.Struct):
    weight_map: dict[str, str]
    metadata: dict[str, object] = {}


def list_path(path: str) -> Listing:
    """Return what the headers of a file, or of a folder's files, list.

    Raises:
        TargetError: nothing there that explorer knows.
        FormatError: a file breaks its format, or a shard is missing.
    """
    parts, remarks, claims = _parts(path)
    with paused_gc():
        listings = [reader_of(part.module).read(part.path) for part in parts]
    listing = _merge(path, parts, listings) if len(listings) > 1 else listings[0]
    listing.remarks = [*listing.remarks, *remarks, *_verify(listing, claims)]
    return listing


def load_path(path: str, wanted: Callable[[Key], bool]) -> "dict[Key, np.ndarray]":
    """Return the arrays of a file or folder whose keys are wanted, memory-mapped where
    the format allows."""
    arrays: dict[Key, np.ndarray] = {}
    for part in _parts(path)[0]:
        arrays.update(reader_of(part.module).values(part.path, wanted))
    return arrays


def _parts(path: str) -> tuple[list[_Part], list[str], dict[str, object]]:
    """Return what is to be read, remarks on the choice, and an index's claims."""
    try:
        is_folder = os.path.isdir(path)
        names = sorted(os.listdir(path)[:_MAX_ENTRIES]) if is_folder else []
    except OSError as error:
        raise TargetError(path, found=f"cannot be read: {error.strerror}") from None
    if not is_folder:
        if path.endswith(_INDEXES):
            return _indexed(path)
        return [_Part(recognise(path).module, path)], [], {}
    from explorer.sources import orbax

    if orbax.recognises(path):
        return [_Part("orbax", path)], [], {}
    for ending in _INDEXES:
        for name in names:
            if name.endswith(ending):
                return _indexed(os.path.join(path, name))
    return _unindexed(path, names)


def _unindexed(
    path: str, names: list[str]
) -> tuple[list[_Part], list[str], dict[str, object]]:
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
            return [_part(path, name) for name in shards], [], {}
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
    return [_part(path, chosen)], remarks, {}


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


def _indexed(path: str) -> tuple[list[_Part], list[str], dict[str, object]]:
    folder = os.path.dirname(path)
    try:
        if os.path.getsize(path) > _MAX_INDEX:
            raise FormatError(path, found=f"is larger than {_MAX_INDEX:,} bytes")
        with open(path, "rb") as file:
            index = msgspec.json.decode(file.read(), type=_Index)
    except OSError as error:
        raise TargetError(path, found=f"cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(
            path,
            found=f"is no index ({error})",
            expected="a JSON object with a weight_map of tensor names to file names",
        ) from None
    shards = sorted(set(index.weight_map.values()))
    if not shards:
        raise FormatError(path, found="its weight_map is empty", expected="tensor names")
    for shard in shards:
        if shard != os.path.basename(shard) or shard in ("", ".", ".."):
            raise FormatError(
                path,
                found=f"names shard {printable(shard)!r}, outside its folder",
                expected="plain file names",
            )
        if not os.path.isfile(os.path.join(folder, shard)):
            raise FormatError(
                path,
                found=f"names shard {printable(shard)!r}, which is missing",
                cure="fetch it",
            )
    claims = {**index.metadata, "weight_map": index.weight_map}
    return [_part(folder, shard) for shard in shards], [], claims


def _merge(path: str, parts: list[_Part], listings: list[Listing]) -> Listing:
    """Return the shards' listings as one."""
    first = listings[0]
    keys = _joined(listing.keys for listing in listings)
    if len(set(keys)) < len(keys):
        seen: set[Key] = set()
        twice = next(key for key in keys if key in seen or seen.add(key))
        raise FormatError(path, found=f"tensor {printable(twice)!r} is in two shards")
    has_collections = any(listing.collections for listing in listings)
    return Listing(
        format=first.format,
        keys=keys,
        shapes=_joined(listing.shapes for listing in listings),
        dtypes=_joined(listing.dtypes for listing in listings),
        nbytes=_joined(listing.nbytes for listing in listings),
        collections=_joined(lst.collections or [""] * len(lst.keys) for lst in listings)
        if has_collections
        else None,
        ties=_joined(listing.ties for listing in listings),
        remarks=_joined(listing.remarks for listing in listings),
        file_bytes=sum(listing.file_bytes or 0 for listing in listings),
        files=sum(listing.files for listing in listings),
        metadata=first.metadata,
    )


def _joined(columns: Iterable[list[_T]]) -> list[_T]:
    return list(chain.from_iterable(columns))


def _verify(listing: Listing, claims: dict[str, object]) -> list[str]:
    """Return a remark for each claim of the index that the headers do not bear out."""
    remarks = []
    weight_map = claims.get("weight_map")
    if isinstance(weight_map, dict):
        # names are unique by now, so equal numbers and every one known means equal sets
        known = map(weight_map.__contains__, listing.keys)
        if len(weight_map) != len(listing.keys) or not all(known):
            stored = set(listing.keys)
            missing = weight_map.keys() - stored
            if missing:
                raise FormatError(
                    "model index",
                    found=f"promises tensor {printable(min(missing))!r} ({len(missing)} in "
                    "all), which no shard holds",
                    cure="fetch the shards again",
                )
            remarks.append(
                f"{len(stored - weight_map.keys()):,} tensors are not in the index"
            )
    size, total = claims.get("total_size"), sum(listing.nbytes)
    if isinstance(size, int | float) and size != total:
        remarks.append(
            f"the index claims {size:,} bytes of tensors; the headers hold {total:,}"
        )
    return remarks
