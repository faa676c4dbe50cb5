"""The disk as a store: files that change while they are read, and what stores have in common."""

import os
from pathlib import Path

import pytest

from explorer.errors import FormatError
from explorer.storage.local import LOCAL
from tests.formats.stores import MemoryStore


def test_a_file_that_is_cut_while_it_is_read(tmp_path: Path):
    path = tmp_path / "x"
    path.write_bytes(bytes(100_000))
    with LOCAL.blob(str(path)) as blob:
        os.truncate(path, 10)
        with pytest.raises(FormatError) as error:
            blob.read(50_000, 1000)
    assert str(error.value) == (
        f"{path}: was cut to fewer than 51,000 bytes while it was read; expected 100,000 "
        "bytes; fetch or write it again"
    )


def test_arrays_outlive_the_file_and_never_change_it(tmp_path: Path):
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    with LOCAL.blob(str(path)) as blob:
        mapped, copied = blob.map(), blob.map(copy_on_write=True)
    copied[1] = 0
    assert (copied[:], mapped[:], path.read_bytes()) == (b"a\0c", b"abc", b"abc")


def test_defaults_of_a_store_are_what_the_disk_does(tmp_path: Path):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/one").write_bytes(b"1")
    (tmp_path / "a/b/two").write_bytes(b"22")
    memory, folder = MemoryStore.of(tmp_path), str(tmp_path)
    for store in (memory, LOCAL):
        assert store.names(f"{folder}/a") == ["b", "one"]
        assert store.folders(f"{folder}/a") == ["b"]
        assert sorted(store.sizes(folder)) == [1, 2]
        assert store.exists(f"{folder}/a")
        assert not store.exists(f"{folder}/c")
