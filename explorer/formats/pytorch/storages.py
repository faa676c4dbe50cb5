"""Opens a PyTorch file: the records of its pickle, and the places of its storages.

Since PyTorch 1.6 a file is a zip archive: `data.pkl`, and each storage as `data/KEY`.
Before, it was a stream: four pickles (magic number, version, system, the object), a
pickled list of keys, and each storage as its size and its bytes. A pickle that starts
differently is one of plain data.
"""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import msgspec

from explorer.errors import FormatError, printable
from explorer.formats.ndarrays import writable_view
from explorer.formats.pytorch.pickles import Global, load
from explorer.formats.pytorch.records import Storage, storage_of
from explorer.formats.pytorch.scripts import Declared, declared_classes
from explorer.formats.pytorch.torch_names import finder
from explorer.formats.zip_directory import (
    ZipEntry,
    data_start,
    inflated,
    read_directory,
    read_entry,
)
from explorer.storage.store import Blob
from explorer.storage.window import Bytes, indexed

if TYPE_CHECKING:
    import numpy as np

__all__ = ["TorchCheckpoint", "open_checkpoint", "storage_reader"]

# What is deflated may unfold to so many bytes, and so many times its own. Pickles that are not
# deflated are read in place.
MAX_PLAIN, MAX_RATIO = 2_000_000, 16
MAX_UNUSED = 32_000_000  # bytes of deflated storages that no tensor reaches
_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001


class TorchCheckpoint(msgspec.Struct):
    """An opened file.

    Attributes:
        blob: the file, open.
        format: "pytorch zip", "torchscript", "pytorch legacy" or "pickle".
        root: the records of the pickled object.
        pickle_bytes: length of that pickle.
        sizes: bytes in the file of every storage, by key.
        begins: the offset of each in a stream; none in an archive.
        entries: an archive's entries by storage key.
        big_endian: the byte order of the storages.
        classes: of TorchScript, the parameters and buffers that each class declares.
        constants: of TorchScript, bytes of the constant tensors of its code.
    """

    blob: Blob
    format: str
    root: object
    pickle_bytes: int
    sizes: dict[str, int] = {}
    begins: dict[str, int] = {}
    entries: dict[str, ZipEntry] = {}
    big_endian: bool = False
    classes: Callable[[str], Declared | None] = lambda name: None
    constants: int = 0

    @property
    def path(self) -> str:
        """The path that errors show."""
        return self.blob.name


def open_checkpoint(blob: Blob) -> TorchCheckpoint:
    """Return the records of a file's pickle and the table of its storages.

    Raises:
        UnsafePickleError: the pickle names something that is not a part of a tensor.
        FormatError: the file breaks the rules of its format.
    """
    if blob.size() == 0:
        raise FormatError(blob.name, found="is empty", cure="fetch or save it again")
    if blob.read(0, min(4, blob.size())) == b"PK\x03\x04":
        return _open_archive(blob)
    return _open_stream(blob, indexed(blob))


def storage_reader(
    checkpoint: TorchCheckpoint, reached: dict[str, int]
) -> "Callable[[str], np.ndarray]":
    """Return the function from a storage's key to its bytes, which can be written to.

    They map the file, copy on write, unless they are packed or the file cannot be mapped.

    Args:
        checkpoint: the opened file.
        reached: bytes of each storage that its tensors reach.

    Raises:
        FormatError: from the function, of deflated storages that hold much else.
    """
    import numpy as np

    blob = checkpoint.blob
    data = indexed(blob, copy_on_write=True)
    byte = np.dtype(np.uint8)

    unused = 0

    @cache
    def storage(key: str) -> np.ndarray:
        entry, begin = checkpoint.entries.get(key), checkpoint.begins.get(key, 0)
        if entry is not None:
            if entry.method:
                nonlocal unused
                unused += entry.size - min(reached.get(key, 0), entry.size)
                if unused > MAX_UNUSED + MAX_RATIO * blob.size():
                    raise FormatError(
                        blob.name,
                        found=f"unfolds to {unused:,} bytes that none of its tensors has",
                        expected=f"at most {MAX_UNUSED + MAX_RATIO * blob.size():,}",
                        cure="save it again",
                    )
                return np.frombuffer(inflated(blob, f"data/{key}", entry), byte)
            begin = data_start(blob, f"data/{key}", entry)
        return writable_view(data, begin, (checkpoint.sizes[key],), byte)

    return storage


# Archives


def _open_archive(blob: Blob) -> TorchCheckpoint:
    path, entries = blob.name, read_directory(blob)
    prefix = _prefix(path, entries)
    script = f"{prefix}constants.pkl" in entries
    find = finder(path, script=script)

    left = MAX_PLAIN

    def read(name: str) -> bytes:
        """Return a file of the archive; all of them together are bounded."""
        nonlocal left
        entry = entries.get(prefix + name)
        if entry is None:
            return b""
        left += MAX_RATIO * entry.packed
        raw = read_entry(blob, prefix + name, entry, left)
        left -= len(raw)
        return raw

    order = read("byteorder") or b"little"
    if order not in (b"little", b"big"):
        raise FormatError(
            path,
            found=f"its byte order is {printable(order, 30)}",
            expected="little or big",
        )
    root, pickle_bytes = _unpickle(blob, prefix + "data.pkl", entries, find)
    checkpoint = TorchCheckpoint(
        blob,
        "torchscript" if script else "pytorch zip",
        root,
        pickle_bytes,
        big_endian=order == b"big",
    )
    folder = f"{prefix}data/"
    if script:
        checkpoint.classes = declared_classes(path, read)
        constants = _inside(entries, f"{prefix}constants/")
        if constants and not _inside(entries, folder):
            # a frozen program: its parameters are among its constants
            folder, name = f"{prefix}constants/", f"{prefix}constants.pkl"
            root, checkpoint.pickle_bytes = _unpickle(blob, name, entries, find)
            checkpoint.root = {"constants": root}
        else:
            checkpoint.constants = sum(entry.size for entry in constants.values())
    checkpoint.entries = _inside(entries, folder)
    checkpoint.sizes = {key: entry.size for key, entry in checkpoint.entries.items()}
    return checkpoint


def _unpickle(
    blob: Blob, name: str, entries: dict[str, ZipEntry], find: Callable[[str, str], Global]
) -> tuple[object, int]:
    """Return the records of a pickle in an archive, and its length.

    PyTorch stores its pickles uncompressed. A deflated one may be longer by a bounded ratio
    only, so that the size of the file bounds the work.
    """
    entry = entries[name]
    if entry.method:
        data = read_entry(blob, name, entry, MAX_PLAIN + MAX_RATIO * entry.packed)
        return load(blob.name, data, find, storage_of)[0], entry.size
    begin = data_start(blob, name, entry)
    end = begin + entry.size
    return load(blob.name, indexed(blob), find, storage_of, begin, end)[0], entry.size


def _inside(entries: dict[str, ZipEntry], folder: str) -> dict[str, ZipEntry]:
    start = len(folder)
    return {n[start:]: entry for n, entry in entries.items() if n.startswith(folder)}


def _prefix(path: str, entries: dict[str, ZipEntry]) -> str:
    """Return the folder that an archive keeps everything in ("archive/")."""
    for name in entries:
        if name.endswith("data.pkl") and name.count("/") <= 1:
            prefix = name.removesuffix("data.pkl")
            if prefix == "" or prefix.endswith("/"):
                return prefix
    from explorer.formats.signatures import foreign_zip

    foreign = foreign_zip(path, list(entries))
    old = any(name.endswith("/model.json") for name in entries)
    raise foreign or FormatError(
        path,
        found="is a TorchScript archive from before PyTorch 1.4"
        if old
        else "is a zip archive without a data.pkl",
        expected="what torch.save or torch.jit.save writes",
        cure="load and save it with a newer PyTorch" if old else "",
    )


# Streams


def _open_stream(blob: Blob, data: Bytes) -> TorchCheckpoint:
    path = blob.name
    storages: dict[str, Storage] = {}

    def remember(identity: object) -> object:
        storage = storage_of(identity)
        storages.setdefault(storage.key, storage)  # pyright: ignore
        return storage

    find = finder(path)
    root, at = load(path, data, find)
    alone = type(root) in (bool, float, type(None)) and at < len(data)
    if alone or (type(root) is int and root != _MAGIC):
        found = f"number {root:#x}" if type(root) is int else f"value {root}"
        raise FormatError(
            path,
            found=f"starts with the {found}",
            expected=f"{_MAGIC:#x}, as torch.save writes, or a pickle of tensors",
            cure="fetch or save it again",
        )
    if root != _MAGIC:
        return TorchCheckpoint(blob, "pickle", root, at)
    version, at = load(path, data, find, start=at)
    if version != _VERSION:
        raise FormatError(path, found="its stream is of another version than 1001")
    _, at = load(path, data, find, start=at)  # about the machine that wrote it
    root, end = load(path, data, find, remember, start=at)
    checkpoint = TorchCheckpoint(blob, "pytorch legacy", root, end - at)
    keys, at = load(path, data, find, start=end)
    if type(keys) is not list or not all(type(key) in (str, int) for key in keys):
        raise FormatError(path, found="lists no storages after its pickle")
    for key in map(str, keys):
        if key in checkpoint.sizes:
            raise FormatError(path, found=f"stores {printable(key, 40)!r} twice")
        begin, nbytes = _stored(path, data, at, storages.get(key), key)
        checkpoint.begins[key], checkpoint.sizes[key] = begin, nbytes
        at = begin + nbytes
    return checkpoint


def _stored(
    path: str, data: Bytes, at: int, storage: Storage | None, key: str
) -> tuple[int, int]:
    """Return the offset of the data of the storage at a place of the stream, and its bytes."""
    label = printable(key, 40)
    if storage is None:
        raise FormatError(path, found=f"stores {label!r}, which its pickle does not name")
    begin, nbytes = at + 8, storage.nbytes
    size = int.from_bytes(data[at:begin], "little")
    if size != storage.size and begin <= len(data):
        raise FormatError(
            path,
            found=f"stores {size:,} elements of {label!r}",
            expected=f"{storage.size:,}, as its pickle says",
            cure="fetch or save it again",
        )
    if begin + nbytes > len(data):
        raise FormatError(
            path,
            found=f"ends inside storage {label!r}",
            expected=f"{begin + nbytes:,} bytes",
            cure="it is truncated: fetch it again",
        )
    return begin, nbytes
