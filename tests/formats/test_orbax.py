"""Orbax folders: JAX and Orbax wrote them from eight devices, and say what is in them."""

import base64
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from explorer.errors import ExplorerError, FormatError, MissingPackageError, TargetError
from explorer.formats import orbax

LAYOUTS = ("folders_zarr2", "folders_zarr3", "ocdbt_zarr2", "ocdbt_zarr3")
ALONE = (*LAYOUTS, "train_state", "steps")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("orbax")
    script = Path(__file__).with_name("write_orbax.py")
    subprocess.run(
        [sys.executable, str(script), str(folder)], check=True, capture_output=True
    )
    return folder


@pytest.fixture(scope="module")
def oracle(written):
    return json.loads((written / "oracle.json").read_text())


@pytest.fixture
def copy(written, tmp_path):
    """Return a function that copies one checkpoint to where it may be broken."""

    def copied(label: str) -> Path:
        return Path(shutil.copytree(written / label, tmp_path / label))

    return copied


def by_name(listing):
    return {
        "/".join(key): [list(shape), dtype]
        for key, shape, dtype in zip(
            listing.keys, listing.shapes, listing.dtypes, strict=True
        )
    }


@pytest.mark.parametrize("label", ALONE)
def test_lists_what_the_tree_had(written, oracle, label):
    assert by_name(orbax.read(str(written / label))) == oracle[label]["tree"]


@pytest.mark.parametrize("label", ALONE)
def test_shapes_are_those_of_orbax_metadata(written, oracle, label):
    listing = orbax.read(str(written / label))
    theirs = {k: v for k, v in oracle[label]["orbax"].items() if k != "keys"}  # key words
    ours = {name: shape for name, (shape, _) in by_name(listing).items() if name != "keys"}
    assert ours == theirs


def test_the_shape_is_the_array_and_not_its_shard(written):
    metadata = json.loads((written / "ocdbt_zarr2" / "_METADATA").read_text())
    leaf = metadata["tree_metadata"]["('sharded',)"]
    assert leaf["value_metadata"]["write_shape"] == [100, 64]  # what misleads
    listing = orbax.read(str(written / "ocdbt_zarr2"))
    assert listing.shapes[listing.keys.index(("sharded",))] == (800, 64)


@pytest.mark.parametrize("label", LAYOUTS)
def test_saved_shardings(written, label):
    shardings = orbax.read(str(written / label)).shardings
    words = {key: (value.axes, value.device_nbytes) for key, value in shardings.items()}
    mesh = "on {data: 4, model: 2}"
    assert words == {
        ("sharded",): (f"(('data', 'model'), None) {mesh}", 100 * 64 * 4),
        ("halved",): (f"(None, 'model') {mesh}", 6 * 5 * 2),
        ("everywhere",): (f"(None,) {mesh}", 3 * 4),
    }


def test_bytes_are_those_of_the_arrays(written):
    listing = orbax.read(str(written / "ocdbt_zarr2"))
    sizes = dict(zip(listing.keys, listing.nbytes, strict=True))
    assert sizes[("sharded",)] == 800 * 64 * 4
    assert sizes[("halved",)] == 6 * 10 * 2
    assert sizes[("int4",)] == 4  # two to the byte
    assert sizes[("keys",)] == 3 * 2 * 4


def test_file_bytes_are_those_on_disk(written):
    listing = orbax.read(str(written / "folders_zarr2"))
    files = [path for path in (written / "folders_zarr2").rglob("*") if path.is_file()]
    assert listing.file_bytes == sum(path.stat().st_size for path in files)
    assert listing.files == len(files)


@pytest.mark.parametrize("label", LAYOUTS)
def test_values(written, label):
    arrays = orbax.values(str(written / label), lambda key: True)
    expected = np.arange(800 * 64, dtype=np.float32).reshape(800, 64)
    np.testing.assert_array_equal(arrays[("sharded",)], expected)
    np.testing.assert_array_equal(
        arrays[("int4",)], np.arange(-4, 4).reshape(2, 4).astype(ml_dtypes.int4)
    )
    assert arrays[("halved",)].dtype == ml_dtypes.bfloat16
    assert arrays[("scalar",)] == np.float32(2.5)
    assert arrays[("keys",)].dtype == np.uint32
    assert arrays[("keys",)].shape == (3, 2)


def test_values_reads_what_is_wanted(written):
    path = str(written / "ocdbt_zarr2")
    assert list(orbax.values(path, lambda key: key[0] == "list")) == [
        ("list", "0"),
        ("list", "1", "0"),
    ]


def test_collections_of_a_train_state(written):
    listing = orbax.read(str(written / "train_state"))
    words = dict(zip(listing.keys, listing.collections, strict=True))
    assert words[("params", "kernel")] == "params"
    assert words[("opt_state", "0", "mu", "kernel")] == "opt_state"
    assert words[("opt_state", "0", "count")] == "opt_state"
    assert words[("step",)] == "state"


def test_keys_are_random_state(written):
    listing = orbax.read(str(written / "ocdbt_zarr2"))
    assert (
        dict(zip(listing.keys, listing.collections, strict=True))[("keys",)] == "rng_state"
    )


def test_the_newest_step_is_read(written):
    listing = orbax.read(str(written / "steps"))
    assert listing.remarks == ["step 12 was read, the newest of 2"]
    older = orbax.read(str(written / "steps" / "3"))
    assert by_name(older)["params/kernel"] == [[3, 2], "float32"]
    assert older.remarks == []


def test_items_are_the_first_names(written):
    listing = orbax.read(str(written / "items"))
    assert dict(zip(listing.keys, listing.collections, strict=True)) == {
        ("opt_state", "mu", "params", "w"): "opt_state",
        ("params", "cache", "w"): "params",
        ("params", "w"): "params",
        ("state", "params", "w"): "params",
        ("state", "step"): "state",
    }
    assert listing.remarks == [
        "step 5 was read, the newest of 1",
        "item config holds no arrays",
    ]
    arrays = orbax.values(str(written / "items"), lambda key: key[0] == "params")
    assert {key: array.shape for key, array in arrays.items()} == {
        ("params", "cache", "w"): (4,),
        ("params", "w"): (2, 3),
    }


def test_one_item_by_itself(written):
    listing = orbax.read(str(written / "items" / "5" / "params"))
    assert by_name(listing) == {"w": [[2, 3], "float32"], "cache/w": [[4], "float32"]}


def test_reads_without_jax_flax_and_orbax(written, oracle):
    script = """
import json, sys
class Refuse:
    def find_spec(self, name, *rest):
        if name.split(".")[0] in ("jax", "jaxlib", "flax", "orbax", "optax"):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
from explorer.formats import orbax
listing = orbax.read(sys.argv[1])
arrays = orbax.values(sys.argv[1], lambda key: True)
print(json.dumps(["/".join(key) for key in listing.keys if key in arrays]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(written / "ocdbt_zarr2")],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert set(json.loads(done.stdout)) == set(oracle["ocdbt_zarr2"]["tree"])


def test_says_what_to_install(written, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorstore", None)
    with pytest.raises(MissingPackageError, match="pip install tensorstore"):
        orbax.read(str(written / "ocdbt_zarr2"))


# which folders are Orbax's


@pytest.mark.parametrize("label", [*ALONE, "items", "items/5", "items/5/params"])
def test_detects(written, label):
    assert orbax.detect(str(written / label))


def test_does_not_detect_other_folders(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"x")
    (tmp_path / "12").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    assert not orbax.detect(str(tmp_path))
    assert not orbax.detect(str(tmp_path / "model.safetensors"))
    assert not orbax.detect(str(tmp_path / "none"))
    with pytest.raises(TargetError, match="holds no Orbax tree"):
        orbax.read(str(tmp_path))


def test_prefixed_steps(copy):
    root = copy("steps")
    (root / "12").rename(root / "step_00000012")
    (root / "3").rename(root / "step_00000003")
    assert orbax.read(str(root)).remarks == ["step 12 was read, the newest of 2"]


# saves that are not whole


def test_an_unfinished_step_is_left_out(copy):
    root = copy("steps")
    shutil.copytree(root / "12", root / "20.orbax-checkpoint-tmp-17")
    assert orbax.read(str(root)).remarks == [
        "step 12 was read, the newest of 2",
        "20.orbax-checkpoint-tmp-17 is an unfinished save: not read",
    ]


def test_an_unfinished_save(copy):
    root = copy("steps")
    (root / "12").rename(root / "12.orbax-checkpoint-tmp")
    shutil.rmtree(root / "3")
    for path in (root, root / "12.orbax-checkpoint-tmp"):
        assert orbax.detect(str(path))
        with pytest.raises(FormatError, match="is an Orbax save that did not finish; wait"):
            orbax.read(str(path))


@pytest.mark.parametrize("label", LAYOUTS)
def test_without_metadata_names_come_from_the_arrays(copy, oracle, label):
    path = copy(label)
    (path / "_METADATA").unlink()
    listing = orbax.read(str(path))
    assert by_name(listing) == oracle[label]["tree"]
    assert "no _METADATA" in listing.remarks[0]
    assert set(orbax.values(str(path), lambda key: True)) == set(listing.keys)


def refusal(path: Path) -> str:
    with pytest.raises(ExplorerError) as caught:
        orbax.values(str(path), lambda key: True)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_missing_manifest(copy):
    path = copy("ocdbt_zarr2")
    (path / "manifest.ocdbt").unlink()
    assert "has no manifest.ocdbt; expected the database that holds" in refusal(path)


def test_broken_manifest(copy):
    path = copy("ocdbt_zarr2")
    (path / "manifest.ocdbt").write_bytes(b"junk" * 20)
    assert "tensorstore cannot read it (DATA_LOSS" in refusal(path)


def test_missing_data_files(copy):
    path = copy("ocdbt_zarr2")
    shutil.rmtree(path / "ocdbt.process_0")
    shutil.rmtree(path / "d")
    assert "tensorstore cannot read it (NOT_FOUND" in refusal(path)


def test_leaf_without_array(copy):
    path = copy("folders_zarr2")
    shutil.rmtree(path / "list.1.0")
    text = refusal(path)
    assert "the array of leaf 'list/1/0' is not there (1 of 10 are missing)" in text


def test_lost_chunk(copy):
    path = copy("folders_zarr2")
    (path / "sharded" / "3.0").unlink()
    assert orbax.read(str(path)).keys  # the header is whole
    assert "chunk" in refusal(path)


# metadata that is false or is broken


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"tree_metadata": 3}', "[" * 100_000, "\xff"]
)
def test_broken_metadata(copy, text):
    path = copy("folders_zarr2")
    (path / "_METADATA").write_bytes(text.encode("latin-1"))
    assert "_METADATA: is" in refusal(path)


def test_leaf_listed_twice(copy):
    path = copy("folders_zarr2")
    text = (path / "_METADATA").read_text()
    entry = '"(\'numpy\',)": {"key_metadata": [{"key": "numpy", "key_type": 2}], '
    entry += '"value_metadata": {"value_type": "np.ndarray", "skip_deserialize": false}}, '
    (path / "_METADATA").write_text(
        text.replace('{"tree_metadata": {', '{"tree_metadata": {' + entry)
    )
    assert "_METADATA: lists a leaf twice" in refusal(path)


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ('"shape":[800,64]', '"shape":[800,-64]', "zarray of 'sharded' is broken"),
        ('"shape":[800,64]', '"shape":"xy"', "zarray of 'sharded' is broken"),
        ('"shape":[800,64]', '"shape":[800,1e3]', "zarray of 'sharded' is broken"),
        ('"dtype":"<f4"', '"dtype":[["a","<f4"]]', "zarray of 'sharded' is broken"),
        ('"dtype":"<f4"', '"dtype":"<q4"', "array 'sharded' of rank 2 holds '<q4'"),
        ('"shape":[800,64]', f'"shape":[{"1," * 99}1]', "array 'sharded' of rank 100"),
        (
            '"shape":[800,64]',
            '"shape":[800000000,640000]',
            "claims 2,048,000,000,000,000 bytes",
        ),
    ],
)
def test_broken_array_document(copy, old, new, found):
    path = copy("folders_zarr2")
    rewrite(path / "sharded" / ".zarray", old, new)
    assert found in refusal(path)


def test_a_name_does_not_lead_out_of_the_folder(copy):
    path = copy("folders_zarr2")
    shutil.move(path / "numpy", path.parent / "numpy")
    rewrite(path / "_METADATA", '"key": "numpy"', '"key": "../numpy"')
    assert "../numpy" in refusal(path)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"partition_spec": ["nowhere"]}, "has the sharding"),
        ({"shape": [4]}, "has the sharding"),
        ({"shape": [0, 2]}, "is broken"),
        ({"partition_spec": [3]}, "is broken"),
    ],
)
def test_broken_sharding(copy, change, found):
    path = copy("folders_zarr2")
    saved = json.loads((path / "_sharding").read_text())
    name = base64.b64encode(b"sharded").decode()
    saved[name] = json.dumps({**json.loads(saved[name]), **change})
    (path / "_sharding").write_text(json.dumps(saved))
    with pytest.raises(FormatError, match=f"_sharding: {found}"):
        orbax.read(str(path))


def test_sharding_of_a_name_that_is_not_base64(copy):
    path = copy("folders_zarr2")
    rewrite(path / "_sharding", base64.b64encode(b"sharded").decode(), "??")
    with pytest.raises(FormatError, match="not base64"):
        orbax.read(str(path))


@pytest.mark.parametrize("name", ["_METADATA", "numpy/.zarray", "numpy/0"])
def test_a_fifo_is_not_waited_for(copy, name):
    path = copy("folders_zarr2")
    (path / name).unlink()
    os.mkfifo(path / name)
    assert f"{name}: is not a regular file" in refusal(path)


def test_a_database_that_is_a_folder(tmp_path):
    (tmp_path / "manifest.ocdbt").mkdir()
    assert "has no _METADATA and no array; expected what Orbax saves" in refusal(tmp_path)


def test_a_symlink_loop(copy):
    path = copy("folders_zarr2")
    (path / "_METADATA").unlink()
    (path / "_METADATA").symlink_to("_METADATA")
    assert "_METADATA: cannot be read: Too many levels of symbolic links" in refusal(path)


def test_shard_size_is_padded():
    from explorer.formats.orbax.metadata import NamedSharding

    sharding = NamedSharding(("a", "b"), (3, 2), (("a", "b"), None))
    assert sharding.shard_size((13, 5)) == math.ceil(13 / 6) * 5
