"""A file that its writer only appends to."""

import os
from typing import Self

__all__ = ["AppendedFile"]


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
