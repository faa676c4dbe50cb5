"""One run in a folder at a time: a lock that the system takes back from whoever ends."""

import errno
import os
import sys
from pathlib import Path

from explorer.errors import InputError, printable

__all__ = ["Lock"]

_NAME = ".lock"
# of file systems that have no locks
_UNABLE = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}


class Lock:
    """A folder held for one run, until it lets go of it or ends, in whatever way.

    It is advisory: who only reads asks for none. It is a lock (flock) on a hidden file, which
    stays behind and says who held it last. Windows and some network file systems have no
    such locks: there, nothing is held and nobody refused.

    Args:
        folder: that is there.

    Raises:
        InputError: another run holds it; which one is said.
        OSError: the file cannot be made or written to.
    """

    _file = -1

    def __init__(self, folder: Path):
        self._file = os.open(folder / _NAME, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _is_locked(self._file):
                raise _in_use(folder, os.read(self._file, 100))
            os.ftruncate(self._file, 0)
            os.write(self._file, _own_name())
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Let go of the folder."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __del__(self) -> None:
        self.release()


def _in_use(folder: Path, holder: bytes) -> InputError:
    name = printable(holder.decode(errors="replace")) or "another process"
    cure = "wait for that run to end"
    if holder == _own_name():  # as where a notebook's cell is run twice
        name, cure = "this very process", "close the Checkpoints that hold it"
    return InputError(
        folder,
        found=f"is in use by {name}",
        expected="a folder that no run is using",
        cure=f"{cure}, or train into another folder",
    )


if sys.platform == "win32":

    def _is_locked(_: int) -> bool:
        return True

    def _own_name() -> bytes:
        return f"process {os.getpid()}".encode()

else:
    import fcntl

    def _is_locked(file: int) -> bool:
        """Lock a file, if no other has it."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in _UNABLE:
                raise
        return True

    def _own_name() -> bytes:
        return f"process {os.getpid()} on {os.uname().nodename}".encode()
