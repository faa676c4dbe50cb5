"""The file system of this machine: the only module that opens files to read them.

Only regular files are opened: a read of a fifo would wait, and a device has no end.
"""

import errno
import os
import stat
from mmap import ACCESS_COPY, ACCESS_READ
from typing import BinaryIO

from explorer.errors import TargetError
from explorer.storage.pages import MappedFile
from explorer.storage.store import Blob, Store

__all__ = [
    "LOCAL",
    "LocalStore",
    "exists",
    "first_bytes",
    "open_regular",
    "read_whole",
    "stamps",
    "unreadable",
]

# what becomes a fifo between a look at it and its opening is not waited for
_CAREFULLY = sum(getattr(os, flag, 0) for flag in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))


def unreadable(path: str, error: OSError) -> TargetError:
    """Return the error that says why the system does not open or read a file or folder."""
    return TargetError(path, found=f"cannot be read: {error.strerror or error}")


def _not_regular(path: str) -> TargetError:
    return TargetError(path, found="is not a regular file")


def open_regular(path: str | os.PathLike) -> BinaryIO:
    """Open a regular file, or a link to one, to read it.

    Raises:
        TargetError: it is missing, unreadable or not a regular file.
    """
    place = os.fspath(path)
    try:
        _check_regular(place, os.stat(place))  # to open a device may be to act on it
        file = os.open(place, os.O_RDONLY | _CAREFULLY)
        try:
            _check_regular(place, os.fstat(file))
            return open(file, "rb")
        except BaseException:
            os.close(file)
            raise
    except OSError as error:
        raise unreadable(place, error) from None
    except ValueError as error:  # a path that no file can have
        raise TargetError(place, found=f"cannot be read: {error}") from None


def _check_regular(path: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _not_regular(path)


class LocalBlob(Blob):
    """A regular file, opened for reading."""

    def __init__(self, path: str):
        super().__init__(path)
        self._file = open_regular(path)
        self._size = os.fstat(self._file.fileno()).st_size

    def size(self) -> int:
        """Return the bytes of the file; see `Blob.size`."""
        return self._size

    def read(self, offset: int, count: int) -> bytes:
        """Return bytes of the file; see `Blob.read`."""
        try:
            self._file.seek(offset)
            raw = self._file.read(count)
        except OSError as error:
            raise unreadable(self.name, error) from None
        if len(raw) < count:
            raise self.cut_short(offset + count)
        return raw

    def map(self, *, copy_on_write: bool = False) -> MappedFile:
        """Return the file mapped into memory; see `Blob.map`."""
        access = ACCESS_COPY if copy_on_write else ACCESS_READ
        try:
            mapping = MappedFile(self._file.fileno(), 0, access=access)
        except OSError as error:
            raise unreadable(self.name, error) from None
        except ValueError:  # it is empty now
            raise self.cut_short(self._size) from None
        if len(mapping) < self._size:
            raise self.cut_short(self._size)
        mapping.name = self.name
        return mapping

    def close(self) -> None:
        """Close the file; see `Blob.close`."""
        self._file.close()


class LocalStore(Store):
    """Files by their paths on this machine."""

    def blob(self, path: str) -> LocalBlob:
        """Open a regular file; see `Store.blob`."""
        return LocalBlob(path)

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder; see `Store.names`."""
        try:
            return sorted(os.listdir(folder or "."))
        except OSError as error:
            raise unreadable(folder or ".", error) from None

    def is_file(self, path: str) -> bool:
        """Return whether a path is a regular file, or a link to one."""
        return os.path.isfile(path)

    def is_folder(self, path: str) -> bool:
        """Return whether a path is a folder, or a link to one."""
        return os.path.isdir(path)

    def exists(self, path: str) -> bool:
        """Return whether anything is at a path, a link to nothing included.

        Raises:
            TargetError: a folder on the way there may not be searched, or is a loop.
        """
        try:
            os.lstat(path)
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return False  # a ValueError: a path that no file can have
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return False
            raise unreadable(path, error) from None
        return True

    def folders(self, folder: str) -> list[str]:
        """Return the names of folders in a folder, most without asking for each again."""
        try:
            with os.scandir(folder or ".") as entries:
                return sorted(
                    entry.name
                    for entry in entries
                    if (os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir())
                )
        except OSError as error:
            raise unreadable(folder or ".", error) from None

    def sizes(self, folder: str) -> list[int]:
        """Return the bytes of each file below a folder, links to folders not followed."""
        return [*self.files(folder).values()]

    def files(self, folder: str) -> dict[str, int]:
        """Return what `sizes` does, by the path from the folder on, parts joined by "/".

        Raises:
            TargetError: one of them is not a regular file, or cannot be read.
        """
        found = {}
        for inner, _, names in os.walk(folder):
            for name in names:
                path = os.path.join(inner, name)
                try:
                    status = os.stat(path)
                except OSError as error:
                    raise unreadable(path, error) from None
                _check_regular(path, status)
                below = os.path.relpath(path, folder).replace(os.sep, "/")
                found[below] = status.st_size
        return found

    def local_path(self, path: str) -> str:
        """Return the path itself."""
        return path


def stamps(path: str) -> dict[str, tuple[int, int]]:
    """Return size and time of change of a file, or of every file below a folder.

    Two stamps that differ tell that a file was written in between.

    Raises:
        TargetError: one of them cannot be read.
    """
    inner = LOCAL.files(path) if LOCAL.is_folder(path) else {"": 0}
    found = {}
    for name in inner:
        place = os.path.join(path, name) if name else path
        try:
            status = os.stat(place)
        except OSError as error:
            raise unreadable(place, error) from None
        found[name] = (status.st_size, status.st_mtime_ns)
    return found


LOCAL = LocalStore()
exists, first_bytes, read_whole = LOCAL.exists, LOCAL.first_bytes, LOCAL.read_whole
