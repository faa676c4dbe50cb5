"""GGUF: every rule of the format broken once, and bytes broken at random."""

import math
from pathlib import Path

import gguf as reference
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer import dtypes
from explorer.errors import FormatError, TargetError
from explorer.formats import gguf
from tests.formats.gguf_bytes import B, save, written

AGAIN = "fetch or write the file again"


def array(kind: int, count: int, items: bytes = b"") -> bytes:
    return B.pair("a", 9, B.pack("IQ", kind, count) + items)


HEAD = b"GGUF" + B.pack("I", 3)
F32 = bytes(32)

BAD = {
    "no magic": (
        b"GGML" + bytes(20),
        "starts with 47 47 4d 4c; expected 47 47 55 46 (GGUF)",
    ),
    "only the magic": (
        b"GGUF",
        "ends at byte 4, inside its first 8 bytes; expected at least 8 bytes",
    ),
    "version 4": (
        b"GGUF" + B.pack("IQQ", 4, 0, 0),
        "is GGUF version 4; expected version 1, 2 or 3",
    ),
    "no counts": (
        HEAD + B.pack("Q", 0),
        "ends at byte 16, inside its counts of tensors and keys; "
        "expected at least 24 bytes",
    ),
    "tensor count": (
        HEAD + B.pack("QQ", 1 << 62, 0),
        "claims 4,611,686,018,427,387,904 tensors with 0 bytes left; expected at most 0",
    ),
    "key count": (
        HEAD + B.pack("QQ", 0, 1 << 40) + bytes(26),
        "claims 1,099,511,627,776 keys with 26 bytes left; expected at most 2",
    ),
    "key length": (
        HEAD + B.pack("QQQ", 0, 1, 1 << 60) + bytes(16),
        "the name of key 1 of 1 claims 1,152,921,504,606,846,976 bytes; "
        "expected at most 65,535",
    ),
    "text length": (
        B.file(pairs=(B.pair("a", 8, B.pack("Q", 1 << 63)),)),
        "ends at byte 64, inside the value of 'a'; "
        "expected at least 9,223,372,036,854,775,853 bytes",
    ),
    "value type": (
        B.file(pairs=(B.pair("a", 13, bytes(8)),)),
        "the value of 'a' has type 13; expected a type from 0 to 12",
    ),
    "bool": (
        B.file(pairs=(B.pair("a", 7, b"\2"),)),
        "the value of 'a' is a bool of 2; expected 0 or 1",
    ),
    "array of unknown type": (
        B.file(pairs=(array(14, 1, bytes(8)),)),
        "the value of 'a' has type 14; expected a type from 0 to 12",
    ),
    "array of numbers": (
        B.file(pairs=(array(4, 1 << 50, bytes(8)),)),
        "claims 1,125,899,906,842,624 items in the value of 'a' with 15 bytes left; "
        "expected at most 3",
    ),
    "array of texts": (
        B.file(pairs=(array(8, 1 << 61, bytes(16)),)),
        "claims 2,305,843,009,213,693,952 items in the value of 'a' with 47 bytes left; "
        "expected at most 5",
    ),
    "array of arrays": (
        B.file(pairs=(array(9, 1 << 61, bytes(16)),)),
        "claims 2,305,843,009,213,693,952 items in the value of 'a' with 47 bytes left; "
        "expected at most 3",
    ),
    "text length in an array": (
        B.file(pairs=(array(8, 2, B.pack("Q", 2**64 - 1) + bytes(20)),)),
        "ends at byte 96, inside the value of 'a'; "
        "expected at least 18,446,744,073,709,551,680 bytes",
    ),
    "nested arrays": (
        B.file(pairs=(array(9, 1, B.pack("IQ", 9, 1) * 9),)),
        "the value of 'a' nests arrays too deeply; expected at most 4 levels",
    ),
    "key twice": (
        B.file(pairs=(B.pair("a", 0, b"\1"), B.pair("b", 0, b"\1"), B.pair("a", 7, b"\1"))),
        "key 'a' is given twice; expected each key once",
    ),
    "key in Latin-1": (
        B.file(pairs=(B.pair(b"na\xefve", 0, b"\1"),)),
        "the name of key 1 of 1 is not UTF-8 (invalid continuation byte at byte 2); "
        "expected UTF-8",
    ),
    "value in Latin-1": (
        B.file(pairs=(B.pair("a", 8, B.text(b"na\xefve")),)),
        "the value of 'a' is not UTF-8 (invalid continuation byte at byte 2); "
        "expected UTF-8",
    ),
    "name in Latin-1": (
        B.file((B.tensor("a", (1,)), B.tensor(b"\xff", (1,))), data=F32),
        "the name of tensor 2 of 2 is not UTF-8 (invalid start byte at byte 0); "
        "expected UTF-8",
    ),
    "name length": (
        B.file((B.pack("Q", 70_000) + bytes(30),), data=F32),
        "the name of tensor 1 of 1 claims 70,000 bytes; expected at most 65,535",
    ),
    "tensor twice": (
        B.file((B.tensor("a", (8,)), B.tensor("a", (8,), 0, 32)), data=F32 * 2),
        "tensor 'a' is listed twice; expected each name once",
    ),
    "header cut in a tensor": (
        B.file((B.tensor("a", (1,)), B.tensor("b", (1,))))[:80],
        "ends at byte 80, inside tensor 2 of 2; expected at least 90 bytes",
    ),
    "rank": (
        B.file((B.tensor("a", (1,) * 9),), data=F32),
        "tensor 'a' has 9 dimensions; expected at most 8",
    ),
    "absurd rank": (
        B.file((B.text("a") + B.pack("I", 2**32 - 1) + bytes(24),)),
        "tensor 'a' has 4,294,967,295 dimensions; expected at most 8",
    ),
    "zero dimension": (
        B.file((B.tensor("a", (4, 0)),), data=F32),
        "tensor 'a' has shape [0, 4]; expected dimensions of 1 or more",
    ),
    "overflow": (
        B.file((B.tensor("a", (1 << 32, 1 << 31)),), data=F32),
        "tensor 'a' has shape [2147483648, 4294967296]; expected fewer than 2^63 elements",
    ),
    "type removed from ggml": (
        B.file((B.tensor("a", (32,), 4),), data=F32),
        "tensor 'a' has ggml type 4; expected a type of llama.cpp, ik_llama.cpp or bitnet.cpp, such as 12 (q4_k)",
    ),
    "part of a block": (
        B.file((B.tensor("a", (128, 2), 12),), data=bytes(144)),
        "tensor 'a' has format q4_k and rows of 128 elements; "
        "expected rows of whole blocks of 256",
    ),
    "scalar of blocks": (
        B.file((B.tensor("a", (), 8),), data=bytes(34)),
        "tensor 'a' has format q8_0 and rows of 1 elements; "
        "expected rows of whole blocks of 32",
    ),
    "alignment 0": (
        B.file(pairs=(B.pair("general.alignment", 4, bytes(4)),)),
        "general.alignment is 0; expected a power of two",
    ),
    "alignment 48": (
        B.file(pairs=(B.pair("general.alignment", 4, B.pack("I", 48)),)),
        "general.alignment is 48; expected a power of two",
    ),
    "alignment in words": (
        B.file(pairs=(B.pair("general.alignment", 8, B.text("\x1b[2J")),)),
        "general.alignment is \\x1b[2J; expected a power of two",
    ),
    "misaligned": (
        B.file((B.tensor("a", (1,)), B.tensor("b", (1,), 0, 4)), data=F32 * 2),
        "tensor 'b' at byte 4 of the data is not aligned to 32; expected byte 32",
    ),
    "overlap": (
        B.file((B.tensor("a", (16,)), B.tensor("b", (1,), 0, 32)), data=F32 * 3),
        "tensor 'b' at byte 32 of the data overlaps another; expected byte 64",
    ),
    "same place": (
        B.file((B.tensor("a", (1,)), B.tensor("b", (1,))), data=F32 * 2),
        "tensor 'b' at byte 0 of the data overlaps another; expected byte 32",
    ),
    "hole": (
        B.file((B.tensor("a", (1,)), B.tensor("b", (1,), 0, 96)), data=F32 * 4),
        "tensor 'b' at byte 96 of the data leaves a hole; expected byte 32",
    ),
    "offset beyond everything": (
        B.file((B.tensor("a", (1,), 0, 1 << 63),), data=F32),
        "tensor 'a' at byte 9,223,372,036,854,775,808 of the data leaves a hole; "
        "expected byte 0",
    ),
    "no data": (
        B.file((B.tensor("a", (8,)),)),
        "is cut short at byte 64, and tensor 'a' ends at byte 96; expected 96 bytes",
    ),
    "data cut": (
        B.file(
            (
                B.tensor("a", (8,)),
                B.tensor("b\x1b[31m", (8,), 0, 32),
                B.tensor("c", (8,), 0, 64),
            ),
            data=F32 + bytes(31),
        ),
        "is cut short at byte 191, and tensor 'b\\x1b[31m' ends at byte 192; "
        "expected 224 bytes",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_reported_in_one_line(tmp_path, case):
    content, message = BAD[case]
    path = written(tmp_path / "bad.gguf", content)
    with pytest.raises(FormatError) as error:
        gguf.read(path)
    assert str(error.value) == f"{path}: {message}; {AGAIN}"
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            B.pair("a", 8, B.pack("Q", 1 << 36)),
            "its header continues in the value of 'a' to byte 68,719,476,781; "
            "expected at most 100,000,000",
        ),
        (
            array(8, 1 << 30),
            "claims 1,073,741,824 items in the value of 'a' with 99,999,951 bytes left; "
            "expected at most 12,499,993",
        ),
        (
            array(9, 200_000),
            "claims 200,000 items in the value of 'a' with 99,999,951 bytes left; "
            "expected at most 100,000",
        ),
    ],
)
def test_a_header_longer_than_any_real_one_is_not_read(tmp_path, value, message):
    path = tmp_path / "a.gguf"
    with path.open("wb") as file:  # large enough for the claim, and a hole
        file.write(B.file(pairs=(value,)))
        file.truncate(1 << 37)
    with pytest.raises(FormatError) as error:
        gguf.read(str(path))
    assert str(error.value) == f"{path}: {message}; {AGAIN}"


def test_the_number_of_tensors_is_bounded(tmp_path):
    path = tmp_path / "a.gguf"
    with path.open("wb") as file:
        file.write(HEAD + B.pack("QQ", 1_000_001, 0))
        file.truncate(1 << 37)
    with pytest.raises(FormatError, match=r"claims 1,000,001 tensors .* most 1,000,000"):
        gguf.read(str(path))


def test_a_file_that_cannot_be_read_is_the_targets_fault(tmp_path):
    with pytest.raises(TargetError) as error:
        gguf.read(str(tmp_path / "none.gguf"))
    assert str(error.value).endswith("none.gguf: cannot be read: No such file or directory")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A file with something of everything, and its bytes."""
    path = tmp_path_factory.mktemp("fuzz") / "sound.gguf"
    writer = reference.GGUFWriter(path, "llama")
    writer.add_array("words", [f"word{i}" for i in range(20)])
    writer.add_array("scores", [0.5] * 20)
    writer.add_float32("epsilon", 1e-6)
    writer.add_bool("flag", True)
    writer.add_tensor("token_embd.weight", np.ones((4, 32), np.float16))
    kind = reference.GGMLQuantizationType.Q4_0
    writer.add_tensor("blk.0.w.weight", np.ones((2, 18), np.uint8), raw_dtype=kind)
    writer.add_tensor("blk.0.bias", np.ones(3, np.float32))
    save(writer)
    gguf.read(str(path))
    return path, path.read_bytes()


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_broken_bytes_parse_or_are_refused(sound, data):
    path, content = sound
    broken = bytearray(content)
    places = st.integers(0, len(content) - 1)
    for place, value in data.draw(
        st.lists(st.tuples(places, st.integers(0, 255)), max_size=6), "flips"
    ):
        broken[place] = value
    cut = data.draw(st.one_of(st.just(len(content)), places), "cut")
    target = written(path.with_name("broken.gguf"), bytes(broken[:cut]))
    try:
        listing = gguf.read(target)
    except FormatError:
        return
    assert sum(listing.nbytes) <= cut
    assert len(set(listing.keys)) == len(listing.keys)
    for shape, name, nbytes in zip(
        listing.shapes, listing.dtypes, listing.nbytes, strict=True
    ):
        assert dtypes.find(name).nbytes(math.prod(shape)) == nbytes
