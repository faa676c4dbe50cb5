"""safetensors: what the reference library writes is read; what it refuses is refused."""

import json
import os
import struct
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

import explorer as ex
from explorer import dtypes
from explorer.errors import FormatError
from explorer.formats import safetensors

EVERY_DTYPE = {
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8,
    "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip


def write(path: Path, header: object, data: bytes = b"", length: int | None = None) -> str:
    """Write a file with any header at all, as bytes or as something to encode."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    size = len(raw) if length is None else length
    path.write_bytes(struct.pack("<Q", size) + raw + data)
    return str(path)


def entry(begin: int, end: int, shape: object = None, dtype: object = "U8") -> dict:
    shape = [end - begin] if shape is None else shape
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(("dtype", "bits"), EVERY_DTYPE.items())
def test_every_dtype_of_the_format_has_its_size(tmp_path: Path, dtype: str, bits: int):
    nbytes = 24 * bits // 8
    path = write(
        tmp_path / "m.safetensors", {"x": entry(0, nbytes, [2, 12], dtype)}, b"\0" * nbytes
    )
    listing = safetensors.read(path)
    assert (listing.shapes, listing.nbytes) == ([(2, 12)], [nbytes])
    assert dtypes.find(listing.dtypes[0]).bits == bits
    with safe_open(path, "np") as reference:  # the reference accepts it too
        assert reference.get_slice("x").get_dtype() == dtype


def test_agrees_with_the_reference_library(tmp_path: Path):
    tree = {
        "embed": np.arange(12, dtype=np.float32).reshape(3, 4),
        "half": np.ones((2, 0, 5), np.float16),
        "step": np.array(7, np.int64),
        "bf": np.full((3,), 1.5, ml_dtypes.bfloat16),
        'quo"te\n': np.zeros((1,), np.uint16),
    }
    path = str(tmp_path / "m.safetensors")
    save_file(tree, path, metadata={"format": "np", "data_offsets": '"shape"'})
    listing = safetensors.read(path)
    with safe_open(path, "np") as reference:
        assert set(listing.keys) == set(reference.keys())
        assert listing.metadata == reference.metadata()
        for key, shape in zip(listing.keys, listing.shapes, strict=True):
            assert list(shape) == reference.get_slice(key).get_shape()
    assert listing.file_bytes == os.path.getsize(path)
    loaded = safetensors.values(path, lambda key: True)
    for key, array in tree.items():
        assert loaded[key].dtype == array.dtype
        np.testing.assert_array_equal(loaded[key], array)


def test_four_bit_values_unpack_low_half_first(tmp_path: Path):
    path = write(
        tmp_path / "m.safetensors", {"x": entry(0, 2, [4], "F4")}, bytes([0x21, 0x43])
    )
    loaded = safetensors.values(path, lambda key: True)["x"]
    # codes 1, 2, 3, 4 of the OCP format e2m1 are 0.5, 1, 1.5, 2
    np.testing.assert_array_equal(loaded.astype(np.float32), [0.5, 1.0, 1.5, 2.0])


def test_values_map_the_file_and_never_change_it(tmp_path: Path):
    path = str(tmp_path / "m.safetensors")
    save_file({"a": np.zeros(4, np.float32)}, path)
    before = Path(path).read_bytes()
    ex.load(path)["a"][:] = 9
    assert Path(path).read_bytes() == before


BAD_HEADERS = {
    "overlap": ({"a": entry(0, 4), "b": entry(2, 6)}, 6, "tensor 'b' at bytes 2 to 6 overlaps"),
    "hole": ({"a": entry(0, 4), "b": entry(6, 8)}, 8, "tensor 'b' at bytes 6 to 8 leaves a hole"),
    "start": ({"a": entry(2, 4)}, 4, "leaves a hole; expected begin at 0"),
    "beyond": ({"a": entry(0, 400)}, 8, "is beyond the 8 bytes of data"),
    "trailing": ({"a": entry(0, 4)}, 8, "4 bytes after the last tensor"),
    "backwards": ({"a": entry(4, 0, [0])}, 0, "ends before it begins"),
    "shape text": ({"a": entry(0, 4, "xy")}, 4, "has shape \"xy\"; expected a list of non-neg"),
    "shape negative": ({"a": entry(0, 4, [-4])}, 4, "has shape [-4]; expected a list of non-neg"),
    "shape float": ({"a": entry(0, 4, [4.5])}, 4, "has shape [4.5]; expected a list of non-neg"),
    "shape bool": ({"a": entry(0, 1, [True])}, 1, "has shape [true]; expected a list of non-neg"),
    "offsets": ({"a": {**entry(0, 4), "data_offsets": [0]}}, 4, "has 1 data_offsets; expected two"),
    "dtype": ({"a": entry(0, 4, dtype="F33")}, 4, "tensor 'a' has dtype 'F33'; expected a dtype"),
    "dtype kind": ({"a": entry(0, 4, dtype=3)}, 4, "has dtype 3; expected a name such as F32"),
    "product": ({"a": entry(0, 4, [5])}, 4, "of shape [5] and dtype U8 has 4 bytes; expected 5"),
    "huge product": ({"a": entry(0, 4, [2**62] * 9)}, 4, "has more than 2^63 bytes; expected at most 64 axes"),
    "no dtype": ({"a": {"shape": [4], "data_offsets": [0, 4]}}, 4, "tensor 'a' has no dtype"),
    "no object": ({"a": 3}, 0, "tensor 'a' is not a JSON object"),
    "list": ([1, 2], 0, "the header is not a JSON object"),
    "metadata": ({"__metadata__": {"a": 1}}, 0, "__metadata__ is not a map of strings to strings"),
    "no JSON": (b"{nonsense", 0, "the header is not JSON"),
    "bad UTF-8": (b'{"\xff\xfe": 1}', 0, "the header is not UTF-8"),
    "lone surrogate": (b'{"\\ud800": 1}', 0, "the header is not UTF-8"),
    "duplicate": (
        b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
        b'"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
        1,
        "key 'a' is given twice",
    ),
    "duplicate field": (
        b'{"a":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}}',
        1,
        "key 'dtype' is given twice",
    ),
    "escaped duplicate": (
        b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
        b'"\\u0061":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
        1,
        "key 'a' is given twice",
    ),
    "duplicate metadata": (
        b'{"__metadata__":{"a":"1","a":"2"}}',
        0,
        "key 'a' is given twice",
    ),
    "half a pair in metadata": (
        b'{"__metadata__":{"a":"\\ud800"}}',
        0,
        "the header is not UTF-8 (it has half a surrogate pair)",
    ),
    "deep": (b'{"a":' + b"[" * 200_000, 0, "the header nests too deeply"),
    "deep objects": (b'{"a":' * 200_000, 0, "the header nests too deeply"),
    "long number": (
        b'{"a":{"dtype":"U8","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,1]}}',
        1,
        "has a number of 5,000 digits",
    ),
    "half a byte": (
        {"a": entry(0, 2, [3], "F4")},
        2,
        "of shape [3] and dtype F4 ends inside a byte; expected a multiple of 2 elements",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("header", "data", "message"), BAD_HEADERS.values(), ids=BAD_HEADERS
)
def test_bad_header_is_one_line(tmp_path: Path, header: object, data: int, message: str):
    path = write(tmp_path / "m.safetensors", header, b"\0" * data)
    with pytest.raises(FormatError) as error:
        safetensors.read(path)
    assert message in str(error.value)
    assert str(error.value).startswith(path)
    assert "\n" not in str(error.value)


def test_length_beyond_the_file_and_over_the_limit(tmp_path: Path):
    short = write(tmp_path / "short.safetensors", {}, length=9_999)
    with pytest.raises(FormatError, match=r"header length 9,999 in a file of 10 bytes"):
        safetensors.read(short)
    long = tmp_path / "long.safetensors"
    long.write_bytes(struct.pack("<Q", 100_000_001) + b"{")
    os.truncate(long, 200_000_000)  # sparse
    with pytest.raises(FormatError, match=r"header length 100,000,001; expected at most"):
        safetensors.read(str(long))


def test_truncated_data_names_the_tensor(tmp_path: Path):
    path = tmp_path / "m.safetensors"
    save_file({"a": np.zeros(4, np.float32), "z": np.zeros(64, np.float32)}, str(path))
    os.truncate(path, path.stat().st_size - 100)
    with pytest.raises(FormatError, match=r"tensor 'z' at bytes .* is beyond .* truncated"):
        safetensors.read(str(path))


def test_tensors_listed_in_another_order_than_stored(tmp_path: Path):
    path = write(
        tmp_path / "m.safetensors", {"b": entry(4, 8), "a": entry(0, 4)}, b"\0" * 8
    )
    assert safetensors.read(path).keys == ["b", "a"]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_headers_raise_nothing_but_format_errors(tmp_path_factory, data):
    """Flip, cut or insert a byte: the file is read, or refused in one line. Where it is
    read, the reference reads the same names."""
    path = tmp_path_factory.mktemp("fuzz") / "m.safetensors"
    save_file(
        {"a.weight": np.zeros((2, 3), np.float32), "b": np.zeros(5, np.int8)}, str(path)
    )
    raw = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    match data.draw(st.sampled_from(["flip", "cut", "insert"])):
        case "flip":
            raw[at] = data.draw(st.integers(0, 255))
        case "cut":
            del raw[at:]
        case "insert":
            raw.insert(at, data.draw(st.integers(0, 255)))
    path.write_bytes(raw)
    try:
        listing = safetensors.read(str(path))
    except FormatError as error:
        if "\n" in str(error):
            pytest.fail("the message has more than one line")
        return
    try:
        with safe_open(str(path), "np") as reference:
            assert set(reference.keys()) == set(listing.keys)
    except SafetensorError:
        pytest.fail(f"the reference refuses what was read: {bytes(raw[:200])!r}")


def test_no_tensor_byte_is_read(tmp_path: Path):
    """A sparse terabyte opens, which could not be read, and its holes stay holes."""
    path = tmp_path / "m.safetensors"
    size = 1 << 40
    write(path, {"x": entry(0, size, [size // 2], "BF16")})
    os.truncate(path, path.stat().st_size + size)
    blocks = path.stat().st_blocks
    assert ex.explore(str(path)).num_parameters == size // 2
    assert path.stat().st_blocks == blocks


@pytest.mark.parametrize(
    "header",
    [
        # a field of one is missing where another has one twice: the numbers of keys agree
        b'{"a":{"dtype":"U8","data_offsets":[0,1]},'
        b'"b":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[1,2]}}',
        b'{"a":{"dtype":"U8","more":1,"data_offsets":[0,1]},'
        b'"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}',
    ],
)
def test_no_missing_field_is_made_up_for_by_another(tmp_path: Path, header: bytes):
    path = write(tmp_path / "m.safetensors", header, b"\0\0")
    with pytest.raises(
        FormatError, match=r"key 'dtype' is given twice|tensor 'a' has no shape"
    ):
        safetensors.read(path)


@pytest.mark.parametrize(
    "metadata", [{}, {"format": "pt"}, {"a": "}"}, {"a": '"b":'}, {"a": "ü "}]
)
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_metadata_of_any_text(tmp_path: Path, metadata: dict, separators: tuple):
    header = {"__metadata__": metadata, "x": entry(0, 4)}
    raw = json.dumps(header, separators=separators, ensure_ascii=False).encode() + b"   "
    listing = safetensors.read(write(tmp_path / "m.safetensors", raw, b"\0" * 4))
    assert (listing.keys, listing.metadata) == (["x"], metadata)
