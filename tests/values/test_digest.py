"""Hashes of content: one for each content, the same in every format, layout and chunking."""

import hashlib
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import xxhash
from flax.serialization import msgpack_serialize
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

import explorer as ex
from explorer.errors import InputError
from explorer.values import digest as module
from explorer.values.compare_digests import compare_digests
from explorer.values.digest import (
    Digests,
    TensorDigest,
    digest_of,
    digest_text,
    read_digests,
)
from tests.targets.test_comparing import save_orbax

ARRAYS = {
    "a.kernel": np.random.default_rng(0).standard_normal((5, 7)).astype(np.float32),
    "a.bias": np.arange(7, dtype=np.float16),
    "step": np.array(3, np.int64),
    "mask": np.array([True, False, True]),
    "none": np.zeros((0, 4), np.float32),
}


def write(folder: Path, form: str) -> Path:
    path = folder / f"model.{form}"
    nested: dict = {}
    for name, array in ARRAYS.items():
        *front, last = name.split(".")
        node = nested
        for part in front:
            node = node.setdefault(part, {})
        node[last] = array
    if form == "safetensors":
        save_file(ARRAYS, path)
    elif form == "npz":
        np.savez(path, **dict(reversed(ARRAYS.items())))
    elif form == "msgpack":
        path.write_bytes(msgpack_serialize(nested))
    else:
        del nested["none"]
        return save_orbax(folder / "orbax", nested)
    return path


@pytest.mark.parametrize("form", ["safetensors", "npz", "msgpack", "orbax"])
@pytest.mark.parametrize("algorithm", ["xxh3_128", "blake2b"])
def test_every_format_has_the_same_digests(tmp_path: Path, form: str, algorithm: str):
    # Orbax's store holds no empty array
    arrays = {k: v for k, v in ARRAYS.items() if v.size or form != "orbax"}
    tree = {tuple(name.split(".")): array for name, array in arrays.items()}
    nested = {"a": {"kernel": tree["a", "kernel"], "bias": tree["a", "bias"]}}
    nested |= {path[0]: array for path, array in tree.items() if len(path) == 1}
    found = ex.digest(write(tmp_path, form), algorithm=algorithm)  # pyright: ignore
    rows = {
        each.name: each.hash
        for each in found.tensors
        if each.name.replace("/", ".") in arrays
    }
    assert rows == {
        each.name: each.hash for each in ex.digest(nested, algorithm=algorithm).tensors
    }  # pyright: ignore
    assert len(rows) == len(arrays)
    assert [each.name for each in found.tensors] == sorted(
        each.name for each in found.tensors
    )


def test_what_is_hashed():
    """The header, then the elements in row-major order, the lowest byte first."""
    array = ARRAYS["a.kernel"]
    data = b"float32 5x7\n" + array.astype("<f4").tobytes("C")
    assert digest_of(array, "float32", (5, 7)) == xxhash.xxh3_128(data).hexdigest()
    wanted = hashlib.blake2b(data, digest_size=32).hexdigest()
    assert digest_of(array, "float32", (5, 7), "blake2b") == wanted
    assert digest_of(np.asfortranarray(array), "float32", (5, 7), "blake2b") == wanted
    assert (
        digest_of(array.astype(">f4").astype("=f4"), "float32", (5, 7), "blake2b") == wanted
    )


@given(st.integers(1, 40), st.integers(0, 2))
@settings(max_examples=40, deadline=None)
def test_chunks_do_not_matter(chunk: int, turn: int):
    array = np.random.default_rng(1).standard_normal((6, 5, 4)).astype(np.float32)
    view = array.transpose(*np.roll((0, 1, 2), turn).tolist())
    before = module._CHUNK
    module._CHUNK = chunk
    try:
        found = digest_of(view, "float32", view.shape)
    finally:
        module._CHUNK = before
    assert found == digest_of(np.ascontiguousarray(view), "float32", view.shape)


@given(st.integers(0, 10**6), st.integers(0, 7), st.sampled_from(["xxh3_128", "blake2b"]))
@settings(max_examples=60, deadline=None)
def test_one_flipped_bit_changes_the_hash(place: int, bit: int, algorithm: str):
    array = np.random.default_rng(2).standard_normal(999).astype(ml_dtypes.bfloat16)
    other = array.copy()
    other.view(np.uint8)[place % other.nbytes] ^= np.uint8(1 << bit)
    hashes = {digest_of(x, "bfloat16", (999,), algorithm) for x in (array, other)}  # pyright: ignore
    assert len(hashes) == 2


def test_format_and_shape_are_content():
    zeros = np.zeros(6, np.float32)
    found = {
        digest_of(zeros, "float32", (6,)),
        digest_of(zeros.reshape(2, 3), "float32", (2, 3)),
        digest_of(zeros.view(np.int32), "int32", (6,)),
        digest_of(zeros.reshape(3, 2), "float32", (3, 2)),
    }
    assert len(found) == 4


def listed(*rows: tuple[str, str]) -> Digests:
    tensors = tuple(TensorDigest(mark * 32, "int8", (2, 3), name) for mark, name in rows)
    return Digests(target="x", tensors=tensors)


def test_a_list_is_read_as_it_is_printed():
    found = ex.digest({"a": {"b": np.ones((2, 3))}, "a  b": np.array(1.0)})
    again = read_digests("x", digest_text(found))
    assert (again.tensors, again.algorithm) == (found.tensors, "xxh3_128")
    assert read_digests("x", "").tensors == ()


def test_two_lists():
    old = listed(("0", "a"), ("1", "b"), ("2", "c"), ("3", "d"))
    new = listed(("0", "a"), ("9", "b"), ("2", "moved"), ("4", "e"))
    found = compare_digests(old, new)
    assert [(each.verdict, each.name) for each in found.changes] == [
        ("different", "b"), ("moved", "c"), ("missing", "d"), ("added", "e"),
    ]  # fmt: skip
    assert (found.same, found.identical) == (1, False)
    assert compare_digests(old, old).identical


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("nonsense", "line 1 is 'nonsense'"),
        (f"{'0' * 31}  int8  2  a", "line 1 is"),
        (f"{'0' * 32}  int8  2y  a", "line 1 is"),
        (f"{'0' * 32}  int8  2  a\n{'1' * 32}  int8  2  a", "a is listed twice"),
        (f"{'0' * 32}  int8  2  a\n{'1' * 64}  int8  2  b", "mixes hashes"),
    ],
)
def test_lists_that_are_none(text: str, found: str):
    with pytest.raises(InputError, match=found):
        read_digests("a.txt", text)


def test_hashes_of_two_kinds_cannot_be_compared():
    a, b = (
        ex.digest({"x": np.ones(2)}, algorithm=kind) for kind in ("xxh3_128", "blake2b")
    )
    with pytest.raises(InputError, match="run explorer digest --hash xxh3_128"):
        compare_digests(a, b)


def test_no_such_hash():
    with pytest.raises(InputError, match="no hash is called 'md5'"):
        ex.digest({"x": np.ones(2)}, algorithm="md5")  # pyright: ignore
