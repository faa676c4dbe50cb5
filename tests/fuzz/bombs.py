"""Small files that claim, or unfold into, far more than they are: one function a kind.

Each writes one file, or one folder, in a folder and returns its path.
"""

import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgpack

from tests.fuzz.orbax_bombs import ORBAX_BOMBS
from tests.fuzz.pickle_bombs import PICKLE_BOMBS

__all__ = ["BOMBS"]

MB = 1 << 20
_DEFLATED = zipfile.ZIP_DEFLATED
_EMPTY = zipfile.ZIP_STORED


def _put(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _repeat(unit: bytes, size: int) -> bytes:
    return unit * (size // len(unit))


def npz_of_zeros(folder: Path) -> Path:
    """One megabyte that inflates to a gigabyte."""
    size = 1 << 30
    header = _npy_header(f"({size},)", "|u1")
    path = folder / "a.npz"
    with (
        zipfile.ZipFile(path, "w", _DEFLATED) as archive,
        archive.open("w.npy", "w") as out,
    ):
        out.write(header)
        for _ in range(1024):
            out.write(bytes(MB))
    return path


def _npy_header(shape: str, descr: str = "<f4") -> bytes:
    literal = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(literal)) + literal


def npz_of_headers(folder: Path) -> Path:
    """Members whose headers are long literals, which deflate to little."""
    path = folder / "a.npz"
    with zipfile.ZipFile(path, "w", _DEFLATED) as archive:
        for i in range(6_000):
            shape = "(" + "0," * 60 + ")"
            literal = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, 'x': [{'1,' * 4800}{i}]}}"
            raw = literal.encode()
            head = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(raw)) + raw
            archive.writestr(f"{i}.npy", head)
    return path


def npy_of_many(folder: Path) -> Path:
    unit = _npy_header("(0,)", "<f4")
    return _put(folder / "a.eqx", _repeat(unit, 4 * MB))


def msgpack_numbers(folder: Path) -> Path:
    count = 2 * MB
    return _put(
        folder / "a.msgpack", b"\x81\xa1a\xdd" + struct.pack(">I", count) + b"\x01" * count
    )


def msgpack_names(folder: Path) -> Path:
    count = 400_000
    items = b"".join(msgpack.packb(f"{i:x}") + b"\xc0" for i in range(count))
    return _put(folder / "a.msgpack", b"\xdf" + struct.pack(">I", count) + items)


def safetensors_extra(folder: Path) -> Path:
    raw = (
        '{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0],"x":[' + "[]," * MB + "[]]}}"
    )
    return _put(folder / "a.safetensors", struct.pack("<Q", len(raw)) + raw.encode())


def safetensors_scalars(folder: Path) -> Path:
    entry = '"%x":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    raw = "{" + ",".join(entry % i for i in range(80_000)) + "}"
    return _put(folder / "a.safetensors", struct.pack("<Q", len(raw)) + raw.encode())


def safetensors_spaced(folder: Path) -> Path:
    entry = '"%x": {"dtype":"F32","shape":[0,%d,%d],"data_offsets":[0,0]}'
    raw = "{" + ",".join(entry % (i, i + 1, 1 << 40) for i in range(40_000)) + "}"
    return _put(folder / "a.safetensors", struct.pack("<Q", len(raw)) + raw.encode())


def safetensors_ranks(folder: Path) -> Path:
    shape = ",".join(["18446744073709551615"] * 100_000)
    raw = '{"a": {"dtype":"F32","shape":[' + shape + '],"data_offsets":[0,4]}}'
    return _put(
        folder / "a.safetensors", struct.pack("<Q", len(raw)) + raw.encode() + bytes(4)
    )


def safetensors_depth(folder: Path) -> Path:
    """One name of half a million parts, each of them a level of the tree that is shown."""
    raw = b'{"' + b"a." * (MB // 2) + b'":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'
    return _put(folder / "a.safetensors", struct.pack("<Q", len(raw)) + raw)


def gguf_scalars(folder: Path) -> Path:
    count = 60_000
    rows = b"".join(
        struct.pack("<Q", 5) + b"%05x" % i + struct.pack("<IQIQ", 1, 1, 0, 32 * i)
        for i in range(count)
    )
    raw = b"GGUF" + struct.pack("<IQQ", 3, count, 0) + rows
    raw += bytes(-len(raw) % 32)
    return _put(folder / "a.gguf", raw + bytes(32 * count))


def gguf_texts(folder: Path) -> Path:
    count = 500_000
    value = struct.pack("<IIQ", 9, 8, count) + struct.pack("<Q", 0) * count
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"a"
    return _put(folder / "a.gguf", head + value)


def zip_of_names(folder: Path) -> Path:
    path = folder / "a.npz"
    with zipfile.ZipFile(path, "w", _EMPTY) as archive:
        for i in range(20_000):
            archive.writestr(f"{i}.txt", b"")
    return path


def index_of_shards(folder: Path) -> Path:
    shard = folder / "a.safetensors"
    safetensors_scalars(folder)
    names = {f"{i:x}": shard.name for i in range(80_000)}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": names}))
    return index


BOMBS: dict[str, Callable[[Path], Path]] = {
    **ORBAX_BOMBS,
    **PICKLE_BOMBS,
    **{
        build.__name__: build
        for build in (
            npz_of_zeros,
            npz_of_headers,
            npy_of_many,
            msgpack_numbers,
            msgpack_names,
            safetensors_extra,
            safetensors_scalars,
            safetensors_spaced,
            safetensors_ranks,
            safetensors_depth,
            gguf_scalars,
            gguf_texts,
            zip_of_names,
            index_of_shards,
        )
    },
}
