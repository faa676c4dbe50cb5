"""Reads a zip archive's central directory, and entries when they are asked for.

Everything in the directory is a claim and is checked against the file: sizes and offsets
are inside it, entries do not overlap (as in a zip bomb whose entries share bytes), and
no entry inflates beyond what deflate can do.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from explorer.errors import FormatError, printable
from explorer.storage.store import Blob
from explorer.storage.window import Bytes

__all__ = [
    "ZipEntry",
    "check_sum",
    "data_start",
    "inflated",
    "read_directory",
    "read_entry",
]

STORED, DEFLATED = 0, 8
_MAX_RATIO = 1032  # of deflate
_MAX_DIRECTORY = 1 << 26  # bytes of 600,000 tensors: each takes about 100
_MAX_TAIL = 22 + 65_535  # end record and its longest comment
_END, _END64, _LOCATOR64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_ENTRY, _LOCAL = b"PK\x01\x02", b"PK\x03\x04"
_read_entry = struct.Struct("<4s4xHH4xIIIHHH8xI").unpack_from
_ENTRY_BYTES, _LOCAL_BYTES = 46, 30
_PIECE = 1 << 18  # bytes that are inflated at a time
_FULL16 = 0xFFFF
_FULL = 0xFFFFFFFF  # "see the zip64 field"


class ZipEntry(NamedTuple):
    """One file of the archive: its compression, bytes, checksum, and the offset of its header."""

    method: int
    packed: int
    size: int
    header: int
    crc: int = 0


def read_directory(blob: Blob) -> dict[str, ZipEntry]:
    """Return the entries of a zip archive by name, in the directory's order.

    Raises:
        FormatError: the archive is truncated, or its directory is inconsistent.
    """
    tail_begin = max(0, blob.size() - _MAX_TAIL)
    tail = blob.read(tail_begin, blob.size() - tail_begin)
    begin, size, count = _find_directory(blob, tail, tail_begin)
    skip = begin - tail_begin
    raw = tail[skip : skip + size] if skip >= 0 else blob.read(begin, size)
    entries = _parse(blob.name, raw, count)
    _check(blob.name, entries, begin)
    return entries


def _find_directory(blob: Blob, tail: bytes, tail_begin: int) -> tuple[int, int, int]:
    """Return the offset of the directory, its bytes, and its number of entries."""
    path, file_bytes = blob.name, blob.size()
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < 22:
        raise _broken(path, "has no central directory at its end")
    count, size, begin = struct.unpack_from("<HII", tail, at + 10)
    end = tail_begin + at
    if at >= 20 and tail[at - 20 : at - 16] == _LOCATOR64:
        (place,) = struct.unpack_from("<Q", tail, at - 12)
        record = blob.read(place, 56) if place + 56 <= file_bytes else b""
        if record[:4] == _END64:
            end = place
            count, size, begin = struct.unpack_from("<QQQ", record, 32)
        elif _FULL in (size, begin) or count == _FULL16:
            raise _broken(path, "has a zip64 locator that points to nothing")
        # else a stale one, which other readers pass over too
    if begin + size > end or count * _ENTRY_BYTES > size or size > _MAX_DIRECTORY:
        raise _broken(
            path,
            f"has a central directory of {count:,} entries in {size:,} bytes "
            f"at {begin:,}, which does not fit the file",
        )
    return begin, size, count


def _parse(path: str, raw: bytes, count: int) -> dict[str, ZipEntry]:
    entries: dict[str, ZipEntry] = {}
    at, end = 0, len(raw)
    for _ in range(count):
        if end - at < _ENTRY_BYTES:
            raise _broken(path, "has a central directory that ends early")
        magic, flags, method, crc, packed, size, name, extra, comment, header = _read_entry(
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
        entries[text] = ZipEntry(method, packed, size, header, crc)
        at += name + extra + comment
    if len(entries) < count:
        raise _broken(path, "names an entry twice")
    return entries


def _widen(path: str, extra: bytes, packed: int, size: int, header: int) -> list[int]:
    """Return the three numbers, those that did not fit 32 bits from the zip64 field."""
    at = 0
    while len(extra) - at >= 4:
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            field = extra[at + 4 : at + 4 + length]
            wide = [number for (number,) in struct.iter_unpack("<Q", field[: length & ~7])]
            # the field has the size first, and only the numbers that it replaces
            order = (size, packed, header)
            if order.count(_FULL) > len(wide):
                break
            size, packed, header = (wide.pop(0) if n == _FULL else n for n in order)
            return [packed, size, header]
        at += 4 + length
    raise _broken(path, "lacks the zip64 field of an entry")


def _check(path: str, entries: dict[str, ZipEntry], limit: int) -> None:
    """Refuse entries that overlap, leave the file, or claim an impossible ratio."""
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


def data_start(blob: Blob, name: str, entry: ZipEntry) -> int:
    """Return the offset of an entry's bytes, which its local header says.

    Raises:
        FormatError: it has no local header, or the bytes would leave the file.
    """
    local = blob.read(entry.header, _LOCAL_BYTES)
    if local[:4] != _LOCAL:
        raise _broken(blob.name, f"has no local header of entry {printable(name)!r}")
    begin = entry.header + _LOCAL_BYTES + sum(struct.unpack_from("<HH", local, 26))
    if begin + entry.packed > blob.size():
        raise _broken(blob.name, f"ends inside entry {printable(name)!r}")
    return begin


def read_entry(blob: Blob, name: str, entry: ZipEntry, limit: int) -> bytes:
    """Return the bytes of an entry, inflated, if they are at most `limit`.

    Raises:
        FormatError: the entry is larger, broken, or packed by another method.
    """
    path, label = blob.name, printable(name)
    # deflate grows what it cannot shrink by less than a thousandth
    if entry.size > limit or entry.packed > limit + (limit >> 10) + 1024:
        raise _broken(path, f"has {entry.size:,} bytes in {label!r}, of {limit:,} at most")
    if entry.method == STORED:
        return blob.read(data_start(blob, name, entry), entry.packed)
    return bytes(inflated(blob, name, entry))


def inflated(blob: Blob, name: str, entry: ZipEntry) -> bytearray:
    """Return the bytes of a deflated entry, which are in memory once.

    Raises:
        FormatError: they are not as many as the directory claims.
    """
    path, label = blob.name, printable(name)
    if entry.method != DEFLATED:
        raise _broken(path, f"packs {label!r} by method {entry.method}, not by deflate")
    plain, reached = bytearray(entry.size), 0
    try:
        for part in _parts(blob, data_start(blob, name, entry), entry):
            if reached + len(part) > entry.size:
                reached = -1  # more than it claims
                break
            plain[reached : reached + len(part)] = part
            reached += len(part)
    except zlib.error as error:
        raise _broken(path, f"has {label!r} that does not inflate ({error})") from None
    if reached != entry.size:
        raise _broken(path, f"has {label!r} that does not inflate to {entry.size:,} bytes")
    return plain


def _parts(blob: Blob, begin: int, entry: ZipEntry) -> Iterator[bytes]:
    """Yield what a deflated entry inflates to, a bounded part at a time."""
    inflater = zlib.decompressobj(-15)
    for at in range(0, entry.packed, _PIECE):
        piece = blob.read(begin + at, min(_PIECE, entry.packed - at))
        while piece and not inflater.eof:
            yield inflater.decompress(piece, _PIECE)
            piece = inflater.unconsumed_tail
    while part := inflater.decompress(b"", _PIECE):  # what it still holds
        yield part


def check_sum(
    path: str, name: str, entry: ZipEntry, data: Bytes | bytes | bytearray, begin: int
) -> None:
    """Refuse an entry whose bytes, in `data` from `begin` on, differ from its checksum.

    Raises:
        FormatError: they do; the message has both.
    """
    found, end = 0, begin + entry.size
    for at in range(begin, end, _PIECE):
        found = zlib.crc32(data[at : min(at + _PIECE, end)], found)
    if found != entry.crc:
        raise _broken(
            path,
            f"has {printable(name)!r} whose checksum is {found:08x}, not {entry.crc:08x}",
        )


def _broken(path: str, fault: str) -> FormatError:
    return FormatError(
        path, found=f"{fault}", expected="a complete zip archive", cure="fetch it again"
    )
