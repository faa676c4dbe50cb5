"""Readers take bytes from any store: the answers are those of the disk, and headers suffice."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from explorer.errors import ExplorerError, TargetError
from explorer.formats import orbax
from explorer.formats.files import is_config, list_path, load_path
from explorer.formats.orbax.folders import find_trees
from explorer.formats.orbax.metadata import read_key_formats, read_shardings, read_tree
from tests.formats.large_files import NBYTES, write_every_format
from tests.formats.stores import CountingStore, MemoryStore

TORCH = Path(__file__).parents[1] / "data/pytorch"
DOCUMENT = Path(__file__).parents[2] / "docs/storage.md"
FORMATS = (
    "safetensors",
    "safetensors, 4 shards",
    "GGUF",
    "PyTorch zip",
    "PyTorch legacy",
    "TorchScript",
    ".npy",
    ".npz",
    "Flax msgpack",
)
ORBAX = "Orbax (its JSON)"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_every_format(tmp_path_factory.mktemp("formats"))


@pytest.fixture(scope="module")
def counted(written: dict[str, Path]) -> dict[str, tuple[list[int], int]]:
    """The bytes of each read of every format, and the bytes of its files."""
    found = {}
    for name, path in written.items():
        store = CountingStore()
        listing = list_path(str(path), store)
        assert listing == list_path(str(path))
        assert sum(listing.nbytes) == 16 * NBYTES
        found[name] = store.reads, listing.file_bytes
    return found


# Only headers are read


def test_only_headers_are_read(counted: dict[str, tuple[list[int], int]]):
    for name, (reads, file_bytes) in counted.items():
        assert sum(reads) < 0.01 * file_bytes, name
        assert len(reads) <= 40, name


def test_what_is_read_is_written_down(counted: dict[str, tuple[list[int], int]]):
    rows = [
        f"| {name} | {len(reads)} | {sum(reads) / 1000:.1f} kB "
        f"| {sum(reads) / file_bytes:.2%} |\n"
        for name, (reads, file_bytes) in counted.items()
        if name != ORBAX
    ]
    table = re.findall(r"^\| .*\n", DOCUMENT.read_text(), re.MULTILINE)
    assert "".join(table[2:]) == "".join(rows), "the table in docs/storage.md is old"


def test_a_value_costs_its_own_bytes(written: dict[str, Path]):
    for name in FORMATS:
        path = str(written[name])
        store, key = CountingStore(), list_path(path).keys[3 if name != ".npy" else 0]
        (array,) = load_path(path, lambda other, key=key: other == key, store).values()
        np.testing.assert_array_equal(array, load_path(path, lambda _: True)[key])
        assert sum(store.reads) < array.nbytes + 400_000, name


# Other stores


@pytest.mark.parametrize("name", FORMATS)
def test_memory_and_disk_give_the_same(written: dict[str, Path], name: str):
    path = str(written[name])
    folder = written[name] if written[name].is_dir() else written[name].parent
    memory = MemoryStore.of(folder)
    assert list_path(path, memory) == list_path(path)
    assert is_config(path, memory) == is_config(path)
    arrays = load_path(path, lambda _: True, memory)
    for key, array in load_path(path, lambda _: True).items():
        np.testing.assert_array_equal(arrays[key], array)
        assert arrays[key].dtype == array.dtype
        assert arrays[key].flags.writeable == array.flags.writeable


@pytest.mark.parametrize(
    "path", sorted(p for p in TORCH.iterdir() if p.suffix not in (".py", ".json"))
)
def test_memory_and_disk_give_the_same_of_what_torch_wrote(path: Path):
    memory = MemoryStore.of(TORCH)
    try:
        listing = list_path(str(path))
    except ExplorerError as error:
        with pytest.raises(type(error), match=re.escape(str(error))):
            list_path(str(path), memory)
        return
    assert list_path(str(path), memory) == listing


def test_arrays_inside_a_pickle_are_not_read(tmp_path: Path):
    path = tmp_path / "arrays.pkl"
    array = np.arange(100_000, dtype=np.int64)
    path.write_bytes(pickle.dumps({"array": array, "word": "é" * 5000}, protocol=4))
    store = CountingStore()
    assert list_path(str(path), store) == list_path(str(path))
    assert sum(store.reads) < 30_000
    (found,) = load_path(str(path), lambda _: True, store).values()
    np.testing.assert_array_equal(found, array)


def test_orbax_metadata_in_memory(written: dict[str, Path]):
    path, memory = str(written[ORBAX]), MemoryStore.of(written[ORBAX])
    assert orbax.detect(path, memory)
    assert find_trees(path, memory) == find_trees(path)
    for read in (read_tree, read_key_formats, read_shardings):
        assert read(path, memory) == read(path)
    with pytest.raises(TargetError, match="is not on a disk of this machine; expected a"):
        list_path(path, memory)


def test_what_memory_lacks(tmp_path: Path):
    memory = MemoryStore({"a/x.safetensors": b"", "b/notes.txt": b"hello"})
    for path, message in (
        ("none", "none: is not in memory"),
        ("a", "a/x.safetensors: is empty"),
        ("b", r"b: holds no weights that explorer knows \(notes.txt\)"),
    ):
        with pytest.raises(ExplorerError, match=message):
            list_path(path, memory)
