"""How every file is opened: only a regular one, and no more of it than was reckoned with."""

import errno
import os
import stat
from typing import BinaryIO

from explorer.errors import FormatError, TargetError

__all__ = ["exists", "first_bytes", "open_regular", "read_whole", "unreadable"]


def unreadable(path: str, error: OSError) -> TargetError:
    """Return the error that says why the system does not give a file or folder."""
    return TargetError(path, found=f"cannot be read: {error.strerror or error}")


def exists(path: str) -> bool:
    """Say whether anything is at a path, be it a link to nothing.

    Raises:
        TargetError: a folder on the way there may not be searched, or is a loop.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False  # a ValueError: no path can be written so
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise unreadable(path, error) from None
    return True


def open_regular(path: str) -> BinaryIO:
    """Open a regular file for reading; a fifo would be waited for, a device never ends.

    Raises:
        TargetError: it is missing, unreadable or no regular file.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise TargetError(path, found="is no regular file")
        return open(path, "rb")
    except OSError as error:
        raise unreadable(path, error) from None


def read_whole(path: str, limit: int) -> bytes:
    """Return all bytes of a regular file of at most `limit` bytes.

    Raises:
        TargetError: it is missing, unreadable or no regular file.
        FormatError: it is larger.
    """
    with open_regular(path) as file:
        try:
            # the size decides before a byte is read; what grows meanwhile is cut off
            large = os.fstat(file.fileno()).st_size > limit
            data = b"" if large else file.read(limit + 1)
        except OSError as error:
            raise unreadable(path, error) from None
    if large or len(data) > limit:
        raise FormatError(path, found=f"is larger than {limit:,} bytes")
    return data


def first_bytes(path: str, count: int = 16) -> bytes:
    """Return the first bytes of a regular file that is not empty.

    Raises:
        TargetError: it is missing, unreadable or no regular file.
        FormatError: it is empty.
    """
    with open_regular(path) as file:
        try:
            head = file.read(count)
        except OSError as error:
            raise unreadable(path, error) from None
    if not head:
        raise FormatError(path, found="is empty", cure="fetch or write it again")
    return head
