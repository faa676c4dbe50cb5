"""The pickle reader: what Python's pickler writes is read, and nothing is ever run."""

import argparse
import collections
import os
import pickle
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.errors import FormatError, InputError, UnsafePickleError
from explorer.formats.pytorch import machine, pickles, read, values
from explorer.formats.pytorch.pickles import Global, Instance, load
from explorer.formats.pytorch.torch_names import finder
from tests.formats.torch_bytes import (
    MAGIC,
    Call,
    Named,
    Raw,
    Stored,
    pickled,
    spell,
    tensor,
    text,
    write_zip,
    zeros,
)

DATA = Path(__file__).parents[1] / "data/pytorch"
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False)
    | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.tuples(inner, inner, inner, inner)
        | st.dictionaries(st.text() | st.integers(), inner)
    ),
    max_leaves=30,
)


def parse(data: bytes) -> object:
    return load("x.pkl", data, finder("x.pkl"))[0]


def refusal(path: Path, content: bytes) -> str:
    """The one line that a file with this content is refused with."""
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read(str(path))
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix(f"{path}: ")


# What Python writes


@settings(max_examples=200, deadline=None)
@given(PLAIN, st.integers(2, 5))
def test_plain_things_come_back(thing: object, protocol: int):
    assert parse(pickle.dumps(thing, protocol)) == thing


TEXTUAL = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats(allow_nan=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(TEXTUAL, st.integers(0, 1))
def test_the_textual_protocols_come_back(thing: object, protocol: int):
    assert parse(pickle.dumps(thing, protocol)) == thing


@given(st.binary(max_size=300), st.integers(3, 5))
def test_bytes_come_back(raw: bytes, protocol: int):
    assert parse(pickle.dumps([raw, bytearray(raw)], protocol)) == [raw, raw]


def test_long_bytes_are_read_in_place():
    raw = bytes(range(256)) * 100
    found = parse(pickle.dumps(raw, 4))
    assert isinstance(found, memoryview)
    assert found == raw


def test_python_2_strings_are_text_where_they_are_ascii():
    assert parse(b"(S'a\\x62'\nU\x01cU\x01\xfft.") == ("ab", "c", b"\xff")


def test_shared_things_stay_shared():
    inner = [1]
    found = parse(pickle.dumps([inner, inner], 2))
    assert isinstance(found, list)
    assert found[0] is found[1]


ARRAYS = {
    "f": np.arange(6, dtype=np.float32).reshape(2, 3),
    "i": np.asfortranarray(np.arange(6, dtype=np.int16).reshape(3, 2)),
    "big": np.arange(3, dtype=">f8"),
    "bool": np.array([True, False]),
    "none": np.zeros((0, 4), np.uint8),
    "point": np.array(1.5),
    "long": np.arange(5000, dtype=np.int64),
    "words": np.array(["no", "tensor"]),
    "objects": np.array([None, {}]),
    "scalar": np.float32(3.0),
    "number": 4,
}
NUMERIC = {key: array for key, array in ARRAYS.items() if key in list(ARRAYS)[:7]}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickled_numpy_arrays(tmp_path, protocol):
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(ARRAYS, protocol))
    listing = read(str(path))
    assert listing.format == "pickle"
    assert listing.keys == list(NUMERIC)
    assert listing.shapes == [array.shape for array in NUMERIC.values()]
    assert listing.dtypes == [array.dtype.name for array in NUMERIC.values()]
    assert listing.nbytes == [array.nbytes for array in NUMERIC.values()]
    for key, array in values(str(path), lambda key: True).items():
        np.testing.assert_array_equal(array, NUMERIC[key])


def test_the_containers_of_checkpoints(tmp_path):
    array = np.ones(2)
    root = {
        "ordered": collections.OrderedDict(a=array),
        "default": collections.defaultdict(list, b=array),
        "options": argparse.Namespace(c=array, text="x"),
        "set": {1, 2},
        "counter": collections.Counter("aab"),
        "bytes": (b"", bytearray(b"abc"), b"x" * 300, complex(1, 2), range(3), slice(1)),
    }
    for protocol in range(2, 6):
        path = tmp_path / f"{protocol}.pkl"
        path.write_bytes(pickle.dumps(root, protocol))
        assert read(str(path)).keys == [
            ("ordered", "a"),
            ("default", "b"),
            ("options", "c"),
        ]


# Nothing is run


class Evil:
    """What pickle.load would call."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (os.system, "posix.system"),
        (eval, "builtins.eval"),
        (getattr, "builtins.getattr"),
        (__import__, "builtins.__import__"),
        (Path, "pathlib"),
    ],
)
@pytest.mark.parametrize("protocol", range(6))
def test_foreign_names_are_refused_and_not_run(tmp_path, function, name, protocol):
    mark = tmp_path / "ran"
    evil = Evil(function, f"touch {mark}")
    found = refusal(tmp_path / "x.pkl", pickle.dumps({"w": evil}, protocol))
    assert found.startswith(f"names {name.replace('builtins', found[6:].split('.')[0])}")
    assert "nothing was run" in found
    assert not mark.exists()
    with pytest.raises(UnsafePickleError, match="nothing was run"):
        read(write_zip(tmp_path / "x.pt", pickle.dumps({"w": evil}, protocol)))
    assert not mark.exists()


@pytest.mark.parametrize(
    ("module", "name", "cure"),
    [
        ("torch.distributed.tensor", "DTensor", "DTensor.full_tensor()"),
        ("torch._utils", "_rebuild_wrapper_subclass", "dequantize() a subclass"),
        ("__torch__.model", "Model", "save the state_dict()"),  # of a script alone
        ("torch", "load", "save the state_dict()"),
        ("numpy", "load", "save the state_dict()"),
        ("torch.storage", "_load_from_bytes", "save the state_dict()"),
        ("a\x1b[31m", "b", "save the state_dict()"),
    ],
)
def test_names_near_the_list_are_refused(tmp_path, module, name, cure):
    with pytest.raises(UnsafePickleError) as error:
        read(write_zip(tmp_path / "x.pt", {"w": Named(module, name)}))
    shown = module.replace("\x1b", "\\x1b")
    assert f"names {shown}.{name}, which is not a part of a tensor" in str(error.value)
    assert cure in str(error.value)


def test_the_classes_of_a_script_are_records():
    made = b"c__torch__.m\nM\n)\x81}(" + text("a") + b"K\x01ub."
    found = load("x", made, lambda module, name: Global("M", lambda: Instance("M")))[0]
    assert isinstance(found, Instance)
    assert found.state == {"a": 1}


# Broken pickles, each reported in one line


WORD = text("w")
ENDLESS = b"\x8e" + struct.pack("<Q", 1 << 60)


@pytest.mark.parametrize(
    ("opcodes", "fault"),
    [
        (b"", "ends in the middle"),
        (b"}(" + WORD, "ends in the middle"),
        (b"X\x02", "ends in the middle"),
        (b"J\x01", "ends in the middle"),
        (b"G\x01", "has a string of 8 bytes, beyond its end"),
        (b"X" + struct.pack("<I", 1 << 31), "has text of 2,147,483,648 bytes"),
        (
            b"\x8d" + struct.pack("<Q", 1 << 60),
            "has text of 1,152,921,504,606,846,976 bytes",
        ),
        (ENDLESS, "has a string of 1,152,921,504,606,846,976 bytes, beyond its end"),
        (b"B" + struct.pack("<I", 1 << 31), "has a string of 2,147,483,648 bytes, beyond"),
        (b"\x8b" + struct.pack("<I", 1 << 31), "has an integer of 2,147,483,648 bytes"),
        (b"\x95" + struct.pack("<Q", 1 << 40), "has a frame of 1,099,511,627,776 bytes"),
        (b"I" + b"9" * 5000 + b"\n.", "has an integer of 5,000 digits"),
        (b"Ix\n.", "has the integer b'x'"),
        (b"Fx\n.", "has the number b'x'"),
        (b"S'x\n.", "has a string without quotes"),
        (b"Vx", "has a line without an end"),
        (b"X\x01\x00\x00\x00\xff.", "has text that is not UTF-8"),
        (b"0.", "uses what was never put on its stack or in its memo"),
        (b"t.", "uses what was never put on its stack or in its memo"),
        (b"K\x01K\x02\x87.", "uses what was never put on its stack or in its memo"),
        (b"h\x07.", "uses what was never put on its stack or in its memo"),
        (b"j\xff\xff\xff\xff.", "uses what was never put on its stack or in its memo"),
        (b"g99\n.", "uses what was never put on its stack or in its memo"),
        (b"Nr\xff\xff\xff\xff.", "puts memo entry 4,294,967,295 after 0"),
        (b"Np-1\n.", "has memo index -1"),
        (b"\xff.", "has byte 0xff, which is not an opcode"),
        (b"\x80\x09.", "is of protocol 9, newer than 5"),
        (b"(" * 2000, "is nested deeper than 1,000 levels"),
        (b"]K\x01s.", "uses what was never put"),
        (b"]K\x01K\x01s.", "sets items of a list"),
        (b"}(K\x01u.", "sets items of a dict"),
        (b"}K\x01a.", "appends to a dict"),
        (b"}]K\x01s.", "has a list in a key"),
        (b"})\x85\x85K\x01s.", "has a tuple in a key"),
        (b"}K\x01b.", ""),  # an attribute of a dict: no fault
        (b"]K\x01b.", "sets the state of a list"),
        (b"K\x01)R.", "calls a int, which is not a function"),
        (b"cbuiltins\nint\n)R.", "calls builtins.int, which is not a function"),
        (b"ccollections\nOrderedDict\nK\x01R.", "without a tuple of arguments"),
        (
            b"ccollections\nOrderedDict\n(K\x01tR.",
            "makes a dict of what is not a list of pairs",
        ),
        (b"cnumpy\ndtype\n)RK\x01b.", ""),
        (
            b"cargparse\nNamespace\n(K\x01tR.",
            "calls argparse.Namespace with wrong arguments",
        ),
        (b"K\x01Q.", "refers to an object outside itself"),
        (b"P1\n.", "refers to an object by a line of text"),
        (b"\x82\x01.", "uses a registered extension"),
        (b"\x97.", "keeps its bytes in a buffer outside itself"),
        (b"K\x01K\x02\x93.", "names an object by something that is not text"),
        (b"ccollections\nOrderedDict\n)}(K\x01K\x01u\x92.", "with keyword arguments"),
        (b"(o.", "calls a NoneType, which is not a function"),
        (b"N" + b"q\x05h\x00)R.", "calls a memo entry that was never put"),
    ],
)
def test_broken_pickles(tmp_path, opcodes, fault):
    path = tmp_path / "x.pkl"
    content = b"\x80\x02" + opcodes
    if not fault:
        path.write_bytes(content)
        assert read(str(path)).keys == []
        return
    found = refusal(path, content)
    assert found.startswith(f"its pickle {fault}") or fault in found
    assert found.endswith("fetch or save the file again")


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp()
    whole = bytearray((DATA / "formats.pt").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(1, len(whole)) | st.just(len(whole)))
    path = folder / "damaged.pt"
    path.write_bytes(whole[:end])
    with suppress(InputError):  # and nothing else
        assert len(values(str(path), lambda key: True)) <= len(read(str(path)).keys)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), st.binary(max_size=30))
def test_any_opcodes_are_read_or_refused(tmp_path_factory, first, second):
    path = tmp_path_factory.getbasetemp() / "noise.pkl"
    path.write_bytes(b"\x80\x02" + first + spell(tensor("0", (2,))) + second + b".")
    with suppress(InputError):  # and nothing else
        read(str(path))


# Bombs: small files that would become large


def test_opcodes_are_bounded(monkeypatch):
    monkeypatch.setattr(pickles, "MAX_OPCODES", 1000)
    with pytest.raises(FormatError, match="has more than 1,000 opcodes"):
        parse(b"}" * 2000)


def test_lines_are_bounded(monkeypatch):
    monkeypatch.setattr(machine, "MAX_LINE", 10)
    with pytest.raises(FormatError, match="has a line without an end"):
        parse(b"V" + b"x" * 20 + b"\n.")


def test_a_container_in_itself(tmp_path):
    loop = b"\x80\x02}q\x00(" + WORD + b"h\x00u."
    assert refusal(tmp_path / "x.pkl", loop).startswith("'w' contains itself")
    around = b"\x80\x02}(" + WORD + b"]q\x00h\x00\x85au."
    assert refusal(tmp_path / "x.pkl", around).startswith("'w/0/0' contains itself")


def test_deep_nesting(tmp_path):
    for level in (b"\x85", b"]q\x00\x85"):  # tuples in tuples
        deep = refusal(tmp_path / "x.pkl", b"\x80\x02)" + b"\x85" * 400_000 + b".")
        assert deep.startswith("is nested deeper than 100 levels"), level
    records = b"N" + b"cargparse\nNamespace\n)R" * 100_000 + b"b" * 99_999 + b"."
    assert "is nested deeper" in refusal(tmp_path / "x.pkl", b"\x80\x02" + records)


def test_a_deep_key_is_not_hashed(tmp_path):
    deep = b"\x80\x02})" + b"\x85" * 400_000 + b"K\x01s."
    assert "has a tuple in a key" in refusal(tmp_path / "x.pkl", deep)


def test_deep_things_in_every_place_of_a_tensor(tmp_path):
    deep = Raw(b")" + b"\x85" * 300_000)
    good = tensor("0", (2,)).arguments
    for place in range(4):
        bad = (*good[:place], deep, *good[place + 1 :])
        root = {"w": Call("torch._utils", "_rebuild_tensor_v2", bad)}
        with pytest.raises(FormatError, match="its pickle has a tensor with"):
            read(write_zip(tmp_path / "x.pt", root, {"0": zeros(2)}))
    with pytest.raises(
        FormatError, match="refers to something outside that is not a storage"
    ):
        read(write_zip(tmp_path / "x.pt", {"w": Stored((deep, 1, 2, 3, 4))}))
    stream = b"".join(map(pickled, (MAGIC, 1001, {}, {}, [deep])))
    assert "lists no storages" in refusal(tmp_path / "y.pt", stream)


def laughs(levels: int, leaf: bytes) -> bytes:
    """Each level holds the one before ten times."""
    body = b"\x80\x02}(" + WORD + leaf + b"q\x01"
    for level in range(2, levels):
        body += b"0(" + b"h%c" % (level - 1) * 10 + b"tq%c" % level
    return body + b"u."


@pytest.mark.parametrize("leaf", [b")", spell({"v": 1})])
def test_a_billion_laughs(tmp_path, leaf):
    found = refusal(tmp_path / "x.pkl", laughs(14, leaf))
    assert found.startswith("repeats its parts far beyond its own length")


def test_a_list_of_pairs_makes_one_dict(tmp_path):
    pairs = spell([["a", 1], ["b", 2]])
    again = b"(ccollections\nOrderedDict\n" + pairs + b"q\x00\x85R"
    again += b"ccollections\nOrderedDict\nh\x00\x85Rt."
    assert parse(again) == ({"a": 1, "b": 2}, {})


def test_long_names_on_a_long_way_are_counted(tmp_path):
    # one name of a million parts over a list of thousands: each way would be spelt out
    name = text("." * 100_000)
    many = b"](" + b"h\x01" * 5000 + b"e"
    bomb = b"\x80\x02}(" + WORD + spell({"v": ()}) + b"q\x01" + name + many + b"u."
    assert "repeats its parts far beyond" in refusal(tmp_path / "x.pkl", bomb)
