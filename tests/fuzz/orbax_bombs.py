"""Bombs of Orbax: documents, chunks and databases that claim, or unfold into, far more than they are."""

import base64
import json
import struct
from collections.abc import Callable
from pathlib import Path

from tests.formats.test_hostile_shapes import orbax
from tests.fuzz import orbax_files
from tests.fuzz.orbax_seeds import crc32c

__all__ = ["ORBAX_BOMBS"]


def orbax_sharding(folder: Path) -> Path:
    """A mesh with one axis of 4,000 digits over which an array is split again and again."""
    path = orbax(folder / "o")
    named = {
        "sharding_type": "NamedSharding",
        "shape": [int("9" * 18)] * 3,
        "axis_names": ["a", "b", "c"],
        "partition_spec": [["a", "b", "c"] * 100_000],
    }
    key = base64.b64encode(b"w").decode()
    (path / "_sharding").write_text(json.dumps({key: json.dumps(named)}))
    return path


def orbax_of_nothing(folder: Path) -> Path:
    return orbax(folder / "o", chunks=[4, 1 << 31])


def orbax_zeros(folder: Path) -> Path:
    return orbax(folder / "o", shape=[1_000_000, 1_000_000], chunks=[1000, 1000])


def orbax_zstd(folder: Path) -> Path:
    """A chunk that unfolds into a quarter of a gigabyte, and should be of 64 bytes."""
    return orbax_files.zarr2(folder / "o", orbax_files.ZSTD, shape=[64], chunks=[64])


def orbax_blosc(folder: Path) -> Path:
    return orbax_files.zarr2(folder / "o", orbax_files.BLOSC, shape=[64], chunks=[64])


def orbax_blosc_in_gzip(folder: Path) -> Path:
    settings = {"cname": "lz4", "clevel": 5, "shuffle": "noshuffle", "blocksize": 0}
    blosc = {"name": "blosc", "configuration": settings | {"typesize": 1}}
    gzip = {"name": "gzip", "configuration": {"level": 6}}
    grid = {"name": "regular", "configuration": {"chunk_shape": [64]}}
    return orbax_files.zarr3(folder / "o", [blosc, gzip], shape=[64], chunk_grid=grid)


def orbax_manifest(folder: Path) -> Path:
    """The manifest of a database, of a quarter of a gigabyte of zeros when unpacked."""
    path = orbax_files.zarr2(folder / "o", orbax_files.ZSTD)
    zeros = (path / "w/0").read_bytes()
    orbax_files.tree(path, ocdbt=True)
    raw = b"\x0c\xdb:*" + struct.pack("<Q", len(zeros) + 18) + b"\0\1" + zeros
    (path / "manifest.ocdbt").write_bytes(raw + struct.pack("<I", crc32c(raw)))
    return path


def orbax_chunks(folder: Path) -> Path:
    """A million chunks of one byte, none of which is there."""
    return orbax(folder / "o", shape=[1 << 20], chunks=[1], dtype="|u1")


def orbax_chunks_in_chunks(folder: Path) -> Path:
    path = orbax_files.zarr3(folder / "o", [orbax_files.sharded(1)], 1 << 20)
    for chunk in (path / "w/c").iterdir():
        chunk.unlink()
    return path


def orbax_large_chunk(folder: Path) -> Path:
    """Zeros: one chunk of a quarter of a gigabyte, which is decoded beside its array."""
    return orbax_files.zarr2(folder / "o", orbax_files.ZSTD)


def orbax_large_chunks_in_a_chunk(folder: Path) -> Path:
    zstd = {"name": "zstd", "configuration": {"level": 1}}
    inner = orbax_files.sharded(orbax_files.ZEROS // 2, zstd)
    return orbax_files.zarr3(folder / "o", [inner])


ORBAX_BOMBS: dict[str, Callable[[Path], Path]] = {
    build.__name__: build
    for build in (
        orbax_sharding,
        orbax_of_nothing,
        orbax_zeros,
        orbax_zstd,
        orbax_blosc,
        orbax_blosc_in_gzip,
        orbax_manifest,
        orbax_chunks,
        orbax_chunks_in_chunks,
        orbax_large_chunk,
        orbax_large_chunks_in_a_chunk,
    )
}
