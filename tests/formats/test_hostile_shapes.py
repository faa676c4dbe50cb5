"""Shapes that no array library can hold: one line in every reader, before any library is called."""

import json
import re
import struct
from pathlib import Path

import msgpack
import numpy as np
import pytest

import explorer as ex
from explorer.errors import InputError
from tests.formats.torch_bytes import Call, Named, pickled, storage, write_zip, zeros
from tests.fuzz import orbax_files

HUGE = 1 << 62


def refusal(path: Path) -> str:
    """The one line that both a listing and a load end with."""
    lines = []
    for call in (ex.explore, ex.load):
        with pytest.raises(InputError) as error:
            call(str(path))
        lines.append(str(error.value).removeprefix(f"{path}: "))
    assert lines[0] == lines[1]
    assert "\n" not in lines[0]
    return lines[0]


def npy(path: Path, shape: str) -> Path:
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text)
    return path


def safetensors(path: Path, shape: list[int], count: int = 0) -> Path:
    entry = {"dtype": "F32", "shape": shape, "data_offsets": [0, count]}
    raw = json.dumps({"w": entry}, separators=(",", ":")).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + bytes(count))
    return path


def flax(path: Path, shape: list[int], data: bytes = b"") -> Path:
    array = msgpack.packb((shape, "float32", data))
    path.write_bytes(msgpack.packb({"w": msgpack.ExtType(1, array)}))
    return path


def numpy_pickle(path: Path, shape: tuple, data: bytes = b"") -> Path:
    dtype = Call("numpy", "dtype", ("f4", False, True))
    array = Call(
        "numpy.core.multiarray", "_reconstruct", (), (1, shape, dtype, False, data)
    )
    path.write_bytes(pickled({"w": array}))
    return path


def torch_view(path: Path, shape: tuple, flags: dict | None = None, kind: str = "Float"):
    arguments = (storage("0", 4, kind), 0, shape, (1,) * len(shape), False, None, flags)
    root = {"w": Call("torch._utils", "_rebuild_tensor_v2", arguments)}
    return Path(write_zip(path, root, {"0": zeros(4, 4)}))


ZERO = "more than 2^63 bytes without its axes of zero"
RANK = "65 axes, more than 64"


@pytest.mark.parametrize(
    ("shape", "fault"),
    [([0, HUGE, HUGE], ZERO), ([HUGE, 0, HUGE], ZERO), ([1] * 65, RANK), ([0] * 65, RANK)],
)
def test_zero_beside_huge_and_ranks_beyond_numpy(tmp_path: Path, shape: list, fault: str):
    data = b"" if 0 in shape else bytes(4)
    expected = f"has {fault}; expected at most 64 axes and 2^63 bytes"
    assert expected in refusal(safetensors(tmp_path / "a.safetensors", shape, len(data)))
    assert expected in refusal(flax(tmp_path / "a.msgpack", shape, data)) or fault == RANK
    assert f"a NumPy array of {fault}" in refusal(
        numpy_pickle(tmp_path / "a.pkl", tuple(shape), data)
    )
    path = npy(tmp_path / "a.npy", repr(tuple(shape)))
    path.write_bytes(path.read_bytes() + data)
    assert f"the array {expected}" in refusal(path)


def test_a_shape_of_3000_digits(tmp_path: Path):
    path = npy(tmp_path / "a.npy", f"({'9' * 3000}, {'9' * 3000})")
    assert refusal(path) == (
        "the array has an axis of 2^63 or more; expected at most 64 axes and 2^63 bytes"
    )
    entry = '{"dtype":"F32","shape":[%s],"data_offsets":[0,4]}' % ("9" * 99)
    raw = f'{{"w":{entry}}}'.encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + bytes(4))
    assert "a list of non-negative integers below 2^64" in refusal(path)


def test_torch_shapes(tmp_path: Path):
    assert "fewer elements than 2**59" in refusal(torch_view(tmp_path / "a.pt", (0, HUGE)))
    assert "sizes or strides that are not natural" in refusal(
        torch_view(tmp_path / "a.pt", (1,) * 65)
    )
    meta = Call(
        "torch._utils",
        "_rebuild_meta_tensor_no_storage",
        (Named("torch", "float32"), (HUGE, HUGE), (1, 1), False),
    )
    path = Path(write_zip(tmp_path / "m.pt", {"w": meta}, {}))
    assert "has a tensor of more than 2^63 bytes" in refusal(path)


def test_joblib_shape_of_many_axes(tmp_path: Path):
    dtype = Call("numpy", "dtype", ("f8",))
    state = {"shape": (HUGE,) * 2000, "dtype": dtype}
    path = tmp_path / "a.joblib"
    path.write_bytes(
        pickled({"w": Call("joblib.numpy_pickle", "NumpyArrayWrapper", (), state)})
    )
    assert "has a NumPy array of 2,000 axes, more than 64" in refusal(path)


def test_bools_that_are_negated(tmp_path: Path):
    path = torch_view(tmp_path / "a.pt", (4,), {"neg": True}, "Bool")
    assert "has a tensor of bools that is to be negated" in refusal(path)


def test_pickled_text_outside_latin1(tmp_path: Path):
    path = numpy_pickle(tmp_path / "a.pkl", (1,), "ab\u0100c")  # pyright: ignore
    with pytest.raises(InputError, match="spelled as other text than Latin-1"):
        ex.load(str(path))


def test_views_of_another_form_copy_their_own_elements(tmp_path: Path):
    """A thousand negated views of one storage take what they have, not a storage each."""
    flags = {"neg": True}
    count, number = 1 << 16, 400
    root = {
        f"w{i}": Call(
            "torch._utils",
            "_rebuild_tensor_v2",
            (storage("0", count), i, (2, 3), (count // 2, 0), False, None, flags),
        )
        for i in range(number)
    }
    values = np.arange(count, dtype=np.float32)
    path = write_zip(tmp_path / "a.pt", root, {"0": values.tobytes()})
    loaded = ex.load(path)
    for i in range(number):
        column = -values[[i, i + count // 2]]
        np.testing.assert_array_equal(loaded[f"w{i}"], np.stack([column] * 3, axis=1))
        base = loaded[f"w{i}"]
        while base.base is not None:
            base = base.base
        assert base.nbytes == 8


def orbax(folder: Path, **document: object) -> Path:
    """A tree of one array of which no chunk is there, so that all of it is zeros."""
    whole = {
        "zarr_format": 2,
        "shape": [4, 4],
        "chunks": [4, 4],
        "dtype": "<f4",
        "compressor": None,
        "filters": None,
        "order": "C",
        "fill_value": None,
        "dimension_separator": ".",
    }
    (folder / "w").mkdir(parents=True)
    (folder / "w/.zarray").write_text(json.dumps({**whole, **document}))
    leaf = {
        "key_metadata": [{"key": "w", "key_type": 2}],
        "value_metadata": {"value_type": "jax.Array", "skip_deserialize": False},
    }
    tree = {"tree_metadata": {"('w',)": leaf}, "use_ocdbt": False, "use_zarr3": False}
    (folder / "_METADATA").write_text(json.dumps(tree))
    return folder


def test_orbax_without_chunks_is_zeros(tmp_path: Path):
    loaded = ex.load(str(orbax(tmp_path / "a")))
    np.testing.assert_array_equal(loaded["w"], np.zeros((4, 4), np.float32))


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        (
            {"chunks": [4, 1 << 31]},
            "of 64 bytes has chunks of 34,359,738,368; expected chunks",
        ),
        ({"chunks": [HUGE, HUGE]}, "the chunk of array 'w' has more than 2^63 bytes"),
        ({"shape": [HUGE, HUGE]}, "array 'w' has more than 2^63 bytes; expected at most"),
        ({"shape": [0, HUGE, HUGE]}, f"array 'w' has {ZERO}"),
        (
            {"shape": [1] * 65},
            "array 'w' of rank 65 holds '<f4'; expected a number format, and",
        ),
    ],
)
def test_orbax_bombs(tmp_path: Path, document: dict, fault: str):
    assert fault in refusal(orbax(tmp_path / "a", **document))


def test_chunks_of_orbax_that_unfold_into_more(tmp_path: Path):
    """tensorstore ends its own decoders; that of Blosc believes what a chunk says of itself."""
    size = 1 << 20
    for compressor in (
        orbax_files.ZSTD,
        {"id": "gzip", "level": 6},
        {"id": "bz2", "level": 9},
    ):
        path = orbax_files.zarr2(
            tmp_path / compressor["id"], compressor, size, shape=[8], chunks=[8]
        )
        assert "End of data expected" in loading(path)
    blosc = orbax_files.BLOSC
    path = orbax_files.zarr2(tmp_path / "blosc", blosc, size, shape=[8], chunks=[8])
    assert "a chunk of array 'w' claims 1,048,576 bytes; expected 8; copy" in loading(path)
    whole = orbax_files.zarr2(tmp_path / "whole", blosc, size)
    np.testing.assert_array_equal(ex.load(str(whole))["w"], np.zeros(size, np.uint8))
    codecs = [{"name": "blosc", "configuration": {"cname": "lz4", "typesize": 1}}]
    codecs[0]["configuration"] |= {"clevel": 5, "shuffle": "noshuffle", "blocksize": 0}
    grid = {"name": "regular", "configuration": {"chunk_shape": [8]}}
    path = orbax_files.zarr3(tmp_path / "3", codecs, size, shape=[8], chunk_grid=grid)
    assert "a chunk of array 'w' claims 1,048,576 bytes; expected 8; copy" in loading(path)
    whole = orbax_files.zarr3(tmp_path / "whole3", codecs, size)
    np.testing.assert_array_equal(ex.load(str(whole))["w"], np.zeros(size, np.uint8))
    for inside in ([orbax_files.sharded(size, *codecs)], [*codecs, {"name": "crc32c"}]):
        path = orbax_files.zarr3(tmp_path / f"inside{len(inside)}", inside, size)
        assert "is compressed by blosc inside another codec" in loading(path)


def test_more_chunks_of_orbax_than_files_can_hold(tmp_path: Path):
    path = orbax(tmp_path / "a", shape=[200, 150], chunks=[1, 1])
    assert re.search(
        r"claims 30,000 chunks in files of \d+ bytes; expected at most 20,0\d\d;",
        loading(path),
    )
    sharded = orbax_files.zarr3(tmp_path / "b", [orbax_files.sharded(16)], 1 << 20)
    assert ex.load(str(sharded))["w"].shape == (1 << 20,)  # all of them are there
    for chunk in (sharded / "w/c").iterdir():
        chunk.unlink()
    assert "claims 65,536 chunks in files of " in loading(sharded)


def loading(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        ex.load(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_orbax_arrays_that_are_all_fill(tmp_path: Path):
    """They may be listed, as Orbax leaves out chunks of zeros, and are not made of nothing."""
    path = orbax(tmp_path / "a", shape=[1_000_000, 1_000_000])
    assert ex.explore(str(path)).num_parameters == 10**12
    with pytest.raises(
        InputError, match="claims arrays of 4,000,000,000,000 bytes in files of"
    ):
        ex.load(str(path))
