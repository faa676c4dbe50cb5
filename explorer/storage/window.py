"""The bytes of a file as a parser indexes them: mapped, or read page by page on demand."""

from mmap import mmap
from typing import overload

from explorer.storage.store import Blob, check_not_empty

__all__ = ["Bytes", "Window", "indexed"]

_LEAST, _MOST = 1 << 12, 1 << 20  # bytes of a page: doubled while a parser runs on


class Window:
    """A part of a file that behaves as its bytes do and reads them as they are needed.

    One page is kept. Indices are those of the file; the part ends at `end`.
    """

    def __init__(self, blob: Blob, begin: int = 0, end: int | None = None):
        self._blob, self._begin = blob, begin
        self._end = blob.size() if end is None else end
        self._at, self._page, self._bytes = 0, b"", _LEAST // 2

    def __len__(self) -> int:
        return self._end - self._begin

    def __bytes__(self) -> bytes:
        return self._blob.read(self._begin, len(self))

    @overload
    def __getitem__(self, index: int) -> int: ...

    @overload
    def __getitem__(self, index: slice) -> bytes: ...

    def __getitem__(self, index: int | slice) -> int | bytes:
        if isinstance(index, slice):
            begin, end, _ = index.indices(len(self))
            return self._read(begin, end)
        at = index - self._at
        if 0 <= at < len(self._page):
            return self._page[at]
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._read(index, index + 1)[0]

    def find(self, wanted: bytes, begin: int, end: int) -> int:
        """Return where `wanted`, one byte, is between two places; -1 for nowhere."""
        while begin < (stop := min(end, len(self), begin + _LEAST)):
            found = self._read(begin, stop).find(wanted)
            if found >= 0:
                return begin + found
            begin = stop
        return -1

    def part(self, begin: int, end: int) -> "Window":
        """Return a part of this part; none of it is read."""
        return Window(self._blob, self._begin + begin, self._begin + end)

    def _read(self, begin: int, end: int) -> bytes:
        stop = self._at + len(self._page)
        if begin >= end:
            return b""
        if not (self._at <= begin and end <= stop):
            runs_on = self._at <= begin <= stop
            self._bytes = min(2 * self._bytes, _MOST) if runs_on else _LEAST
            count = min(max(end - begin, self._bytes), len(self) - begin)
            self._page = self._blob.read(self._begin + begin, count)
            self._at = begin
        return self._page[begin - self._at : end - self._at]


Bytes = mmap | Window


def indexed(blob: Blob, *, copy_on_write: bool = False) -> Bytes:
    """Return the bytes of a file to index, mapped where the store can (see `Blob.map`).

    Raises:
        FormatError: it is empty.
    """
    check_not_empty(blob)
    return blob.map(copy_on_write=copy_on_write) or Window(blob)
