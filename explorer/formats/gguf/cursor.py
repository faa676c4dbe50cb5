"""A cursor over the bytes of a GGUF header.

Byte order is that of the version number. Lengths are 64-bit, 32-bit in version 1. Each of
them is a claim, checked against the size of the file before it is used.
"""

import struct

from explorer.errors import FormatError, printable
from explorer.storage.store import Blob

__all__ = ["MAX_HEADER", "MAX_RANK", "NUMBERS", "Cursor", "quoted"]

MAX_HEADER = 100_000_000  # several times what 10^5 tensors and 10^6 words take
MAX_RANK = 8  # ggml itself stops at 4
_FIRST_READ = 1 << 16
_MAX_NAME = 65_535  # the specification's limit for keys

# GGUF's numbers for the types of values, with struct's letters
NUMBERS = {
    0: ("uint8", "B"),
    1: ("int8", "b"),
    2: ("uint16", "H"),
    3: ("int16", "h"),
    4: ("uint32", "I"),
    5: ("int32", "i"),
    6: ("float32", "f"),
    7: ("bool", "B"),
    10: ("uint64", "Q"),
    11: ("int64", "q"),
    12: ("float64", "d"),
}


def quoted(name: str) -> str:
    """Return a name from a file as an error shows it."""
    return f"'{printable(name, 80)}'"


class Cursor:
    """A place in a header whose bytes are read from the file as they are needed.

    Attributes:
        version: 1, 2 or 3.
        order: struct's and NumPy's sign for the byte order, "<" or ">".
        size: bytes of the file.
        at: bytes consumed so far.
        inside: what is being read, in words, for errors.
        nested: arrays in arrays skipped so far.
        places: for each rank, the numbers that follow a tensor's rank.
    """

    def __init__(self, blob: Blob):
        self._blob, self.at = blob, 0
        self.size = blob.size()
        self._data = bytearray()
        self.nested = 0
        self.inside = "its first 8 bytes"
        self._need(8)
        self.version, self.order = self._version()
        self.at = 8
        self.inside = "its counts of tensors and keys"
        length = "I" if self.version == 1 else "Q"
        self._word = struct.Struct(f"{self.order}I")
        self._length = struct.Struct(self.order + length)
        self.length_bytes = self._length.size
        self.places = [
            struct.Struct(f"{self.order}{rank}{length}IQ") for rank in range(MAX_RANK + 1)
        ]

    def _version(self) -> tuple[int, str]:
        if self._data[:4] != b"GGUF":
            raise self.refuse(
                f"starts with {self._data[:4].hex(' ')}", "47 47 55 46 (GGUF)"
            )
        little = int.from_bytes(self._data[4:8], "little")
        big = int.from_bytes(self._data[4:8], "big")
        if 1 <= little <= 3:
            return little, "<"
        if 1 <= big <= 3:
            return big, ">"
        raise self.refuse(f"is GGUF version {little:,}", "version 1, 2 or 3")

    def refuse(self, found: str, expected: str) -> FormatError:
        """Return the error that says what is wrong with this file."""
        return FormatError(
            self._blob.name,
            found=found,
            expected=expected,
            cure="fetch or write the file again",
        )

    def _need(self, end: int) -> None:
        """Read the bytes before `end`, and as many again, so that a few reads suffice."""
        if end <= len(self._data):
            return
        if end > self.size:
            raise self.refuse(
                f"ends at byte {self.size:,}, inside {self.inside}",
                f"at least {end:,} bytes",
            )
        if end > MAX_HEADER:
            raise self.refuse(
                f"its header continues in {self.inside} to byte {end:,}",
                f"at most {MAX_HEADER:,}",
            )
        begin = len(self._data)
        wanted = min(max(end, 2 * begin, _FIRST_READ), MAX_HEADER, self.size)
        self._data += self._blob.read(begin, wanted - begin)

    def take(self, layout: struct.Struct) -> tuple[int, ...]:
        """Return the next numbers."""
        start = self.at
        self.at = end = start + layout.size
        if end > len(self._data):
            self._need(end)
        return layout.unpack_from(self._data, start)

    def word(self) -> int:
        """Return the next 32-bit number."""
        return self.take(self._word)[0]

    def length(self) -> int:
        """Return the next length, which is a claim."""
        return self.take(self._length)[0]

    def number(self, kind: int) -> struct.Struct:
        """Return the layout of a number of that type."""
        if kind not in NUMBERS:
            raise self.refuse(f"{self.inside} has type {kind:,}", "a type from 0 to 12")
        return struct.Struct(self.order + NUMBERS[kind][1])

    def numbers(self, kind: int, count: int) -> list[int | float]:
        """Return this many numbers of that type."""
        order, letter = self.order, NUMBERS[kind][1]
        return [*self.take(struct.Struct(f"{order}{count}{letter}"))]

    def skip(self, size: int) -> None:
        """Skip this many bytes."""
        self.at += size
        self._need(self.at)

    def text(self, length: int, what: str = "") -> str:
        """Return the next text, of this many bytes."""
        start = self.at
        self.at = end = start + length
        if end > len(self._data):
            self._need(end)
        try:
            return self._data[start:end].decode()
        except UnicodeDecodeError as error:
            raise self.refuse(
                f"{what}{self.inside} is not UTF-8 ({error.reason} at byte {error.start})",
                "UTF-8",
            ) from None

    def name(self) -> str:
        """Return the next key or tensor name, which begins with its length."""
        length = self.length()
        if length > _MAX_NAME:
            raise self.refuse(
                f"the name of {self.inside} claims {length:,} bytes",
                f"at most {_MAX_NAME:,}",
            )
        return self.text(length, "the name of ")

    def check_count(
        self, count: int, things: str, least: int, most: int = MAX_HEADER
    ) -> None:
        """Refuse more things, of at least `least` bytes each, than a header can hold.

        Where the reader loops over them, `most` bounds its time.
        """
        left = min(self.size, MAX_HEADER) - self.at
        if count > min(left // least, most):
            raise self.refuse(
                f"claims {count:,} {things} with {left:,} bytes left",
                f"at most {min(left // least, most):,}",
            )

    def skip_texts(self, count: int) -> None:
        """Skip this many texts: the hot loop of a large vocabulary."""
        unpack, step, at = self._length.unpack_from, self._length.size, self.at
        while count:
            self._need(at + step)
            try:
                while count:
                    at += step + unpack(self._data, at)[0]
                    count -= 1
            except (struct.error, OverflowError):
                pass  # the bytes at hand are used up
        self._need(at)
        self.at = at
