"""Orbax arrays whose chunks are far larger than their files: the values that tensorstore wrote."""

import re
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tensorstore

import explorer as ex
from explorer.errors import FormatError
from explorer.formats.orbax import large_chunks
from tests.fuzz import orbax_files

ZSTD3 = {"name": "zstd", "configuration": {"level": 1, "checksum": False}}
REGULAR = {"name": "regular", "configuration": {"chunk_shape": [300, 7, 20000]}}


def sparse(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    """Zeros with a number of its own in each 4096th place: dense enough to see a wrong order."""
    array = np.zeros(shape, dtype)
    some = array.reshape(-1)[::4096]
    some[:] = np.arange(len(some)) % 199 + 1
    return array


def written(folder: Path, array: np.ndarray, driver: str = "zarr", **metadata: Any) -> str:
    """Have tensorstore write an array, as the one leaf of a tree."""
    metadata["shape"] = list(array.shape)
    base: dict[str, Any] = {"driver": "file", "path": f"{folder}/"}
    is_database = metadata.pop("ocdbt", False)
    kvstore = {"driver": "ocdbt", "base": base, "path": "w/"}
    if not is_database:
        kvstore = {**base, "path": f"{folder}/w/"}
    spec = {"driver": driver, "kvstore": kvstore, "metadata": metadata}
    tensorstore.open(spec, create=True).result().write(array).result()
    orbax_files.tree(folder, ocdbt=is_database, zarr3=driver == "zarr3")
    return str(folder)


@pytest.mark.parametrize(
    ("array", "settings"),
    [
        (sparse(6 << 20), {"dtype": "<f4", "chunks": [6 << 20]}),
        (sparse(15 << 20), {"dtype": "<f4", "chunks": [6 << 20]}),  # the last is cut
        (
            sparse(300, 7, 20000, dtype=ml_dtypes.bfloat16),
            {"dtype": "bfloat16", "chunks": [300, 7, 20000], "order": "F"},
        ),
        (sparse(3, 9 << 20), {"dtype": "<f4", "chunks": [1, 9 << 20], "ocdbt": True}),
    ],
    ids=["one chunk", "three chunks", "columns first", "database"],
)
def test_zarr2(tmp_path: Path, array: np.ndarray, settings: dict, monkeypatch: Any):
    path = written(tmp_path / "o", array, compressor=orbax_files.ZSTD, **settings)
    seen = watched(monkeypatch)
    np.testing.assert_array_equal(ex.load(path)["w"], array)
    assert seen == [array.nbytes]


@pytest.mark.parametrize(
    "codecs",
    [
        [{"name": "bytes"}, ZSTD3],
        [{"name": "transpose", "configuration": {"order": [2, 0, 1]}}, {"name": "bytes"}, ZSTD3],
    ],
    ids=["rows first", "transposed"],
)  # fmt: skip
def test_zarr3(tmp_path: Path, codecs: list, monkeypatch: Any):
    array = sparse(300, 7, 20000)
    settings = {"data_type": "float32", "chunk_grid": REGULAR, "codecs": codecs}
    path = written(tmp_path / "o", array, "zarr3", **settings)
    seen = watched(monkeypatch)
    np.testing.assert_array_equal(ex.load(path)["w"], array)
    assert seen == [array.nbytes]


@pytest.mark.parametrize(("inner", "is_large"), [(1 << 25, True), (1 << 20, False)])
def test_chunks_in_chunks(tmp_path: Path, inner: int, is_large: bool, monkeypatch: Any):
    """tensorstore decodes the inner chunks one by one: they are what is large."""
    array = sparse(1 << 26, dtype=np.uint8)
    grid = {"name": "regular", "configuration": {"chunk_shape": [1 << 26]}}
    codecs = [orbax_files.sharded(inner, ZSTD3)]
    settings = {"data_type": "uint8", "chunk_grid": grid, "codecs": codecs}
    path = written(tmp_path / "o", array, "zarr3", **settings)
    seen = watched(monkeypatch)
    np.testing.assert_array_equal(ex.load(path)["w"], array)
    assert seen == [array.nbytes] * is_large


def test_chunks_that_no_piece_makes_small(tmp_path: Path):
    """Far copies, which zstd finds and zlib does not."""
    block = np.random.default_rng(0).integers(0, 256, 99_991, dtype=np.uint8)
    array = np.resize(block, 1 << 26)
    settings = {"dtype": "|u1", "chunks": [1 << 26], "compressor": orbax_files.ZSTD}
    path = written(tmp_path / "o", array, **settings)
    with pytest.raises(FormatError) as caught:
        ex.load(path)
    assert re.sub(r"files together have [\d,]+", "F", str(caught.value)) == (
        f"{path}: a chunk of array 'w' has 67,108,864 bytes; all F; expected chunks that fit in "
        "memory beside their array; select other tensors, or save it again in smaller chunks"
    )


def test_a_missing_chunk(tmp_path: Path):
    path = written(
        tmp_path / "o",
        sparse(15 << 20),
        dtype="<f4",
        chunks=[6 << 20],
        compressor=orbax_files.ZSTD,
    )
    (tmp_path / "o/w/1").unlink()
    loaded = ex.load(path)["w"]  # a tree without `is_complete`: what is missing is zeros
    np.testing.assert_array_equal(loaded[6 << 20 : 12 << 20], np.zeros(6 << 20, np.float32))
    np.testing.assert_array_equal(loaded[12 << 20 :], sparse(15 << 20)[12 << 20 :])


def watched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes of the arrays that are read by packed chunks, as they are read."""
    seen: list[int] = []
    read_packed = large_chunks.read_packed

    def seeing(*arguments: Any) -> np.ndarray:
        found = read_packed(*arguments)
        seen.append(found.nbytes)
        return found

    monkeypatch.setattr("explorer.formats.orbax.store.read_packed", seeing)
    return seen
