"""Folders: shards and their index, single files, and what is wrong with them."""

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import explorer as ex
from explorer.errors import FormatError, InputError, TargetError
from explorer.formats import safetensors
from explorer.storage import local
from tests.checkpoints import Layout, write_folder, write_sharded, write_sparse

LAYOUT: Layout = {f"layers.{i}.mlp.weight": ((4, 4), "BF16") for i in range(10)}


def test_shards_are_one_model(tmp_path: Path):
    folder = write_sharded(tmp_path / "m", LAYOUT, 3)
    inventory = ex.explore(folder)
    assert {tensor.key for tensor in inventory} == set(LAYOUT)
    assert inventory.files == 3
    assert inventory.file_bytes == sum(
        f.stat().st_size for f in folder.glob("*.safetensors")
    )
    assert not inventory.remarks
    index = folder / "model.safetensors.index.json"
    assert ex.explore(index).num_parameters == inventory.num_parameters


def test_claims_of_the_index_are_verified(tmp_path: Path):
    folder = write_sharded(tmp_path / "m", LAYOUT, 3)
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["metadata"]["total_size"] = 999
    del index["weight_map"]["layers.0.mlp.weight"]
    path.write_text(json.dumps(index))
    notes = ex.ledger(folder).notes
    assert "the index claims 999 bytes of tensors; the headers hold 320" in notes
    assert "1 tensor is not in the index" in notes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": "../../etc/passwd"}, "names shard '../../etc/passwd', outside its folder"),
        ({"x": "/etc/passwd"}, "names shard '/etc/passwd', outside its folder"),
        ({"x": ".."}, "names shard '..', outside its folder"),
        ({"x": "gone.safetensors"}, "names shard 'gone.safetensors', which is missing"),
        (
            {"x": "model-00001-of-00003.safetensors"},
            "promises tensor 'x' (1 in all), which no",
        ),
        ({"x": 3}, "is not a shard index"),
    ],
)
def test_bad_index(tmp_path: Path, change: dict, message: str):
    folder = write_sharded(tmp_path / "m", LAYOUT, 3)
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"] |= change
    path.write_text(json.dumps(index))
    with pytest.raises(FormatError) as error:
        ex.explore(folder)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"weight_map": []}', "[" * 100_000, "\xff"]
)
def test_broken_index(tmp_path: Path, text: str):
    folder = write_sharded(tmp_path / "m", LAYOUT, 3)
    (folder / "model.safetensors.index.json").write_text(text, encoding="latin-1")
    with pytest.raises(FormatError, match="is not a shard index"):
        ex.explore(folder)


def test_a_tensor_in_two_shards(tmp_path: Path):
    folder = write_sharded(tmp_path / "m", LAYOUT, 2)
    write_sparse(folder / "model-00002-of-00002.safetensors", LAYOUT)
    with pytest.raises(FormatError, match=r"tensor 'layers.0.mlp.weight' is in two shards"):
        ex.explore(folder)


def test_shards_without_an_index(tmp_path: Path):
    folder = write_sharded(tmp_path / "m", LAYOUT, 3)
    (folder / "model.safetensors.index.json").unlink()
    assert ex.explore(folder).num_tensors == 10
    (folder / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(
        FormatError, match="2 shards named -of-00003; expected 3; fetch the miss"
    ):
        ex.explore(folder)


def test_which_file_of_a_folder_is_read(tmp_path: Path):
    folder = write_folder(tmp_path / "m", LAYOUT)
    write_sparse(folder / "model.fp16.safetensors", {"x": ((1,), "F16")})
    inventory = ex.explore(folder)
    assert inventory.num_tensors == 10
    assert inventory.remarks == ("model.safetensors was read; not model.fp16.safetensors",)
    (folder / "model.safetensors").rename(folder / "other.safetensors")
    with pytest.raises(TargetError, match=r"holds 2 \.safetensors files and no index"):
        ex.explore(folder)


def test_the_content_decides_not_the_name(tmp_path: Path):
    for name in ("weights", "weights.bin", "weights.gguf"):
        path = write_sparse(tmp_path / name, LAYOUT)
        assert ex.explore(path).source == "safetensors"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "config.json: is not JSON"),
        ("[1]", "config.json: is not a JSON object"),
        ('{"tie_word_embeddings": "yes"}', "tie_word_embeddings is str; expected bool"),
        ('{"quantization_config": 3}', "quantization_config is int; expected dict"),
    ],
)
def test_bad_config_beside_the_weights(tmp_path: Path, config: str, message: str):
    folder = write_folder(tmp_path / "m", LAYOUT)
    (folder / "config.json").write_text(config)
    with pytest.raises(FormatError) as error:
        ex.explore(folder)
    assert message in str(error.value)


def test_a_config_of_python_may_hold_infinity(tmp_path: Path):
    folder = write_folder(tmp_path / "m", LAYOUT)
    (folder / "config.json").write_text('{"time_step_limit": [0.0, Infinity]}')
    assert ex.explore(folder).num_tensors == 10


def test_shards_may_be_links_into_a_cache(tmp_path: Path):
    """As the Hub's cache has them: snapshots/REVISION/FILE -> ../../blobs/HASH."""
    folder = write_sharded(tmp_path / "blobs", LAYOUT, 3)
    snapshot = tmp_path / "snapshots" / "main"
    snapshot.mkdir(parents=True)
    for number, file in enumerate(list(folder.iterdir())):
        blob = file.rename(folder / f"{number}")
        (snapshot / file.name).symlink_to(Path("../../blobs", blob.name))
    assert ex.explore(snapshot).num_tensors == 10


def test_an_index_without_totals(tmp_path: Path):
    folder = write_sharded(tmp_path / "m", LAYOUT, 3)
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    for metadata in (None, {}, {"total_size": "unknown", "more": [[]]}):
        path.write_text(json.dumps(index | {"metadata": metadata}))
        assert not ex.explore(folder).remarks


def test_one_byte_is_not_msgpack(tmp_path: Path):
    (tmp_path / "x.pt").write_bytes(b"\x80")
    with pytest.raises(FormatError, match="its pickle"):
        ex.explore(tmp_path / "x.pt")


def test_a_folder_that_may_not_be_searched(tmp_path: Path, monkeypatch):
    def lstat(path: str):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "lstat", lstat)
    with pytest.raises(TargetError, match="x: cannot be read: Permission denied"):
        ex.explore("x")


def test_a_disk_that_fails_while_it_is_read(tmp_path: Path, monkeypatch):
    class FailingFile(io.FileIO):
        def read(self, count: int | None = -1) -> bytes:
            raise OSError(5, "Input/output error")

    folder = write_folder(tmp_path / "m", LAYOUT)
    monkeypatch.setattr(local, "open_regular", FailingFile)
    with pytest.raises(TargetError, match="cannot be read: Input/output error"):
        ex.explore(folder)


def test_load_nests_maps_and_selects(tmp_path: Path):
    arrays = {
        "a.weight": np.arange(6.0).reshape(2, 3),
        "a.bias": np.ones(3),
        "b": np.zeros(2),
    }
    save_file(arrays, str(tmp_path / "model.safetensors"))
    tree = ex.load(tmp_path)
    np.testing.assert_array_equal(tree["a"]["weight"], arrays["a.weight"])
    assert set(tree) == {"a", "b"}
    assert isinstance(tree["b"], np.memmap)  # only what is used is read
    assert set(ex.load(tmp_path, "a/**")) == {"a"}
    with pytest.raises(InputError, match="no tensor matches 'zzz'"):
        ex.load(tmp_path, "zzz")


def test_load_refuses_a_path_through_a_tensor(tmp_path: Path):
    save_file({"a": np.ones(1), "a.b": np.ones(1)}, str(tmp_path / "model.safetensors"))
    assert ex.explore(tmp_path).num_tensors == 2
    with pytest.raises(InputError, match=r"a\.b runs through another tensor's path"):
        ex.load(tmp_path)


def test_nothing_of_the_users_changes(tmp_path: Path):
    folder = write_sharded(tmp_path / "m", LAYOUT, 3)
    before = {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in folder.iterdir()}
    ex.explore(folder)
    ex.load(folder)
    assert {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in folder.iterdir()} == before
    assert sorted(os.listdir(folder)) == sorted(p.name for p in before)


def test_shards_of_numbered_rows_join_as_those_of_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    layout: Layout = {f"h.{i}.up.weight": ((4, i % 3), "BF16") for i in range(20)}
    layout |= {f"h.{i}.norm.weight": ((4,), "F32") for i in range(20)}
    folder = write_sharded(tmp_path / "m", layout, 3)
    inventory = ex.explore(folder)
    shapes = {tensor.key: tensor.shape for tensor in inventory}
    assert shapes == {name: shape for name, (shape, _) in layout.items()}
    monkeypatch.setattr(safetensors, "read_columns", lambda *_: None)
    assert ex.explore(folder) == inventory


def test_an_index_in_any_order_names_the_same_tensors(tmp_path: Path):
    layout: Layout = {f"h.{i}.up.weight": ((4, i % 7), "BF16") for i in range(300)}
    layout |= {f"norm.{'x' * i}": ((i + 1,), "F32") for i in range(300)}  # 300 patterns
    folder = write_sharded(tmp_path / "m", layout, 3)
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    inventory = ex.explore(folder)
    shapes = {tensor.key: tensor.shape for tensor in inventory}
    assert shapes == {name: shape for name, (shape, _) in layout.items()}
    for order in (sorted, reversed, lambda names: sorted(names, key=hash)):
        index["weight_map"] = {n: index["weight_map"][n] for n in order([*layout])}
        path.write_text(json.dumps(index, indent=2))
        assert ex.explore(folder) == inventory


@pytest.mark.parametrize("indexed", ["a.0", "a.1"])
def test_a_key_given_twice_in_a_shard_is_refused_with_an_index_too(
    tmp_path: Path, indexed: str
):
    folder = write_sharded(tmp_path / "m", {"a.0": ((1,), "F32"), "a.1": ((1,), "F32")}, 1)
    [shard] = folder.glob("*.safetensors")
    shard.write_bytes(shard.read_bytes().replace(b"a.1", b"a.0"))
    index = {"metadata": {}, "weight_map": {indexed: shard.name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(FormatError, match=r"key 'a\.0' is given twice"):
        ex.explore(folder)
