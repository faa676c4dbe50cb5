"""Zarr arrays in an OCDBT database or in plain folders, read through tensorstore.

Only tensorstore is needed: no Orbax, no JAX, no devices. An array's document (`.zarray`
in version 2, `zarr.json` in version 3) holds its true shape and format. tensorstore opens
the files itself: this is the one place where checkpoints are not read through a store, and
it needs a folder of this machine.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from explorer.errors import FormatError, MissingPackageError, TargetError, printable
from explorer.formats.orbax.chunks import (
    Chunks,
    check_blosc,
    check_count,
    room_for,
    threads,
    together,
)
from explorer.formats.orbax.documents import Head, read_head
from explorer.formats.orbax.large_chunks import TooLargeError, chunk_bytes, read_packed
from explorer.storage.store import Store

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Head", "ZarrStore"]

_CACHE_BYTES = 100_000_000  # the database's tree nodes, else read anew for every key
# the exceptions that tensorstore raises for its status codes
_TENSORSTORE_ERRORS = (ValueError, IndexError, NotImplementedError, OSError, MemoryError)


class ZarrStore:
    """The arrays of one folder, by name.

    Args:
        folder: the folder of the database, or of the arrays' folders.
        store: where the folder is.
        is_zarr3: the version of the arrays; None to detect it.

    Raises:
        MissingPackageError: tensorstore is not installed.
        TargetError: the store is not one whose files tensorstore can open.
        FormatError: the database is broken.
    """

    def __init__(self, folder: str, store: Store, is_zarr3: bool | None = None):
        self.folder = folder
        place = store.local_path(folder)
        if place is None:
            raise TargetError(
                folder,
                found="is not on a disk of this machine",
                expected="a local folder: tensorstore opens the arrays of Orbax itself",
                cure="copy the checkpoint to a local folder",
            )
        try:
            import tensorstore
        except ImportError:
            raise MissingPackageError(
                folder,
                found="needs tensorstore, which is not installed",
                cure="pip install tensorstore",
            ) from None
        self._tensorstore: Any = tensorstore
        base = {"driver": "file", "path": os.path.join(os.path.abspath(place), "")}
        is_ocdbt = store.exists(os.path.join(folder, "manifest.ocdbt"))
        self._spec = {"driver": "ocdbt", "base": base} if is_ocdbt else base
        self._context = tensorstore.Context(
            {"cache_pool": {"total_bytes_limit": _CACHE_BYTES}}
        )
        try:
            self._kvstore = tensorstore.KvStore.open(
                self._spec, context=self._context
            ).result()
            keys = self._kvstore.list().result() if is_zarr3 is None else []
        except _TENSORSTORE_ERRORS as error:
            raise self._broken(error) from None
        self._keys = [key.decode("utf-8", "backslashreplace") for key in keys]
        self.is_zarr3 = (
            any(key.endswith("/zarr.json") for key in self._keys)
            if is_zarr3 is None
            else is_zarr3
        )
        self._document = "/zarr.json" if self.is_zarr3 else "/.zarray"

    def names(self) -> list[str]:
        """Return the names of all arrays, where the version was to be detected."""
        return [
            key.removesuffix(self._document)
            for key in self._keys
            if key.endswith(self._document)
        ]

    def heads(self, names: Iterable[str]) -> list[Head | None]:
        """Return the head of each array, None for one without a document.

        Raises:
            FormatError: the database or a document is broken.
        """
        names = list(names)
        try:
            # all at once: one by one, the waits for the threads would add up
            reads = [self._kvstore.read(name + self._document) for name in names]
            results = [read.result() for read in reads]
        except _TENSORSTORE_ERRORS as error:
            raise self._broken(error) from None
        documents = [one.value if one.state == "value" else None for one in results]
        # the arrays of repeated layers have equal documents
        samples = dict(zip(documents, names, strict=True))
        known = {
            raw: self._head(name, raw) if raw is not None else None
            for raw, name in samples.items()
        }
        return [known[raw] for raw in documents]

    def arrays(
        self, rows: Sequence[tuple[str, Head]], is_complete: bool, file_bytes: int
    ) -> "list[np.ndarray]":
        """Return the arrays of these names.

        Args:
            rows: the names and heads of arrays that exist.
            file_bytes: of all files of the folder.
            is_complete: a missing chunk is an error; otherwise it is all zeros.

        Raises:
            FormatError: their data is broken or missing, or claims more than it can be.
        """
        chunks = [head.chunks for _, head in rows]
        check_count(self.folder, chunks, file_bytes)
        self._limit_threads(threads(chunks, file_bytes))
        arrays: list[np.ndarray] = []
        try:
            for name, head in rows:
                if head.chunks.is_blosc:
                    check_blosc(self.folder, name, head.chunks, self._heads_of(name))
            for group in together(chunks, file_bytes):
                arrays += self._group([rows[at] for at in group], is_complete, file_bytes)
        except FormatError:
            raise
        except _TENSORSTORE_ERRORS as error:
            raise self._broken(error) from None
        return arrays

    def _group(
        self, rows: list[tuple[str, Head]], is_complete: bool, file_bytes: int
    ) -> "list[np.ndarray]":
        """Return arrays that are read at a time; one with large chunks is alone."""
        opening = [self._open(name, is_complete, self._context) for name, _ in rows]
        opened = [array.result() for array in opening]
        room = room_for(file_bytes)
        name, head = rows[0]
        if head.chunks.nbytes > room and chunk_bytes(opened[0]) > room:
            return [self._large(name, is_complete, head.chunks, file_bytes)]
        reading = [array.read() for array in opened]
        return [array.result() for array in reading]

    def _open(self, name: str, is_complete: bool, context: Any, cache: Any = None) -> Any:
        spec = {
            "driver": "zarr3" if self.is_zarr3 else "zarr",
            "kvstore": {**self._spec, "path": self._path(name)},
            "fill_missing_data_reads": not is_complete,
            "cache_pool": cache or {},  # a chunk is read once
        }
        return self._tensorstore.open(spec, open=True, read=True, context=context)

    def _large(
        self, name: str, is_complete: bool, chunks: Chunks, file_bytes: int
    ) -> "np.ndarray":
        """Return an array whose chunks are far larger than the files."""
        cache = {"total_bytes_limit": 2 * chunks.nbytes}

        def opened() -> Any:
            context = self._tensorstore.Context(self._context.spec)
            return self._open(name, is_complete, context, cache).result()

        try:
            return read_packed(opened, room_for(file_bytes))
        except TooLargeError as error:
            raise FormatError(
                self.folder,
                found=f"a chunk of array {printable(name)!r} has {error.args[0]:,} bytes; "
                f"all files together have {file_bytes:,}",
                expected="chunks that fit in memory beside their array",
                cure="select other tensors, or save it again in smaller chunks",
            ) from None

    def _limit_threads(self, most: int) -> None:
        """Let fewer chunks be decoded at a time than tensorstore would."""
        if most < (os.cpu_count() or 1):
            self._context = self._tensorstore.Context(
                {**self._context.spec.to_json(), "data_copy_concurrency": {"limit": most}}
            )

    def _heads_of(self, name: str) -> Iterator[bytes]:
        """Yield the first bytes of every chunk of an array."""
        prefix = f"{name}/"
        after = prefix[:-1] + chr(ord("/") + 1)
        keys = self._kvstore.list(self._tensorstore.KvStore.KeyRange(prefix, after))
        for key in keys.result():
            if not key.endswith(self._document.encode()):
                yield self._kvstore.read(key, byte_range=slice(0, 16)).result().value

    def _path(self, name: str) -> str:
        is_file = self._spec["driver"] == "file"
        return os.path.join(self._spec["path"], name, "") if is_file else f"{name}/"

    def _head(self, name: str, raw: bytes) -> Head:
        document = self._document[1:]
        return read_head(self.folder, document, name, raw, is_zarr3=self.is_zarr3)

    def _broken(self, error: Exception) -> FormatError:
        return FormatError(
            self.folder,
            found=f"tensorstore cannot read it ({printable(error, 300)})",
            cure="copy the checkpoint again, or take an earlier step",
        )
