"""Headers that the reference accepts or refuses: explorer agrees, or is stricter on purpose."""

import struct
from pathlib import Path

import pytest
import safetensors

from explorer.errors import FormatError
from explorer.formats.safetensors import read, values

# See docs/security.md: two readers would see two models, or no array can have the shape.
STRICTER = {
    "meta dup keys",
    "dup tensor",
    "dup extra field",
    "nested extra dup",
    "list entry",
    "zero 2^63",
    "zero 2^62 2^62",
    "rank 65",
}
CASES = {
    "plain": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "meta": '{"__metadata__":{"k":"v"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "nocomma": '{"__metadata__":{}"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "nocomma2": '{"__metadata__":{"k":"v"}"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "trailcomma": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},}',
    "meta trail": '{"__metadata__":{},}',
    "meta trail+tensor": '{"__metadata__":{},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},}',
    "meta inner trail": '{"__metadata__":{"a":"b",},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "second meta": '{"__metadata__":{},"__metadata__":{},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "second meta as tensor": '{"__metadata__":{},"__metadata__":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "second meta tensor fits": '{"__metadata__":{"k":"v"},"__metadata__":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "meta is tensor": '{"__metadata__":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "-0 shape": '{"a":{"dtype":"F32","shape":[-0],"data_offsets":[0,0]}}',
    "-0 off": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[-0,4]}}',
    "-0 extra": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":-0}}',
    "NaN extra": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":NaN}}',
    "Inf extra": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":-Infinity}}',
    "1e999 extra": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1e999}}',
    "1e308 extra": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1e308}}',
    "bigint extra": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":99999999999999999999999999999999999999999999999999}}',
    "bigint400 extra": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":9999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999}}',
    "deep 100": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}}',
    "deep 124": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}}',
    "deep 125": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}}',
    "deep 126": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}}',
    "deep 127": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}}',
    "deep 128": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}}',
    "deep 400": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}}',
    "off 2^64": '{"a":{"dtype":"F32","shape":[0],"data_offsets":[18446744073709551616,18446744073709551616]}}',
    "zero 2^64": '{"a":{"dtype":"F32","shape":[0,18446744073709551616],"data_offsets":[0,0]}}',
    "zero 2^63": '{"a":{"dtype":"F32","shape":[0,9223372036854775808],"data_offsets":[0,0]}}',
    "2^63 2^63 zero": '{"a":{"dtype":"F32","shape":[9223372036854775808,9223372036854775808,0],"data_offsets":[0,0]}}',
    "zero 2^62 2^62": '{"a":{"dtype":"F32","shape":[0,4611686018427387904,4611686018427387904],"data_offsets":[0,0]}}',
    "rank 65": '{"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}}',
    "meta null": '{"__metadata__":null,"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "meta null end": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"__metadata__":null}',
    "meta null spaces": '{"__metadata__": null, "a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "meta list": '{"__metadata__":[],"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "meta num": '{"__metadata__":{"a":1},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "meta value null": '{"__metadata__":{"a":null},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "meta dup keys": '{"__metadata__":{"a":"1","a":"2"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "dup tensor": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "dup field": '{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "dup extra field": '{"a":{"dtype":"F32","x":1,"x":2,"shape":[1],"data_offsets":[0,4]}}',
    "extra field": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}}',
    "float off": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4.0]}}',
    "float shape": '{"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}',
    "exp shape": '{"a":{"dtype":"F32","shape":[1e0],"data_offsets":[0,4]}}',
    "list entry": '{"a":["F32",[1],[0,4]]}',
    "off three": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,4]}}',
    "lead zero": '{"a":{"dtype":"F32","shape":[01],"data_offsets":[0,4]}}',
    "lead space": ' {"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "trail space": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}   ',
    "trail nl": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}\n\t ',
    "trail nul": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}\x00',
    "inner spaces": '{ "a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]} }',
    "bom": '\ufeff{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "escape name": '{"\\u0061":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "lone surrogate": '{"\\ud800":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "ctl in name": '{"a\x01":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "tab in name": '{"a\tb":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "empty name": '{"":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "missing dtype": '{"a":{"shape":[1],"data_offsets":[0,4]}}',
    "null shape": '{"a":{"dtype":"F32","shape":null,"data_offsets":[0,4]}}',
    "true off": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[false,4]}}',
    "empty": "{}",
    "list": "[]",
    "null": "null",
    "two docs": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}{}',
    "unknown dtype": '{"a":{"dtype":"Q32","shape":[1],"data_offsets":[0,4]}}',
    "lower dtype": '{"a":{"dtype":"f32","shape":[1],"data_offsets":[0,4]}}',
    "zero tensors order": '{"b":{"dtype":"F32","shape":[0],"data_offsets":[4,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "zero at mid": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[0],"data_offsets":[2,2]}}',
    "meta in the middle": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"__metadata__":{"a":"b"}}',
    "meta brace text": '{"__metadata__":{"a":"}"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "nested extra dup": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":{"y":1,"y":2}}}',
    "extra -": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":-1.5e-3}}',
}
_FOUR = ("0,4]", "false,4", "4.0", "4,4]")  # cases with four bytes of data


@pytest.mark.parametrize("name", CASES)
def test_accepted_as_by_the_reference(tmp_path: Path, name: str):
    raw = CASES[name].encode("utf-8", "surrogatepass")
    data = bytes(4) if any(text in CASES[name] for text in _FOUR) else b""
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + data)
    try:
        with safetensors.safe_open(str(path), "np") as file:
            expected = set(file.keys())
    except safetensors.SafetensorError:
        expected = None
    if expected is None or name in STRICTER:
        assert (expected is not None) == (name in STRICTER)
        with pytest.raises(FormatError):
            read(str(path))
    else:
        assert set(read(str(path)).keys) == expected
        assert set(values(str(path), lambda key: True)) == expected
