"""Stores that are not the disk: one that counts what is read, one in memory."""

import os
from collections.abc import Iterable
from pathlib import Path

from explorer.errors import TargetError
from explorer.storage.local import LOCAL
from explorer.storage.store import Blob, Store


class MemoryBlob(Blob):
    """Bytes under a name; it has the two methods that every blob must have."""

    def __init__(self, name: str, data: bytes, reads: list[int]):
        super().__init__(name)
        self.data, self.reads = data, reads

    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, count: int) -> bytes:
        assert 0 <= offset <= offset + count <= len(self.data)
        self.reads.append(count)
        return self.data[offset : offset + count]


class MemoryStore(Store):
    """Files in a dict, by their paths; it has the four methods that every store must have.

    `reads` are the bytes of each read, as of all its blobs.
    """

    def __init__(self, files: dict[str, bytes]):
        self.files = files
        self.reads: list[int] = []

    @classmethod
    def of(cls, root: Path) -> "MemoryStore":
        """Return what is below a folder of the disk, under the same paths."""
        return cls({str(p): p.read_bytes() for p in root.rglob("*") if p.is_file()})

    def blob(self, path: str) -> MemoryBlob:
        if path not in self.files:
            raise TargetError(path, found="is not in memory")
        return MemoryBlob(path, self.files[path], self.reads)

    def names(self, folder: str) -> list[str]:
        return sorted({path.split("/")[0] for path in self._below(folder)})

    def is_file(self, path: str) -> bool:
        return path in self.files

    def is_folder(self, path: str) -> bool:
        return any(True for _ in self._below(path))

    def _below(self, folder: str) -> Iterable[str]:
        start = os.path.join(folder, "")
        return (path[len(start) :] for path in self.files if path.startswith(start))


class CountingBlob(Blob):
    """A file of the disk that is never mapped, so that every byte is read and counted."""

    def __init__(self, path: str, reads: list[int]):
        super().__init__(path)
        self.inner, self.reads = LOCAL.blob(path), reads

    def size(self) -> int:
        return self.inner.size()

    def read(self, offset: int, count: int) -> bytes:
        self.reads.append(count)
        return self.inner.read(offset, count)

    def close(self) -> None:
        self.inner.close()


class CountingStore(Store):
    """The disk; `reads` are the bytes of each read."""

    def __init__(self):
        self.reads: list[int] = []

    def blob(self, path: str) -> CountingBlob:
        return CountingBlob(path, self.reads)

    def names(self, folder: str) -> list[str]:
        return LOCAL.names(folder)

    def is_file(self, path: str) -> bool:
        return LOCAL.is_file(path)

    def is_folder(self, path: str) -> bool:
        return LOCAL.is_folder(path)

    def local_path(self, path: str) -> str:
        return path
