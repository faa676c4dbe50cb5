"""One run in a folder at a time: a lock that the system releases when its process ends."""

import errno
import os
import platform
import re
from pathlib import Path

from filelock import lock_descriptor

from explorer.errors import InputError, printable
from explorer.storage.writing import open_own

__all__ = ["Lock"]

_NAME = ".lock"
_CONTENT = re.compile(rb"(process \d+ on [^\n]{0,300})?")  # nothing, where a write failed
# what flock reports on file systems without locks
_UNSUPPORTED = {
    errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL
}  # fmt: skip


class Lock:
    """Holds a folder for one run until it is released or the process ends, however it ends.

    The lock is advisory: readers do not need it. It is taken by filelock on a hidden file,
    which stays behind and names the process that held it last. Some network file systems
    have no locks: there nothing is held and nobody is refused.

    Args:
        folder: an existing folder.

    Raises:
        InputError: another run holds it; the error names its process. Or the file is a
            link, or not as explorer writes it.
        OSError: the file cannot be created or written.
    """

    _file = -1

    def __init__(self, folder: Path):
        self._file = open_own(folder / _NAME)
        try:
            if not _is_locked(self._file):
                raise _in_use(folder, _holder_in(self._file))
            if not _CONTENT.fullmatch(os.read(self._file, 1000)):
                raise _not_a_lock(folder)
            os.ftruncate(self._file, 0)
            os.lseek(self._file, 0, os.SEEK_SET)
            os.write(self._file, _own_name())
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Release the folder."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __del__(self) -> None:
        self.release()


def _is_locked(file: int) -> bool:
    """Lock a file unless another process holds it; return whether nobody else does."""
    try:
        return lock_descriptor(file, blocking=False)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        return True


def _holder_in(file: int) -> bytes:
    try:
        return os.read(file, 100)
    except PermissionError:  # Windows: what is locked cannot be read
        return b""


def _not_a_lock(folder: Path) -> InputError:
    return InputError(
        folder / _NAME,
        found="is not a lock that explorer wrote",
        expected="the lock of a run, or no file of this name",
        cure="move it away, or train into another folder",
    )


def _in_use(folder: Path, holder: bytes) -> InputError:
    name = printable(holder.decode(errors="replace")) or "another process"
    cure = "wait for that run to end"
    if holder == _own_name():  # for example a notebook cell that is run twice
        name, cure = "this very process", "close the Checkpoints that hold it"
    return InputError(
        folder,
        found=f"is in use by {name}",
        expected="a folder that no run is using",
        cure=f"{cure}, or train into another folder",
    )


def _own_name() -> bytes:
    return f"process {os.getpid()} on {platform.node()}".encode()
