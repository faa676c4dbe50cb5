"""PyTorch files spelt by hand: pickle opcodes, zip archives and legacy streams."""

import pickle
import struct
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
SIZES = {"Float": 4, "Half": 2, "Double": 8, "Long": 8, "BFloat16": 2, "ComplexFloat": 8}


class Named(NamedTuple):
    """A global."""

    module: str
    name: str


class Call(NamedTuple):
    """A global and what the pickle would call it with."""

    module: str
    name: str
    arguments: tuple = ()
    state: object = None


class Stored(NamedTuple):
    """A persistent id."""

    identity: tuple


class Raw(NamedTuple):
    """Opcodes as they are."""

    opcodes: bytes


def text(word: str) -> bytes:
    raw = word.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def spell(thing: object) -> bytes:
    """The opcodes that make a thing, without the frame of a whole pickle."""
    match thing:
        case Raw(opcodes):
            return opcodes
        case Named(module, name):
            return f"c{module}\n{name}\n".encode()
        case Call(module, name, arguments, state):
            built = b"" if state is None else spell(state) + b"b"
            return spell(Named(module, name)) + spell(arguments) + b"R" + built
        case Stored(identity):
            return spell(identity) + b"Q"
        case tuple():
            return b"(" + b"".join(map(spell, thing)) + b"t"
        case list():
            return b"](" + b"".join(map(spell, thing)) + b"e"
        case dict():
            items = b"".join(spell(key) + spell(value) for key, value in thing.items())
            return b"}(" + items + b"u"
        case str():
            return text(thing)
        case _:
            return pickle.dumps(thing, 2)[2:-1]


def pickled(thing: object) -> bytes:
    return b"\x80\x02" + spell(thing) + b"."


def storage(key: str, size: int, kind: str = "Float", *view: object) -> Stored:
    of = Named("torch", f"{kind}Storage")
    return Stored(("storage", of, key, "cpu", size, *view))


def tensor(
    key: str,
    shape: tuple,
    stride: tuple | None = None,
    offset: int = 0,
    size: int | None = None,
    kind: str = "Float",
) -> Call:
    """What torch.save makes of a tensor; `size` is that of its storage."""
    if stride is None:
        stride = tuple(int(np.prod(shape[i + 1 :])) for i in range(len(shape)))
    size = int(np.prod(shape)) if size is None else size
    arguments = (storage(key, size, kind), offset, shape, stride, False, None)
    return Call("torch._utils", "_rebuild_tensor_v2", arguments)


def write_zip(
    path: Path,
    root: object,
    storages: dict[str, bytes] | None = None,
    packing: int = zipfile.ZIP_STORED,
    **records: bytes,
) -> str:
    """Write an archive as torch.save does; `root` may be the bytes of its pickle."""
    with zipfile.ZipFile(path, "w", packing) as archive:
        content = root if isinstance(root, bytes) else pickled(root)
        archive.writestr("archive/data.pkl", content)
        for key, data in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", data)
        for name, data in records.items():
            archive.writestr(f"archive/{name.replace('__', '.')}", data)
    return str(path)


def write_legacy(
    path: Path, root: object, storages: dict[str, tuple[int, bytes]], cut: int = 0
) -> str:
    """Write a stream as PyTorch before 1.6 did: each storage is its size and its bytes."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    heads = b"".join(map(pickled, (MAGIC, 1001, system)))
    tail = b"".join(struct.pack("<q", size) + data for size, data in storages.values())
    whole = heads + pickled(root) + pickled(list(storages)) + tail
    path.write_bytes(whole[: len(whole) - cut])
    return str(path)


def zeros(count: int, width: int = 4) -> bytes:
    return bytes(count * width)
