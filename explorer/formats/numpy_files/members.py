"""The members of a .npz: the place of each in the file, and its bytes, inflated in bounds."""

import zlib
from collections.abc import Iterator
from typing import NamedTuple

from explorer.errors import FormatError, printable
from explorer.formats.zip_directory import (
    DEFLATED,
    STORED,
    ZipEntry,
    check_sum,
    inflated,
    read_directory,
)
from explorer.storage.store import Blob
from explorer.storage.window import Bytes, Window

__all__ = ["Member", "content", "head", "members"]

_LOCAL_BYTES = 30


class Member(NamedTuple):
    """One member: its row of the directory, and where its bytes begin in the file."""

    name: str
    begin: int
    entry: ZipEntry

    @property
    def size(self) -> int:
        """Its bytes, inflated."""
        return self.entry.size

    @property
    def is_deflated(self) -> bool:
        """Whether they are packed."""
        return self.entry.method == DEFLATED

    @property
    def what(self) -> str:
        """The member, for errors."""
        return f"member {printable(self.name)!r}"


def members(blob: Blob, data: Bytes) -> Iterator[Member]:
    """Yield the members of the zip whose bytes are `data`, folders left out.

    Raises:
        FormatError: a broken archive, a name given twice, an impossible size.
    """
    entries = read_directory(blob)
    for name, entry in entries.items():
        if not name.endswith("/"):
            yield _located(blob.name, data, name, entry)


def _located(path: str, data: Bytes, name: str, entry: ZipEntry) -> Member:
    what = f"member {printable(name)!r}"
    if entry.method not in (STORED, DEFLATED):
        raise FormatError(
            path,
            found=f"{what} is packed by method {entry.method}",
            expected="a member that numpy.savez or savez_compressed wrote",
        )
    local = data[entry.header : entry.header + _LOCAL_BYTES]
    name_bytes = int.from_bytes(local[26:28], "little")
    extra_bytes = int.from_bytes(local[28:30], "little")
    begin = entry.header + _LOCAL_BYTES + name_bytes + extra_bytes
    if local[:4] != b"PK\x03\x04" or begin + entry.packed > len(data):
        raise FormatError(
            path, found=f"{what} is not inside the file", cure="fetch it again"
        )
    return Member(name, begin, entry)


def head(path: str, data: Bytes, member: Member, count: int) -> bytes:
    """Return the first `count` bytes of a member, or fewer where it has fewer."""
    count = min(count, member.size)
    if not member.is_deflated:
        return data[member.begin : member.begin + count]
    # deflate grows what it cannot shrink by a few bytes in every block
    packed = data[member.begin : member.begin + min(member.entry.packed, 2 * count + 1024)]
    try:
        # a limit of 0 would mean none
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, max(count, 1))
    except zlib.error as error:
        raise FormatError(
            path, found=f"{member.what} does not inflate ({error})", cure="fetch it again"
        ) from None


def content(
    blob: Blob, data: Bytes, member: Member
) -> tuple[Bytes | bytes | bytearray, int]:
    """Return bytes that hold a member, and its offset in them, its checksum compared.

    Raises:
        FormatError: they are not what the archive claims.
    """
    plain, begin = data, member.begin
    if member.is_deflated:
        plain, begin = inflated(blob, member.name, member.entry), 0
    elif isinstance(data, Window):  # read once
        plain, begin = data[begin : begin + member.size], 0
    check_sum(blob.name, member.name, member.entry, plain, begin)
    return plain, begin
