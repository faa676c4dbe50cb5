"""Checkpoints in shards: the index that names them, and their listings as one."""

import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import chain, groupby, islice
from typing import Any, Literal, TypeVar

import msgspec

from explorer.document.words import counted
from explorer.errors import FormatError, printable
from explorer.inventory.listing import (
    Listing,
    Numbered,
    firsts_of,
    renumbered,
    tally,
)
from explorer.paths import Key, template_of
from explorer.storage.local import LOCAL
from explorer.storage.store import Store

__all__ = ["Index", "merge", "read_index"]

_MAX_INDEX = 30_000_000  # bytes of 300,000 tensors: each takes about 100
_T = TypeVar("_T")


class _IndexMetadata(msgspec.Struct):
    total_size: int | float | str | None = None


class Index(msgspec.Struct, dict=True):
    """What an index claims: the shard of every tensor, and the bytes of all of them."""

    weight_map: dict[str, str]
    metadata: _IndexMetadata | None = None
    path: str = ""

    @cached_property
    def names(self) -> dict[str, list[str]]:
        """The tensors of each file, in its order."""
        names: dict[str, list[str]] = {}
        tensors = iter(self.weight_map)
        for shard, run in groupby(self.weight_map.values()):
            names.setdefault(shard, []).extend(islice(tensors, len(list(run))))
        return names

    @property
    def shards(self) -> list[str]:
        """The file names in it."""
        return sorted(self.names)


def read_index(path: str, store: Store = LOCAL) -> Index:
    """Return a shard index whose shards are in its folder.

    Raises:
        TargetError: it cannot be read.
        FormatError: it is not an index, or names a shard that is missing or elsewhere.
    """
    folder = os.path.dirname(path)
    raw = store.read_whole(path, _MAX_INDEX)
    files = store.names(folder)
    try:
        index = _decode(raw, files)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if not raw.lstrip().startswith((b"{", b"[")):
            from explorer.formats.signatures import refuse_foreign

            refuse_foreign(path, store)
        raise FormatError(
            path,
            found=f"is not a shard index ({error})",
            expected="a JSON object with a weight_map of tensor names to file names",
        ) from None
    index.path = path
    if not index.weight_map:
        raise FormatError(path, found="its weight_map is empty", expected="tensor names")
    for shard in index.shards:
        if shard != os.path.basename(shard) or shard in ("", ".", ".."):
            raise FormatError(
                path,
                found=f"names shard {printable(shard)!r}, outside its folder",
                expected="plain file names",
            )
        if not store.is_file(os.path.join(folder, shard)):
            raise FormatError(
                path,
                found=f"names shard {printable(shard)!r}, which is missing",
                cure="fetch it",
            )
    return index


def _decode(raw: bytes, files: list[str]) -> Index:
    """Decode an index; the names of files that exist are not copied 10^5 times."""
    known = Literal[tuple(files)]  # pyright: ignore
    fields = [("weight_map", dict[str, known]), ("metadata", _IndexMetadata | None, None)]
    try:
        index: Any = msgspec.json.decode(raw, type=msgspec.defstruct("Known", fields))
        return Index(index.weight_map, index.metadata)
    except msgspec.ValidationError:  # names another file: the caller reports which
        return msgspec.json.decode(raw, type=Index)


def merge(path: str, listings: list[Listing], index: Index | None = None) -> Listing:
    """Return the listings of shards as one, with a remark for each claim of their index
    that the headers contradict.

    Raises:
        FormatError: a tensor is in two shards, or the index promises one that none holds.
    """
    keys = _joined(listing.keys for listing in listings)
    missing: set[str] = set()
    # the names of an index are distinct: none is there twice if these are the same
    if not index or keys != list(index.weight_map):
        missing = index.weight_map.keys() - keys if index else set()
        if not index or missing or len(keys) != len(index.weight_map):
            _check_names(path, keys, len(listings))
    listing = _joined_listing(listings, keys) if len(listings) > 1 else listings[0]
    if index:
        listing.remarks = [*listing.remarks, *_verify(listing, index, missing)]
    return listing


def _check_names(path: str, keys: list[Key], shards: int) -> None:
    if shards > 1 and len(set(keys)) < len(keys):
        seen: set[Key] = set()
        twice = next(key for key in keys if key in seen or seen.add(key))
        raise FormatError(path, found=f"tensor {printable(twice)!r} is in two shards")


def _joined_listing(listings: list[Listing], keys: list[Key]) -> Listing:
    first = listings[0]
    has_collections = any(listing.collections for listing in listings)
    shapes, dtypes, nbytes, rows = _joined_rows(listings)
    return Listing(
        format=first.format,
        keys=keys,
        shapes=shapes,
        dtypes=dtypes,
        nbytes=nbytes,
        rows=rows,
        collections=_joined(lst.collections or [""] * len(lst.keys) for lst in listings)
        if has_collections
        else None,
        ties=_joined(listing.ties for listing in listings),
        remarks=_joined(listing.remarks for listing in listings),
        file_bytes=sum(listing.file_bytes or 0 for listing in listings),
        files=sum(listing.files for listing in listings),
        metadata=first.metadata,
    )


def _joined_rows(listings: list[Listing]) -> tuple[Any, Any, Any, Sequence[int] | None]:
    """Return shapes, dtypes, sizes and rows; equal rows of two shards become one."""
    if any(part.rows is None for part in listings):
        columns = [(part.shapes, part.dtypes, part.nbytes) for part in listings]
        shapes, dtypes, nbytes = map(_joined, zip(*columns, strict=True))
        return shapes, dtypes, nbytes, None
    numbers: dict[tuple, int] = {}
    parts = []
    for part in listings:
        shapes, dtypes, nbytes = part.shapes, part.dtypes, part.nbytes
        known = [
            (template_of(part.keys[i]), shapes[i], dtypes[i], nbytes[i])
            for i in firsts_of(part.rows or [])
        ]
        row_of = [numbers.setdefault(row, len(numbers)) for row in known]
        parts.append(renumbered(part.rows or [], row_of))
    rows = b"".join(map(bytes, parts)) if len(numbers) <= 256 else _joined(parts)
    _, shapes, dtypes, nbytes = map(list, zip(*numbers, strict=True))
    return Numbered(shapes, rows), Numbered(dtypes, rows), Numbered(nbytes, rows), rows


def _joined(columns: Iterable[Sequence[_T]]) -> list[_T]:
    return list(chain.from_iterable(columns))


def _verify(listing: Listing, index: Index, missing: set[str]) -> list[str]:
    """Return a remark for each claim of an index that the headers contradict.

    Raises:
        FormatError: the index promises a tensor that no shard holds.
    """
    if missing:
        raise FormatError(
            index.path,
            found=f"promises tensor {printable(min(missing))!r} ({len(missing)} in all), "
            "which no shard holds",
            cure="fetch the shards again",
        )
    remarks = []
    more = len(listing.keys) - len(index.weight_map)
    if more:
        remarks.append(
            f"{counted(more, 'tensor')} {'is' if more == 1 else 'are'} not in the index"
        )
    size = index.metadata.total_size if index.metadata else None
    total = _total(listing.nbytes)
    if isinstance(size, int | float) and size != total:
        remarks.append(
            f"the index claims {size:,} bytes of tensors; the headers hold {total:,}"
        )
    return remarks


def _total(nbytes: Sequence[int]) -> int:
    if not isinstance(nbytes, Numbered):
        return sum(nbytes)
    return sum(nbytes.values[number] * n for number, n in tally(nbytes.numbers).items())
