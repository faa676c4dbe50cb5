"""The only code that makes, replaces or deletes files: never through a link, and never over
what explorer did not write.

What is refused for the sake of what is there is an InputError. What the system refuses is an
OSError, to which the caller adds what cannot be done without it.
"""

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import BinaryIO

from explorer.errors import InputError

__all__ = [
    "create_file",
    "delete_file",
    "delete_folder",
    "make_folders",
    "new_file",
    "new_folder",
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
    """Write a new file that nobody sees before it is complete; errors as of `new_file`."""
    with new_file(path, sync=False) as out:
        out.write(raw)


@contextmanager
def new_file(path: Path, *, sync: bool = True) -> Iterator[BinaryIO]:
    """Give a file to write to, which gets its name when it is complete.

    Until then it is a hidden file beside; on any error it is deleted, and a process that is
    killed leaves nothing of that name.

    Args:
        path: of the file.
        sync: whether its bytes are on the disk before it gets its name.

    Raises:
        FileExistsError: anything is there, a link to nothing included.
        OSError: the system cannot write it.
    """
    _check_free(path)
    with _file_beside(path) as (unfinished, out):
        yield out
        out.flush()
        if sync:
            os.fsync(out.fileno())
        out.close()
        _name_file(unfinished, path)


@contextmanager
def new_folder(path: Path, *, make: bool = True) -> Iterator[str]:
    """Give a folder to write files into, which gets its name when it is complete; as `new_file`.

    Args:
        path: of the folder.
        make: whether it is made; else only its name is free, for a library that makes it.

    Raises:
        FileExistsError: anything is there, an empty folder or a link to nothing included.
        OSError: the system cannot write it.
    """
    _check_free(path)
    names = _names_beside(path)
    unfinished, made = next(names), False
    try:
        while not _make_folder(unfinished):
            unfinished = next(names)
        made = True
        if not make:
            os.rmdir(unfinished)
        yield unfinished
        rename_to_free(unfinished, path)
    except BaseException:
        if made:
            delete_folder(unfinished, missing_ok=True)
        with suppress(OSError):  # a signal came as soon as it was made: it is empty
            os.rmdir(unfinished)
        raise


def _check_free(path: Path) -> None:
    if os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(path))


def _make_folder(path: str) -> bool:
    """Make a folder; return whether the name was free."""
    try:
        os.mkdir(path)
    except FileExistsError:
        return False
    return True


def _name_file(unfinished: str, path: Path) -> None:
    """Give a complete file its name, which nothing has."""
    try:
        os.link(unfinished, path, follow_symlinks=False)
    except FileExistsError:
        raise
    except (OSError, NotImplementedError):  # a file system without second names
        rename_to_free(unfinished, path)
        return
    os.unlink(unfinished)


def replace_file(path: Path, raw: bytes) -> None:
    """Put a file of explorer's in the place of an earlier one, at once.

    Raises:
        InputError: what is there is a link, has a second name, or is not a regular file.
        OSError: the system cannot write it.
    """
    _check_own(path, os.lstat(path))
    with _file_beside(path) as (unfinished, out):
        out.write(raw)
        out.close()
        os.replace(unfinished, path)


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


def delete_file(path: Path) -> None:
    """Delete a file that explorer wrote; one that is gone already is not missed.

    Raises:
        OSError: the system cannot delete it.
    """
    with suppress(FileNotFoundError):
        os.unlink(path)


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


def _names_beside(path: Path) -> Iterator[str]:
    """Yield hidden names in the folder of a file."""
    folder, name = os.path.split(os.path.abspath(path))
    for number in count():
        yield os.path.join(folder, f".{name}.{os.getpid()}.{number}")


@contextmanager
def _file_beside(path: Path) -> Iterator[tuple[str, BinaryIO]]:
    """Give the path of a new hidden file in the folder of another, and the file itself.

    On any error it is deleted, where it has not got another name.
    """
    names = _names_beside(path)
    unfinished, file = next(names), None
    try:
        while (file := _create_free(unfinished)) is None:
            unfinished = next(names)
        with open(file, "wb") as out:
            yield unfinished, out
    except BaseException:
        with suppress(OSError):
            # a signal came as soon as it was made: it is empty
            if file is not None or os.path.getsize(unfinished) == 0:
                os.unlink(unfinished)
        raise


def _create_free(path: str) -> int | None:
    """Open a new file to write to; None where its name is not free."""
    try:
        return create_file(path)
    except FileExistsError:
        return None


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
