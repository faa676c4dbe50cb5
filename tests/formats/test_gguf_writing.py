"""GGUF files that explorer writes, opened by the gguf package: every type of value."""

from io import BytesIO
from pathlib import Path

import gguf
import numpy as np
import pytest

from explorer.errors import InputError
from explorer.formats.gguf.key_values import GgufValue, key_values
from explorer.formats.gguf.writing import write
from explorer.formats.writing import OutgoingTensor

PAIRS = {
    "general.architecture": GgufValue("string", "llama"),
    "a.uint8": GgufValue("uint8", 255),
    "a.int8": GgufValue("int8", -128),
    "a.uint16": GgufValue("uint16", 65535),
    "a.int16": GgufValue("int16", -32768),
    "a.uint32": GgufValue("uint32", 2**32 - 1),
    "a.int32": GgufValue("int32", -(2**31)),
    "a.uint64": GgufValue("uint64", 2**64 - 1),
    "a.int64": GgufValue("int64", -(2**63)),
    "a.float32": GgufValue("float32", 0.5),
    "a.float64": GgufValue("float64", 0.1),
    "a.bool": GgufValue("bool", True),
    "a.text": GgufValue("string", "Grüße \u2581"),
    "a.texts": GgufValue("array", ["", "b c", "\u0120"], "string"),
    "a.numbers": GgufValue("array", [1, -2, 3], "int32"),
    "a.reals": GgufValue("array", [0.5, -1.0], "float32"),
    "a.bools": GgufValue("array", [True, False], "bool"),
    "a.none": GgufValue("array", [], "string"),
}


def outgoing(name: str, array: np.ndarray, dtype: str = "float32") -> OutgoingTensor:
    return OutgoingTensor(name, dtype, array.shape, lambda: iter([array]))


def written(path: Path, tensors: list[OutgoingTensor], pairs: dict | None = None) -> Path:
    with path.open("wb") as out:
        write(out, str(path), tensors, PAIRS if pairs is None else pairs)
    return path


def test_every_type_of_value(tmp_path: Path):
    path = written(tmp_path / "a.gguf", [outgoing("a.weight", np.ones((2, 3), "float32"))])
    fields = gguf.GGUFReader(path).fields
    for key, pair in PAIRS.items():
        assert fields[key].contents() == pair.value, key
    assert key_values(str(path)) == PAIRS


def test_what_the_package_writes_is_read_whole(tmp_path: Path):
    path = tmp_path / "a.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_token_list(["<s>", "b", "\u2581c"])
    writer.add_token_scores([0.0, -1.5, -2.0])
    writer.add_chat_template("{{ x }}")
    writer.add_bool("a.bool", False)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    found = key_values(str(path))
    assert found["tokenizer.ggml.tokens"].value == ["<s>", "b", "\u2581c"]
    assert found["tokenizer.ggml.scores"].value == [0.0, -1.5, -2.0]
    assert found["tokenizer.chat_template"] == GgufValue("string", "{{ x }}")
    assert found["a.bool"] == GgufValue("bool", False)


@pytest.mark.parametrize(
    "dtype", ["float32", "float16", "bfloat16", "int8", "int64", "q8_0"]
)
def test_tensors(tmp_path: Path, dtype: str):
    """Of several sizes, none a multiple of the alignment."""
    size = 34 if dtype == "q8_0" else gguf_bytes(dtype)
    raw = {f"t{n}": np.arange(n * size, dtype="uint8") % 251 for n in (1, 3, 7)}
    rows = 32 if dtype == "q8_0" else 1
    tensors = [
        OutgoingTensor(name, dtype, (len(data) // size, rows), lambda d=data: iter([d]))
        for name, data in raw.items()
    ]
    found = gguf.GGUFReader(written(tmp_path / "a.gguf", tensors)).tensors
    assert [t.name for t in found] == list(raw)
    for tensor in found:
        assert tensor.data.tobytes() == raw[tensor.name].tobytes()
        assert tensor.data_offset % 32 == 0


def gguf_bytes(dtype: str) -> int:
    return {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1, "int64": 8}[dtype]


BAD = {
    "GGUF has no complex64": [outgoing("a", np.ones(2, "complex64"), "complex64")],
    "the name is given twice": [outgoing("a", np.ones(2, "float32"))] * 2,
    "rows of 33 are not whole blocks of q8_0": [outgoing("a", np.ones((1, 33)), "q8_0")],
    "GGUF has no tensors of shape [0]": [outgoing("a", np.ones(0, "float32"))],
}


@pytest.mark.parametrize("found", BAD)
def test_what_the_format_cannot_hold(found: str):
    with pytest.raises(InputError) as error:
        write(BytesIO(), "a.gguf", BAD[found], {})
    assert found in str(error.value)


@pytest.mark.parametrize(
    "value", [GgufValue("uint8", 256), GgufValue("uint8", "a"), GgufValue("int9", 1)]
)
def test_values_of_another_type(value: GgufValue):
    with pytest.raises(InputError, match=r"a\.key is no"):
        write(BytesIO(), "a.gguf", [], {"a.key": value})
