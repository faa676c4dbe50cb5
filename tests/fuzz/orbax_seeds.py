"""Seeds of Orbax: documents with their chunks, and databases whose checksums fit what is changed.

tensorstore starts threads, which a fork does not have: a child writes the files.
"""

import os
import struct
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from tests.fuzz import orbax_files
from tests.fuzz.cutting import Seed, tokens, words
from tests.fuzz.folder_seeds import folder_of, marked

__all__ = ["ORBAX"]


def _files(write: Callable[[Path], Any]) -> dict[str, bytes]:
    """Return the files of a folder that a child writes."""
    with tempfile.TemporaryDirectory() as place:
        child = os.fork()
        if child == 0:
            try:
                write(Path(place))
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        paths = sorted(path for path in Path(place).rglob("*") if path.is_file())
        return {str(path.relative_to(place)): path.read_bytes() for path in paths}


def _cut(files: dict[str, bytes]) -> Seed:
    """JSON is cut into tokens, chunks into words."""
    return folder_of(
        marked(
            {
                name: tokens(raw) if raw.startswith(b"{") else words(raw)
                for name, raw in files.items()
            }
        )
    )


def _chunks() -> Seed:
    return _cut(_files(lambda path: orbax_files.zarr2(path, orbax_files.ZSTD, 64)))


def _blosc() -> Seed:
    return _cut(_files(lambda path: orbax_files.zarr2(path, orbax_files.BLOSC, 64)))


def _sharded() -> Seed:
    zstd = {"name": "zstd", "configuration": {"level": 1}}
    codecs = [orbax_files.sharded(16, zstd)]
    return _cut(_files(lambda path: orbax_files.zarr3(path, codecs, 64)))


def _ocdbt() -> Seed:
    """A manifest and its nodes, not compressed, with the values in them."""
    files = _files(orbax_files.database)
    nodes = {name for name in files if name == "manifest.ocdbt" or name.startswith("d/")}
    parts = {
        name: words(raw[13:-4], 1) if name in nodes else tokens(raw)
        for name, raw in files.items()
    }
    frames = {name: _checked(files[name][:4]) for name in nodes}
    return folder_of(marked(parts), frames)


def _checked(magic: bytes) -> Callable[[bytes], bytes]:
    """Return the frame of a node: magic, length and version before it, a checksum behind it."""

    def frame(body: bytes) -> bytes:
        raw = magic + struct.pack("<Q", len(body) + 17) + b"\0" + body
        return raw + struct.pack("<I", crc32c(raw))

    return frame


@cache
def _table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


def crc32c(raw: bytes) -> int:
    """Return the checksum of Castagnoli.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    table, value = _table(), 0xFFFFFFFF
    for byte in raw:
        value = table[(value ^ byte) & 0xFF] ^ value >> 8
    return value ^ 0xFFFFFFFF


ORBAX: dict[str, Callable[[], Seed]] = {
    "orbax chunks": _chunks,
    "orbax blosc": _blosc,
    "orbax sharded": _sharded,
    "orbax database": _ocdbt,
}
