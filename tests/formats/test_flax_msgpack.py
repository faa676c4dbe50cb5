"""Flax msgpack: Flax wrote the files; the trees it was given are the oracle."""

import contextlib
import struct
import subprocess
import sys
from pathlib import Path

import flax.linen as nn
import flax.serialization
import jax
import jax.numpy as jnp
import msgpack
import numpy as np
import optax
import pytest
from flax.training.train_state import TrainState
from hypothesis import given
from hypothesis import strategies as st

from explorer.errors import ExplorerError, FormatError, TargetError
from explorer.formats import flax_msgpack
from explorer.formats.flax_msgpack import state_dict

DTYPES = ("bool", "int4", "uint4", "int8", "uint64", "bfloat16", "float16", "float64")
DTYPES += ("float8_e4m3fn", "float8_e5m2", "complex64")


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Dense(4, name="cache")(x)
        return nn.BatchNorm(use_running_average=True)(x)


def saved(tmp_path: Path, tree, name="state.msgpack") -> str:
    path = tmp_path / name
    path.write_bytes(flax.serialization.to_bytes(tree))
    return str(path)


def rows(path: str):
    listing = flax_msgpack.read(path)
    columns = (listing.keys, listing.shapes, listing.dtypes)
    return {key: (shape, dtype) for key, shape, dtype in zip(*columns, strict=True)}


def reported_by_tree(tree):
    leaves, _ = jax.tree_util.tree_flatten_with_path(flax.serialization.to_state_dict(tree))
    return {
        tuple(str(key.key) for key in path): (leaf.shape, str(leaf.dtype))
        for path, leaf in leaves
    }


def state():
    module = Net()
    variables = module.init(jax.random.key(0), jnp.ones((1, 3)))
    made = TrainState.create(
        apply_fn=module.apply, params=variables["params"], tx=optax.adamw(1e-3)
    )
    return made.replace(step=jnp.int32(7))


def test_lists_what_the_state_had(tmp_path):
    assert rows(saved(tmp_path, state())) == reported_by_tree(state())


def test_collections_of_a_train_state(tmp_path):
    listing = flax_msgpack.read(saved(tmp_path, state()))
    words = dict(zip(listing.keys, listing.collections, strict=True))
    assert words[("params", "cache", "kernel")] == "params"
    assert words[("opt_state", "0", "nu", "cache", "kernel")] == "opt_state"
    assert words[("step",)] == "state"


def test_collections_of_variables(tmp_path):
    variables = Net().init(jax.random.key(0), jnp.ones((1, 3)))
    listing = flax_msgpack.read(saved(tmp_path, variables))
    words = dict(zip(listing.keys, listing.collections, strict=True))
    assert words[("batch_stats", "BatchNorm_0", "mean")] == "batch_stats"
    assert words[("params", "BatchNorm_0", "scale")] == "params"
    bare = {"Dense_0": variables["params"]["cache"]}
    assert flax_msgpack.read(saved(tmp_path, bare)).collections is None


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_dtypes_and_values(tmp_path, dtype, shape):
    array = np.ones(shape, jnp.dtype(dtype))
    path = saved(tmp_path, {"a": array})
    assert rows(path) == {("a",): (shape, dtype)}
    assert flax_msgpack.read(path).nbytes == [array.nbytes]
    found = flax_msgpack.values(path, lambda key: True)[("a",)]
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_values_are_views_of_the_file(tmp_path):
    path = saved(tmp_path, {"a": np.arange(6.0).reshape(2, 3), "b": np.ones(2)})
    arrays = flax_msgpack.values(path, lambda key: key == ("a",))
    assert list(arrays) == [("a",)]
    assert not arrays[("a",)].flags.owndata
    np.testing.assert_array_equal(arrays[("a",)], np.arange(6.0).reshape(2, 3))


def test_numbers_are_zero_dimensional_and_text_is_none(tmp_path):
    tree = {"i": -7, "big": 2**40, "huge": 2**63, "f": 0.5, "b": True, "c": 1j}
    path = saved(tmp_path, {**tree, "none": None, "text": "hi", "raw": b"x", "empty": {}})
    assert rows(path) == {
        ("i",): ((), "int32"),
        ("big",): ((), "int64"),
        ("huge",): ((), "uint64"),
        ("f",): ((), "float32"),
        ("b",): ((), "bool"),
        ("c",): ((), "complex64"),
    }
    assert flax_msgpack.read(path).nbytes == [4, 8, 8, 4, 1, 8]
    arrays = flax_msgpack.values(path, lambda key: True)
    assert {key[0]: array.item() for key, array in arrays.items()} == tree


def test_numpy_scalars_and_lists(tmp_path):
    path = tmp_path / "a.msgpack"
    tree = {"s": np.float64(1.5), "l": [np.ones(2), [np.ones(3)]]}
    path.write_bytes(flax.serialization.msgpack_serialize(tree))
    assert rows(str(path)) == {
        ("s",): ((), "float64"),
        ("l", "0"): ((2,), "float64"),
        ("l", "1", "0"): ((3,), "float64"),
    }


def test_a_bare_array_has_the_name_of_its_file(tmp_path):
    path = saved(tmp_path, np.ones((2, 3)), "embedding.msgpack")
    assert rows(path) == {("embedding",): ((2, 3), "float64")}


def test_a_chunked_array_is_one_tensor(tmp_path, monkeypatch):
    monkeypatch.setattr(flax.serialization, "MAX_CHUNK_SIZE", 64)
    array = np.arange(70, dtype=np.float32).reshape(7, 10)
    path = saved(tmp_path, {"params": {"table": array, "bias": np.ones(2, np.float32)}})
    assert b"__msgpack_chunked_array__" in Path(path).read_bytes()
    assert rows(path) == {
        ("params", "table"): ((7, 10), "float32"),
        ("params", "bias"): ((2,), "float32"),
    }
    assert flax_msgpack.read(path).nbytes == [280, 8]
    found = flax_msgpack.values(path, lambda key: True)[("params", "table")]
    np.testing.assert_array_equal(found, array)


def test_a_whole_file_that_is_one_chunked_array(tmp_path, monkeypatch):
    monkeypatch.setattr(flax.serialization, "MAX_CHUNK_SIZE", 64)
    path = saved(tmp_path, np.zeros((9, 9), np.float32), "t.msgpack")
    assert rows(path) == {("t",): ((9, 9), "float32")}


def test_names_are_kept_exactly(tmp_path):
    names = ("a.b", "a/b", "", "\n\x1b[31m", "é" * 100, "x" * 70_000)
    path = saved(tmp_path, {name: np.ones(1) for name in names})
    assert flax_msgpack.read(path).keys == [(name,) for name in names]


leaves = st.one_of(st.none(), st.booleans(), st.integers(-(2**31), 2**31 - 1), st.text())
trees = st.recursive(leaves, lambda inner: st.dictionaries(st.text(), inner), max_leaves=20)


@given(st.dictionaries(st.text(), trees, max_size=20))
def test_lists_every_number_of_any_tree(tmp_path_factory, tree):
    path = tmp_path_factory.mktemp("tree") / "t.msgpack"
    path.write_bytes(flax.serialization.msgpack_serialize(tree))
    found, _ = jax.tree_util.tree_flatten_with_path(tree)
    numbers = {
        tuple(k.key for k in path) for path, leaf in found if not isinstance(leaf, str)
    }
    assert set(flax_msgpack.read(str(path)).keys) == numbers


def test_reads_without_jax_and_numpy(tmp_path):
    path = saved(tmp_path, state())
    script = (
        "import sys; from explorer.formats import flax_msgpack, numpy_files; "
        "flax_msgpack.read(sys.argv[1]); "
        "assert not {'jax', 'numpy', 'msgpack', 'flax'} & set(sys.modules)"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", script, path], check=True, cwd=root)


# bad input


def refusal(tmp_path: Path, raw: bytes) -> str:
    path = tmp_path / "bad.msgpack"
    path.write_bytes(raw)
    with pytest.raises(FormatError) as caught:
        flax_msgpack.read(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def ext(code: int, payload: bytes, name="a") -> bytes:
    return msgpack.packb({name: msgpack.ExtType(code, payload)})


def packed(shape, dtype, data) -> bytes:
    return ext(1, msgpack.packb((shape, dtype, data), use_bin_type=True))


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (b"", "is empty"),
        (b"\xc1", "byte 0xc1 at 0"),
        (b"\x82\xa1a", "the map at 0 claims 2 pairs and 2 bytes are left"),
        (b"\x81\xa2ab", "the data ends at 4; expected a MessagePack item"),
        (
            b"\xdd\xff\xff\xff\xff" + b"\xc0" * 15,
            "array at 0 claims 4,294,967,295 items and 15",
        ),
        (
            b"\xdf\xff\xff\xff\xff" + b"\xc0" * 15,
            "map at 0 claims 4,294,967,295 pairs and 15",
        ),
        (
            b"\x81\xa1a\xc6\xff\xff\xff\xff",
            "bin at 3 claims 4,294,967,295 bytes and 0 bytes",
        ),
        (
            b"\x81\xa1a\xdb\xff\xff\xff\xff",
            "str at 3 claims 4,294,967,295 bytes and 0 bytes",
        ),
        (
            b"\x81\xa1a\xc9\xff\xff\xff\xff",
            "ext at 3 claims 4,294,967,296 bytes and 0 bytes",
        ),
        (b"\x81\xa1a\xcb\x00", "the data ends inside the item at 3"),
        (b"\x80\x80", "1 bytes after the last item"),
        (b"\x91" * 100_000 + b"\xc0", "has more than 200 levels"),
        (b"\x81\xa1a" * 300 + b"\xc0", "has more than 200 levels"),
        (b"\x82\xa1a\x01\xa1a\x02", "leaf 'a' is repeated"),
        (b"\x82\xa11\x01\x01\x02", "leaf '1' is repeated"),
        (b"\x81\xa2\xff\xfe\x01", "the name at 2 is not UTF-8 (invalid start byte)"),
        (b"\x81\xc0\x01", "leaf '' has a key of kind nil; expected a name"),
        (b"\x81\x92\x01\x02\x01", "has a key of kind array"),
        (ext(9, b"x"), "leaf 'a' is an extension of type 9; expected Flax's 1, 2 or 3"),
        (ext(2, b"\x92\x01\x02"), "leaf 'a' is not a complex number; expected two floats"),
        (ext(2, b"\x92\xa1x\xa1y"), "is not a complex number"),
        (ext(2, b"\x92"), "array at 5 claims 2 items"),
        (ext(1, b"\x01"), "the data ends at"),
        (ext(1, b"\x92\x90\xa1x"), "is not a packed array; expected (shape, dtype, bytes)"),
        (ext(1, b"\x93\x91\x01"), "claims 3 items and 2"),
        (packed((2,), "float32", b"\0" * 7), "of shape (2,) and dtype float32 has 7 bytes"),
        (packed((2, 3), "int8", b"\0" * 5), "has 5 bytes; expected 6"),
        (
            packed((2**63, 2**63), "int8", b"\0"),
            "leaf 'a' has an axis of 2^63 or more",
        ),
        (packed((-2, -3), "int8", b"\0" * 6), "has a size of kind int"),
        (packed(("x",), "int8", b"\0"), "has a size of kind str"),
        (packed((1,) * 65, "int8", b"\0"), "is not a packed array"),
        (packed((1,), "str32", b"\0" * 4), "has dtype 'str32'; expected a number format"),
        (packed((32,), "q4_0", b"\0" * 18), "has dtype 'q4_0'"),
        (packed((1,), 3, b"\0"), "has a dtype of kind uint"),
        (packed((1,), "int8", 7), "does not end with its data"),
        (
            ext(1, msgpack.packb(((1,), "int8", b"\0")) + b"\0"),
            "does not end with its data",
        ),
    ],
)
def test_bad_files(tmp_path, raw, found):
    assert found in refusal(tmp_path, raw)


def chunked(shape, chunks) -> bytes:
    tree = {"__msgpack_chunked_array__": True, "shape": shape, "chunks": chunks}
    return flax.serialization.msgpack_serialize({"a": tree})


@pytest.mark.parametrize(
    ("shape", "chunks", "found"),
    [
        ({"0": 5}, {"0": np.ones(2), "1": np.ones(2)}, "has 32 bytes; expected 40"),
        ({"0": 4}, {"0": np.ones(2), "1": np.ones(2, np.int64)}, "is not a chunked array"),
        ({"0": 4}, {"0": np.ones(2), "2": np.ones(2)}, "is not a chunked array"),
        ({"0": -2, "1": -2}, {"0": np.ones(4)}, "is not a chunked array"),
        ({"0": 0.5}, {"0": np.ones(4)}, "is not a chunked array"),
        ({"0": 4}, {}, "is not a chunked array"),
        ({"0": 1}, {"0": 1.0}, "is not a chunked array"),
    ],
)
def test_bad_chunks(tmp_path, shape, chunks, found):
    assert found in refusal(tmp_path, chunked(shape, chunks))


def test_every_truncation_is_refused(tmp_path):
    whole = flax.serialization.to_bytes({"a": {"b": np.ones(3)}, "c": 1j, "d": 0.5})
    for end in range(1, len(whole)):
        refusal(tmp_path, whole[:end])


@given(st.binary(min_size=1, max_size=60))
def test_any_bytes_are_a_listing_or_an_error(tmp_path_factory, raw):
    path = tmp_path_factory.mktemp("junk") / "x.msgpack"
    path.write_bytes(raw)
    with contextlib.suppress(ExplorerError):
        assert flax_msgpack.read(str(path)).file_bytes == len(raw)


def test_a_flood_of_values_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(state_dict, "_MAX_NAMES", 1000)
    raw = b"\xdd" + struct.pack(">I", 600) + b"\xc0" * 600
    assert "has more than 1,000 names" in refusal(tmp_path, raw)


def test_missing_file(tmp_path):
    with pytest.raises(TargetError, match="cannot be read: No such file"):
        flax_msgpack.read(str(tmp_path / "none.msgpack"))
