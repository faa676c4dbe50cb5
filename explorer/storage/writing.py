"""The only code that makes, replaces or deletes files: never through a link, and never over
what explorer did not write.

What is refused for the sake of what is there is an InputError. What the system refuses is an
OSError, to which the caller adds what cannot be done without it.
"""

import errno
import os
import shutil
import stat
from contextlib import suppress
from typing import BinaryIO

from explorer.errors import InputError

__all__ = [
    "create_file",
    "delete_folder",
    "make_folders",
    "open_new",
    "open_own",
    "publish",
    "reader_of",
    "rename_to_free",
    "replace_file",
]

Path = str | os.PathLike

# a fifo is not waited for and a link is not followed, where the system has the flag
_CAREFULLY = sum(
    getattr(os, flag, 0) for flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY")
)


def create_file(path: Path) -> int:
    """Open a new file to write to.

    Raises:
        FileExistsError: anything is there, a link to nothing included.
        OSError: the system cannot create it.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    return os.open(path, flags | _CAREFULLY, 0o666)


def open_new(path: Path) -> BinaryIO:
    """Return a new file to write to; errors as of `create_file`."""
    return open(create_file(path), "wb")


def open_own(path: Path, *, append: bool = False) -> int:
    """Open a file to read and to write, created if nothing is there.

    Whether its content is explorer's is for the caller to find out before it writes.

    Raises:
        InputError: it is a link, has a second name, or is not a regular file.
        OSError: the system cannot open it.
    """
    flags = os.O_RDWR | _CAREFULLY | (os.O_APPEND if append else 0)
    try:
        return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        _check_own(path, os.lstat(path))
    file = os.open(path, flags)
    try:
        _check_own(path, os.fstat(file))
    except BaseException:
        os.close(file)
        raise
    return file


def reader_of(file: int) -> BinaryIO:
    """Return a reader, from its start, of a file that stays open when it is closed."""
    os.lseek(file, 0, os.SEEK_SET)
    return open(os.dup(file), "rb")


def publish(path: Path, raw: bytes) -> None:
    """Write a new file that nobody sees before it is complete.

    Raises:
        FileExistsError: anything is there, a link to nothing included.
        OSError: the system cannot write it.
    """
    unfinished = _write_beside(path, raw)
    try:
        try:
            os.link(unfinished, path, follow_symlinks=False)
        except FileExistsError:
            raise
        except (OSError, NotImplementedError):  # a file system without second names
            rename_to_free(unfinished, path)
            return
        os.unlink(unfinished)
    except BaseException:
        with suppress(OSError):
            os.unlink(unfinished)
        raise


def replace_file(path: Path, raw: bytes) -> None:
    """Put a file of explorer's in the place of an earlier one, at once.

    Raises:
        InputError: what is there is a link, has a second name, or is not a regular file.
        OSError: the system cannot write it.
    """
    _check_own(path, os.lstat(path))
    unfinished = _write_beside(path, raw)
    try:
        os.replace(unfinished, path)
    except BaseException:
        os.unlink(unfinished)
        raise


def make_folders(path: Path) -> None:
    """Make a folder and its parents where they are missing; OSError where it cannot be."""
    os.makedirs(path, exist_ok=True)


def rename_to_free(source: Path, target: Path) -> None:
    """Rename a file or folder to a name that nothing has.

    Raises:
        FileExistsError: anything has it, a link to nothing included.
        OSError: the system cannot rename it.
    """
    if os.path.lexists(target):
        raise FileExistsError(os.fspath(target))
    os.rename(source, target)


def delete_folder(path: Path, *, missing_ok: bool = False) -> None:
    """Delete a folder that explorer made, with what is in it; links in it are not followed.

    Raises:
        NotADirectoryError: it is a link or a file.
        OSError: it cannot be deleted.
    """
    if os.path.islink(path) or not os.path.isdir(path):  # a fifo would be waited for
        if missing_ok:
            return
        raise NotADirectoryError(errno.ENOTDIR, "it is not a folder", os.fspath(path))
    shutil.rmtree(path, ignore_errors=missing_ok)


def _write_beside(path: Path, raw: bytes) -> str:
    """Write a new hidden file in the folder of another; return its path."""
    folder, name = os.path.split(os.path.abspath(path))
    number = 0
    while True:
        unfinished = os.path.join(folder, f".{name}.{os.getpid()}.{number}")
        try:
            file = create_file(unfinished)
            break
        except FileExistsError:
            number += 1
    try:
        with open(file, "wb") as out:
            out.write(raw)
    except BaseException:
        os.unlink(unfinished)
        raise
    return unfinished


def _check_own(path: Path, status: os.stat_result) -> None:
    """Refuse what explorer cannot have written, or what is somebody else's as well."""
    found = ""
    if stat.S_ISLNK(status.st_mode):
        found = "is a link"
    elif not stat.S_ISREG(status.st_mode):
        found = "is not a regular file"
    elif status.st_nlink > 1:
        found = "has a second name (a hard link), under which it would change as well"
    if found:
        raise InputError(
            path,
            found=found,
            expected="a file that explorer wrote, or none",
            cure="move it away",
        )
