"""Reads a zip archive's central directory, and nothing else until it is asked for.

Everything in the directory is a claim and is checked against the file: sizes and offsets
lie inside it, entries do not overlap (as in a zip bomb whose entries share bytes), and
no entry inflates beyond what deflate can do.
"""

import os
import struct
import zlib
from typing import BinaryIO, NamedTuple

from explorer.errors import FormatError, printable
from explorer.storage.local import open_regular

__all__ = ["Entry", "data_start", "read_directory", "read_entry"]

STORED, DEFLATED = 0, 8
_MAX_RATIO = 1032  # of deflate
_MAX_DIRECTORY = 1 << 26  # 600,000 tensors: each takes about 100
_MAX_TAIL = 22 + 65_535  # end record and its longest comment
_END, _END64, _LOCATOR64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_ENTRY, _LOCAL = b"PK\x01\x02", b"PK\x03\x04"
_read_entry = struct.Struct("<4s4xHH8xIIHHH8xI").unpack_from
_ENTRY_BYTES, _LOCAL_BYTES = 46, 30
_FULL = 0xFFFFFFFF  # "see the zip64 field"


class Entry(NamedTuple):
    """One file of the archive: how and where it is stored, in bytes."""

    method: int
    packed: int
    size: int
    header: int


def read_directory(path: str) -> dict[str, Entry]:
    """Return the entries of a zip archive by name, in the directory's order.

    Raises:
        FormatError: the archive is truncated, or its directory lies.
    """
    with open_regular(path) as file:
        file_bytes = file.seek(0, os.SEEK_END)
        begin, size, count = _find_directory(path, file, file_bytes)
        file.seek(begin)
        raw = file.read(size)
    entries = _parse(path, raw, count)
    _check(path, entries, begin)
    return entries


def _find_directory(path: str, file: BinaryIO, file_bytes: int) -> tuple[int, int, int]:
    """Return where the directory begins, its bytes, and its number of entries."""
    tail_begin = max(0, file_bytes - _MAX_TAIL)
    file.seek(tail_begin)
    tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < 22:
        raise _broken(path, "has no central directory at its end")
    count, size, begin = struct.unpack_from("<HII", tail, at + 10)
    end = tail_begin + at
    if at >= 20 and tail[at - 20 : at - 16] == _LOCATOR64:
        (end,) = struct.unpack_from("<Q", tail, at - 12)
        file.seek(min(end, file_bytes))
        record = file.read(56)
        if len(record) < 56 or record[:4] != _END64:
            raise _broken(path, "has a zip64 locator that points to nothing")
        count, size, begin = struct.unpack_from("<QQQ", record, 32)
    if begin + size > end or count * _ENTRY_BYTES > size or size > _MAX_DIRECTORY:
        raise _broken(
            path,
            f"has a central directory of {count:,} entries in {size:,} bytes "
            f"at {begin:,}, which does not fit the file",
        )
    return begin, size, count


def _parse(path: str, raw: bytes, count: int) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    at, end = 0, len(raw)
    for _ in range(count):
        if end - at < _ENTRY_BYTES:
            raise _broken(path, "has a central directory that ends early")
        magic, flags, method, packed, size, name, extra, comment, header = _read_entry(
            raw, at
        )
        at += _ENTRY_BYTES
        if magic != _ENTRY or flags & 1 or at + name + extra + comment > end:
            fault = "an encrypted entry" if flags & 1 else "a broken entry"
            raise _broken(path, f"has {fault} in its central directory")
        text = str(raw[at : at + name], "utf-8", "surrogateescape")
        if packed == _FULL or size == _FULL or header == _FULL:
            field = raw[at + name : at + name + extra]
            packed, size, header = _widen(path, field, packed, size, header)
        entries[text] = Entry(method, packed, size, header)
        at += name + extra + comment
    if len(entries) < count:
        raise _broken(path, "names an entry twice")
    return entries


def _widen(path: str, extra: bytes, packed: int, size: int, header: int) -> list[int]:
    """Return the three numbers with those that did not fit 32 bits read from zip64's field."""
    at = 0
    while len(extra) - at >= 4:
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            field = extra[at + 4 : at + 4 + length]
            wide = [number for (number,) in struct.iter_unpack("<Q", field[: length & ~7])]
            # in the field the size comes first, and only what is needed is there
            order = (size, packed, header)
            if order.count(_FULL) > len(wide):
                break
            size, packed, header = (wide.pop(0) if n == _FULL else n for n in order)
            return [packed, size, header]
        at += 4 + length
    raise _broken(path, "lacks the zip64 field of an entry")


def _check(path: str, entries: dict[str, Entry], limit: int) -> None:
    """Refuse entries that overlap, leave the file, or inflate beyond what is possible."""
    reached = 0
    for entry in sorted(entries.values(), key=lambda entry: entry.header):
        bound = entry.packed if entry.method == STORED else entry.packed * _MAX_RATIO
        fault = ""
        if entry.header < reached:
            fault = "overlaps another"
        elif entry.header + _LOCAL_BYTES + entry.packed > limit:
            fault = "reaches beyond the end of the data"
        elif entry.size > bound or (entry.method == STORED and entry.size != bound):
            fault = f"claims {entry.size:,} bytes in {entry.packed:,}"
        if fault:
            name = next(name for name in entries if entries[name] is entry)
            raise _broken(path, f"has entry {printable(name)!r}, which {fault}")
        reached = entry.header + _LOCAL_BYTES + entry.packed


def data_start(path: str, file: BinaryIO, name: str, entry: Entry) -> int:
    """Return where an entry's bytes begin, which its local header says.

    Raises:
        FormatError: no local header is there, or the bytes would leave the file.
    """
    file.seek(entry.header)
    local = file.read(_LOCAL_BYTES)
    if len(local) < _LOCAL_BYTES or local[:4] != _LOCAL:
        raise _broken(path, f"has no local header of entry {printable(name)!r}")
    begin = entry.header + _LOCAL_BYTES + sum(struct.unpack_from("<HH", local, 26))
    if begin + entry.packed > os.fstat(file.fileno()).st_size:
        raise _broken(path, f"ends inside entry {printable(name)!r}")
    return begin


def read_entry(path: str, file: BinaryIO, name: str, entry: Entry, limit: int) -> bytes:
    """Return the bytes of an entry, inflated, if they are at most `limit`.

    Raises:
        FormatError: the entry is larger, broken, or packed by another method.
    """
    label = printable(name)
    # what does not shrink grows by less than a thousandth
    if entry.size > limit or entry.packed > limit + (limit >> 10) + 1024:
        raise _broken(path, f"has {entry.size:,} bytes in {label!r}, of {limit:,} at most")
    file.seek(data_start(path, file, name, entry))
    raw = file.read(entry.packed)
    if entry.method == STORED:
        return raw
    if entry.method != DEFLATED:
        raise _broken(path, f"packs {label!r} by method {entry.method}, not by deflate")
    try:
        inflated = zlib.decompressobj(-15).decompress(raw, entry.size + 1)
    except zlib.error as error:
        raise _broken(path, f"has {label!r} that does not inflate ({error})") from None
    if len(inflated) != entry.size:
        raise _broken(path, f"has {label!r} that does not inflate to {entry.size:,} bytes")
    return inflated


def _broken(path: str, fault: str) -> FormatError:
    return FormatError(
        path, found=f"{fault}", expected="a whole zip archive", cure="fetch it again"
    )
