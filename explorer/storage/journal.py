"""A file of records that grows: each is there whole or not at all, whatever ends the process.

After the first line, a record is its length, its hash and its bytes. What follows the last whole
record is of a process that was killed while it wrote, and is cut off when the file is opened again.
"""

import os
import struct
from hashlib import blake2b

from filelock import lock_descriptor

from explorer.errors import InputError
from explorer.storage.writing import open_own, reader_of

__all__ = ["Journal"]

_FIRST = b"explorer journal 1\n"
_LENGTH = struct.Struct("<Q")
_HASH = 16
_UNWRITTEN = 1 << 20  # bytes that wait to be written


class Journal:
    """Records appended to one file by one process at a time.

    Args:
        path: of a file that a journal wrote, or of none.

    Raises:
        InputError: another process has it, or something else is there.
        OSError: the system cannot open or write it.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Journal(f"{folder}/pass") as journal:
    ...         journal.append(b"one")
    ...     with Journal(f"{folder}/pass") as journal:
    ...         journal.records
    [b'one']
    """

    def __init__(self, path: str | os.PathLike):
        self.place = os.fspath(path)
        self.records: list[bytes] = []
        self._waiting = bytearray()
        self._file = open_own(path, append=True)
        try:
            if not lock_descriptor(self._file, blocking=False):
                raise InputError(
                    self.place,
                    found="is in use by another process",
                    expected="a file that one pass writes",
                    cure="wait for it, or take another name",
                )
            self._read()
        except BaseException:
            os.close(self._file)
            raise

    def _read(self) -> None:
        """Read the whole records, and cut off what follows them."""
        with reader_of(self._file) as file:
            first = file.read(len(_FIRST))
            if not _FIRST.startswith(first):
                raise InputError(
                    self.place,
                    found="is not a file that such a pass wrote",
                    expected="a name that nothing has, or that of an earlier pass",
                    cure="choose another one",
                )
            if first != _FIRST:  # new, or killed within its first line
                os.ftruncate(self._file, 0)
                self._write(_FIRST)
                return
            end = file.tell()
            while (record := _record_at(file)) is not None:
                self.records.append(record)
                end = file.tell()
        os.ftruncate(self._file, end)

    def append(self, record: bytes) -> None:
        """Add a record; it is on its way to the disk after a `flush`, or when many wait."""
        self._waiting += _LENGTH.pack(len(record)) + _hash(record) + record
        if len(self._waiting) >= _UNWRITTEN:
            self.flush()

    def flush(self) -> None:
        """Write the records that wait."""
        if self._waiting:
            self._write(self._waiting)
            self._waiting.clear()

    def _write(self, raw: bytes | bytearray) -> None:
        view = memoryview(bytes(raw))
        while view:
            view = view[os.write(self._file, view) :]

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        """Write what waits, and let others have the file."""
        try:
            self.flush()
        finally:
            os.close(self._file)


def _record_at(file) -> bytes | None:
    """Return the next record of an open file; None at its end, or where it is not whole."""
    start = file.read(_LENGTH.size + _HASH)
    if len(start) < _LENGTH.size + _HASH:
        return None
    (length,) = _LENGTH.unpack_from(start)
    if length > os.fstat(file.fileno()).st_size:
        return None
    record = file.read(length)
    is_whole = len(record) == length and _hash(record) == start[_LENGTH.size :]
    return record if is_whole else None


def _hash(record: bytes) -> bytes:
    return blake2b(record, digest_size=_HASH).digest()
