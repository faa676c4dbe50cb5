"""Odd spellings of a header: columns, typed records and the strict decoder agree on all."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from explorer.errors import FormatError
from explorer.formats import safetensors
from explorer.formats.safetensors import header as decoding
from explorer.identify.assemble import assemble

NAMES = ["a.0.weight", "a.1.weight", "a.0.bias", "b", "", "x y", 'q"', "é", "__metadata__"]
SIZES = {"F32": 4, "BF16": 2, "I64": 8, "U8": 1, "F33": 1}
# replacements that make another spelling of the same, or break the header
DAMAGES = [
    (b"[0", b"[-0"), (b"[0", b"[00"), (b",", b", "), (b'"F32"', b'"F\\u0033\\u0032"'), (b'"a', b'"\\u0061'),
    (b'"dtype"', b'"dtypes"'), (b'"shape":[', b'"shape":[1,'), (b"[0", b"[0.0"), (b"[0", b"[99999999999999999999"),
    (b"]}", b"],}"), (b"}}", b"}"), (b"]", b""), (b'"', b""), (b":", b"::"), (b"a.1", b"a.0"), (b"2", b"1e1"),
    (b"2", b"true"), (b"[2", b"[18446744073709551616"), (b'"shape"', b'"\xff"'), (b'","', b'","x":1,"'), (b"4", b"5"),
    (b":{", b":]"), (b"],", b"{,"), (b"[", b"{"), (b"offsets", b"off3sets"), (b'sets"', b'sets0"'), (b'},"', b'}"'), (b"}", b"},"),
    (b'"shape"', b'"dtype"'), (b'"a.1', b'"a]1'), (b"a.0", b"a{0"), (b"a.0", b"a\n0"), (b"bias", b"bias;"), (b'":', b'" :'), (b"F32", b"F16"),
]  # fmt: skip


@st.composite
def headers(draw) -> tuple[bytes, int]:
    """Return the JSON of a header, often of an odd spelling, and the bytes of its data."""
    header: dict[str, object] = {}
    if draw(st.booleans()):
        header["__metadata__"] = draw(st.sampled_from([{}, {"format": "pt"}, {"a": "}"}]))
    at = 0
    for name in draw(st.lists(st.sampled_from(NAMES), max_size=6)):
        dtype = draw(st.sampled_from(list(SIZES)))
        shape = draw(st.lists(st.integers(0, 12), max_size=3))
        size = SIZES[dtype] * int(np.prod(shape))
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    raw = json.dumps(header, separators=(",", ":")).encode()
    for old, new in draw(st.lists(st.sampled_from(DAMAGES), max_size=2)):
        count = raw.count(old)
        if count:
            parts = raw.split(old)
            cut = draw(st.integers(1, count))
            raw = old.join(parts[:cut]) + new + old.join(parts[cut:])
    return raw + b" " * draw(st.integers(0, 2)), at + draw(st.sampled_from([0, 0, 0, 1]))


def result(path: str) -> tuple | str:
    """Return the columns of a file, or the message that refuses it."""
    try:
        listing = safetensors.read(path)
    except FormatError as error:
        return str(error)
    columns = (list(listing.shapes), list(listing.dtypes), list(listing.nbytes))
    inventory = assemble(listing)
    return listing.keys, *columns, listing.metadata, listing.file_bytes, inventory.tensors


def write(folder: Path, raw: bytes, data: int) -> str:
    path = folder / "m.safetensors"
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + bytes(data))
    return str(path)


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@given(headers())
def test_all_decoders_find_the_same_or_refuse_equally(
    tmp_path_factory, header: tuple[bytes, int]
):
    path = write(tmp_path_factory.mktemp("header"), *header)
    found = result(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(safetensors, "read_columns", lambda *_: None)
        assert result(path) == found
        patch.setattr(decoding, "_decode_fast", lambda raw: None)
        assert result(path) == found


def test_what_writers_write_is_read_by_columns(tmp_path: Path):
    arrays = {f"h.{i}.{w}": np.ones((i, 3), np.float16) for i in range(12) for w in "ab"}
    save_file(arrays, tmp_path / "m.safetensors", {"format": "pt"})
    listing = safetensors.read(str(tmp_path / "m.safetensors"))
    assert listing.rows is not None
    assert len(set(listing.rows)) == 24
    assert dict(zip(listing.keys, listing.shapes, strict=True)) == {
        name: array.shape for name, array in arrays.items()
    }


@pytest.mark.parametrize(
    "raw",
    [
        b'{"__metadata__":{}"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
        b'{"__metadata__":{},}',
    ],
)
def test_metadata_ends_as_json_requires(tmp_path: Path, raw: bytes):
    assert "the header is not JSON" in str(result(write(tmp_path, raw, 1)))
