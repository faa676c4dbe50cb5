"""A file that its writer appends to, and where what a killed process wrote is cut off."""

import os
from collections.abc import Iterable
from typing import Self

import msgspec

__all__ = ["AppendedFile", "length_until"]


class _LineStep(msgspec.Struct, frozen=True):
    """The step of a line of JSON, of which the rest is passed over."""

    step: int


class AppendedFile:
    """A file descriptor to append to, as a context that closes it."""

    _file = -1

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def length_until(after: int, lines: Iterable[bytes]) -> int:
    """Return the bytes of the lines before the first of a later step, or before a torn end.

    >>> length_until(3, [b'{"step":3}\\n', b'{"step":4}\\n'])
    11
    """
    length = whole = 0
    for line in lines:
        length += len(line)
        try:
            if _step_in(line).step > after:
                return length - len(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue  # torn: an end, unless a whole line follows
        whole = length
    return whole


_step_in = msgspec.json.Decoder(_LineStep).decode
