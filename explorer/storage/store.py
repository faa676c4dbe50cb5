"""What a store of files is: four methods that every store has, and what follows from them.

A store that is not the local file system implements `Store.blob`, `names`, `is_file` and
`is_folder`, and for its files `Blob.size` and `read`. The other methods have a default here, which a
store overrides where it can do better. Paths are strings whose parts are joined by "/".
"""

import os
from abc import ABC, abstractmethod
from mmap import mmap

from explorer.errors import FormatError

__all__ = ["Blob", "Store", "check_not_empty"]


class Blob(ABC):
    """The bytes of one file; `name` is the path that errors show.

    It may hold the file open: use it in a `with` statement.
    """

    def __init__(self, name: str):
        self.name = name

    @abstractmethod
    def size(self) -> int:
        """Return the bytes of the file, as of when it was opened."""

    @abstractmethod
    def read(self, offset: int, count: int) -> bytes:
        """Return exactly `count` bytes from `offset` on, all of them inside the file.

        Raises:
            FormatError: fewer are there: the file was cut since it was opened.
            TargetError: the system cannot read it.
        """

    def map(self, *, copy_on_write: bool = False) -> mmap | None:
        """Return the file, which is not empty, mapped into memory; None where it cannot be.

        Args:
            copy_on_write: whether the mapping can be written to, which never changes the
                file; otherwise it is read-only.
        """
        return None

    def close(self) -> None:
        """Close the file, where it is held open; mappings of it stay valid."""
        return

    def cut_short(self, end: int) -> FormatError:
        """Return the error for a file that ends before byte `end`, which it had."""
        return FormatError(
            self.name,
            found=f"was cut to fewer than {end:,} bytes while it was read",
            expected=f"{self.size():,} bytes",
            cure="fetch or write it again",
        )

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Store(ABC):
    """Files in folders, for reading."""

    @abstractmethod
    def blob(self, path: str) -> Blob:
        """Open a file.

        Raises:
            TargetError: it is missing, unreadable or not a regular file.
        """

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """Return the sorted names of the files and folders in a folder.

        Raises:
            TargetError: it is not a folder, or cannot be read.
        """

    @abstractmethod
    def is_file(self, path: str) -> bool:
        """Return whether a path is a file."""

    @abstractmethod
    def is_folder(self, path: str) -> bool:
        """Return whether a path is a folder."""

    def exists(self, path: str) -> bool:
        """Return whether anything is at a path."""
        return self.is_file(path) or self.is_folder(path)

    def folders(self, folder: str) -> list[str]:
        """Return the sorted names of the folders in a folder; errors as of `names`."""
        inner = self.names(folder)
        return [name for name in inner if self.is_folder(os.path.join(folder, name))]

    def sizes(self, folder: str) -> list[int]:
        """Return the bytes of each file below a folder, at any depth.

        Raises:
            TargetError: one of them is not a regular file, or cannot be read.
        """
        found: list[int] = []
        for name in self.names(folder):
            path = os.path.join(folder, name)
            if self.is_folder(path):
                found += self.sizes(path)
            else:
                with self.blob(path) as blob:
                    found.append(blob.size())
        return found

    def local_path(self, path: str) -> str | None:
        """Return where a library that opens files itself finds a path; None for nowhere."""
        return None

    def first_bytes(self, path: str, count: int = 16) -> bytes:
        """Return the first bytes of a file, or all of a shorter one.

        Raises:
            TargetError: it is missing, unreadable or not a regular file.
            FormatError: it is empty.
        """
        with self.blob(path) as blob:
            check_not_empty(blob)
            return blob.read(0, min(count, blob.size()))

    def read_whole(self, path: str, limit: int) -> bytes:
        """Return all bytes of a file of at most `limit` bytes.

        Raises:
            TargetError: it is missing, unreadable or not a regular file.
            FormatError: it is larger.
        """
        with self.blob(path) as blob:
            if blob.size() > limit:
                raise FormatError(path, found=f"is larger than {limit:,} bytes")
            return blob.read(0, blob.size())


def check_not_empty(blob: Blob) -> None:
    """Raise a FormatError for a file of no bytes."""
    if not blob.size():
        raise FormatError(blob.name, found="is empty", cure="fetch or write it again")
