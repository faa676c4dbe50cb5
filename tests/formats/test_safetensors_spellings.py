"""Odd spellings of a header: the typed decoder and the strict one agree on every one."""

import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    columns = (listing.keys, listing.shapes, listing.dtypes, listing.nbytes)
    inventory = assemble(listing)
    return (*columns, listing.metadata, listing.file_bytes, inventory.tensors)


@settings(max_examples=600, deadline=None)
@given(headers())
def test_both_decoders_find_the_same_or_refuse_equally(
    tmp_path_factory, header: tuple[bytes, int]
):
    raw, data = header
    path = tmp_path_factory.mktemp("header") / "m.safetensors"
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + bytes(data))
    found = result(str(path))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "_decode_fast", lambda raw: None)
        assert result(str(path)) == found
