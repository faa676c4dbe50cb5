"""Zip archives written into an open file, uncompressed, member by member."""

import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import IO, BinaryIO

__all__ = ["NewMember", "new_archive"]

NewMember = Callable[[str, int], AbstractContextManager[IO[bytes]]]


@contextmanager
def new_archive(out: BinaryIO) -> Iterator[NewMember]:
    """Give a function that opens a new member of so many bytes; all are of one fixed date.

    >>> from io import BytesIO
    >>> file = BytesIO()
    >>> with new_archive(file) as member, member("a", 2) as inner:
    ...     inner.write(b"hi")
    2
    >>> zipfile.ZipFile(file).read("a")
    b'hi'
    """
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:

        def member(name: str, size: int) -> IO[bytes]:
            return archive.open(
                zipfile.ZipInfo(name), "w", force_zip64=size >= (1 << 31) - 1
            )

        yield member
