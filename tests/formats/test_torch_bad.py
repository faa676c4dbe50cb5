"""PyTorch files that torch did not write: each is refused in one line, with its reason."""

import struct
import zipfile
from pathlib import Path

import pytest

from explorer.errors import FormatError, InputError, UnsafePickleError
from explorer.formats.pytorch import read, storages, values
from explorer.formats.pytorch.pickles import load
from explorer.formats.pytorch.torch_names import finder
from tests.formats.torch_bytes import (
    MAGIC,
    Call,
    Named,
    Stored,
    pickled,
    storage,
    tensor,
    write_legacy,
    write_zip,
    zeros,
)

DATA = Path(__file__).parents[1] / "data/pytorch"


def refusal(path: Path, content: bytes) -> str:
    """The one line that a file with this content is refused with."""
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read(str(path))
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix(f"{path}: ")


# Records that make no sense


def rebuilt(name: str, *arguments: object) -> Call:
    return Call("torch._utils", name, arguments)


V2 = "_rebuild_tensor_v2"
GOOD = storage("0", 4)
LAYOUT = Call("torch.serialization", "_get_layout", ("torch.sparse_odd",))


@pytest.mark.parametrize(
    ("record", "fault"),
    [
        (tensor("0", (5,), size=4), "tensor 'w' reaches byte 20 of its storage '0'; expected at most 16"),
        (tensor("0", (2,), (4,), size=4), "tensor 'w' reaches byte 20 of its storage"),
        (tensor("0", (2,), offset=3, size=4), "tensor 'w' reaches byte 20 of its storage"),
        (tensor("0", (1 << 50,), (0,), size=4), ""),
        (tensor("0", (1 << 62, 1 << 62), (0, 0), size=4), "expected fewer elements than 2**59"),
        (tensor("0", (1 << 62, 1 << 62, 0), (0, 0, 0), size=4), "fewer elements than 2**59"),
        (tensor("0", (1 << 40,), size=4), "reaches byte 4,398,046,511,104 of its storage"),
        (tensor("1", (2,)), "lacks storage '1' of tensor 'w'"),
        (tensor("0", (2,), size=9), "holds 16 bytes of storage '0', of tensor 'w'; expected 36, as its pickle says"),
        (rebuilt(V2, GOOD, 0, (-1,), (1,), False, None), "has a tensor with sizes or strides"),
        (rebuilt(V2, GOOD, 0, (1,), (-1,), False, None), "has a tensor with sizes or strides"),
        (rebuilt(V2, GOOD, -1, (1,), (1,), False, None), "has a tensor with an offset or a stride"),
        (rebuilt(V2, GOOD, 0, (1, 2), (1,), False, None), "has a tensor with an offset or a stride"),
        (rebuilt(V2, GOOD, 0, (True,), (1,), False, None), "has a tensor with sizes or strides"),
        (rebuilt(V2, GOOD, 0, (1.5,), (1,), False, None), "has a tensor with sizes or strides"),
        (rebuilt(V2, GOOD, 0, (1,) * 1000, (1,) * 1000), "has a tensor with sizes or strides"),
        (rebuilt(V2, GOOD, 0, (1 << 70,), (1,), False, None), "has a tensor with sizes or strides"),
        (rebuilt(V2, "0", 0, (1,), (1,), False, None), "has a tensor without a storage"),
        (rebuilt(V2, GOOD), "calls torch._utils._rebuild_tensor_v2 with wrong arguments"),
        (rebuilt("_rebuild_tensor_v3", GOOD, 0, (1,), (1,), False, None, Named("torch", "Size")),
         "has a tensor of format torch.Size"),
        (rebuilt("_rebuild_meta_tensor_no_storage", 1, (1,), (1,), False), "of format a int"),
        (rebuilt("_rebuild_sparse_tensor", LAYOUT, (1, 2, 3)), "of a layout that is not known"),
        (Call("torch._tensor", "_rebuild_from_type_v2",
              (Named("torch._tensor", "_rebuild_from_type_v2"), Named("torch", "Tensor"), (), None)),
         "rebuilds a tensor by what is not a function"),
        (storage("0", -4), "refers to a storage of torch.FloatStorage that makes no sense"),
        (Stored(("storage", Named("torch", "Size"), "0", "cpu", 4)), "a storage of torch.Size that"),
        (Stored(("module", Named("torch", "Tensor"), "0", "cpu", 4)), "that is not a storage"),
        (storage("0", 4, "Float", (1, 2)), "refers to a view of a storage that makes no sense"),
        (storage(("0",), 4), "refers to a storage by what is not a key"),
    ],
)  # fmt: skip
def test_records_that_make_no_sense(tmp_path, record, fault):
    path = write_zip(tmp_path / "x.pt", {"w": record}, {"0": zeros(4)})
    if not fault:  # a stride of nought repeats one element as often as it likes
        assert read(path).nbytes == [4]
        assert values(path, lambda key: True)["w"].shape == (1 << 50,)
        return
    with pytest.raises(FormatError) as error:
        read(path)
    assert fault in str(error.value)


@pytest.mark.parametrize("name", ["Int9Storage", "FloatTensor", "float5"])
def test_unknown_storages_and_formats_are_refused_by_name(tmp_path, name):
    with pytest.raises(UnsafePickleError, match=f"names torch.{name}, which"):
        read(write_zip(tmp_path / "x.pt", {"w": Named("torch", name)}))


ARRAY = ("numpy.core.multiarray", "_reconstruct", (Named("numpy", "ndarray"), (0,), b"b"))


@pytest.mark.parametrize(
    ("state", "fault"),
    [
        ((1, (3,), Call("numpy", "dtype", ("f4",)), False, b"12345678"),
         "a NumPy array of shape (3,) and type float32 in 8 bytes, not 12"),
        ((1, (-3,), Call("numpy", "dtype", ("f4",)), False, b""), "sizes that are not natural"),
        ((1, [3], Call("numpy", "dtype", ("f4",)), False, b""), "without a shape"),
        ((1, (3,), "f4", False, b""), "without a dtype"),
        ((1, (3,), Call("numpy", "dtype", ("f4",)), False, []), "without bytes"),
        ((1, (3,)), "without a state of five"),
    ],
)  # fmt: skip
def test_numpy_arrays_that_make_no_sense(tmp_path, state, fault):
    found = refusal(tmp_path / "x.pkl", pickled({"w": Call(*ARRAY, state)}))
    assert fault in found


def test_two_tensors_of_one_name(tmp_path):
    one = tensor("0", (2,))
    with pytest.raises(FormatError, match="holds two tensors named '1'"):
        read(write_zip(tmp_path / "x.pt", {1: one, "1": one}, {"0": zeros(2)}))


# Streams


@pytest.mark.parametrize(
    ("keys", "table", "cut", "fault"),
    [
        ({"0": 4}, {"0": 4}, 1, "ends inside storage '0'; expected"),
        ({"0": 4}, {"0": 4}, 20, "ends inside storage '0'; expected"),
        ({"0": 4}, {"0": 3}, 0, "stores 3 elements of '0'; expected 4, as its pickle says"),
        ({"0": 4}, {"0": 1 << 60}, 0, "stores 1,152,921,504,606,846,976 elements of '0'"),
        ({"0": 4}, {"9": 4}, 0, "stores '9', which its pickle does not name"),
        ({"0": 4}, {}, 0, "lacks storage '0' of tensor 'w0'"),
    ],
)
def test_broken_streams(tmp_path, keys, table, cut, fault):
    root = {f"w{key}": tensor(key, (size,)) for key, size in keys.items()}
    storages = {key: (size, zeros(4)) for key, size in table.items()}
    with pytest.raises(FormatError) as error:
        read(write_legacy(tmp_path / "x.pt", root, storages, cut))
    assert fault in str(error.value)


def test_a_stream_of_another_version(tmp_path):
    content = pickled(MAGIC) + pickled(1002) + pickled({})
    found = refusal(tmp_path / "x.pt", content)
    assert found == "its stream is of another version than 1001"


def test_a_stream_that_lists_a_storage_twice(tmp_path):
    root = {"w": tensor("0", (1,))}
    heads = b"".join(map(pickled, (MAGIC, 1001, {}, root, ["0", "0"])))
    one = struct.pack("<q", 1) + zeros(1)
    assert refusal(tmp_path / "x.pt", heads + one + one) == "stores '0' twice"


def test_an_empty_file(tmp_path):
    assert refusal(tmp_path / "x.pt", b"") == "is empty; fetch or save it again"


# Archives


def test_a_zip_without_a_pickle(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("notes/readme.txt", "hello")
    found = refusal(tmp_path / "x.pt", (tmp_path / "x.pt").read_bytes())
    assert found == (
        "is a zip archive without a data.pkl; expected what torch.save or torch.jit.save writes"
    )
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("old/model.json", "{}")
    found = refusal(tmp_path / "x.pt", (tmp_path / "x.pt").read_bytes())
    assert found.startswith("is a TorchScript archive from before PyTorch 1.4; expected")


def test_a_truncated_archive(tmp_path):
    whole = (DATA / "state_dict.pt").read_bytes()
    for end in (4, 100, len(whole) // 2, len(whole) - 60, len(whole) - 1):
        found = refusal(tmp_path / "x.pt", whole[:end])
        assert found == (
            "has no central directory at its end; expected a complete zip archive; fetch it again"
        )


def test_an_unknown_byte_order(tmp_path):
    path = write_zip(tmp_path / "x.pt", {}, byteorder=b"middle")
    with pytest.raises(
        FormatError, match="its byte order is b'middle'; expected little or big"
    ):
        read(path)


def test_a_packed_pickle_is_read_and_bounded(tmp_path, monkeypatch):
    root = {"w": tensor("0", (2,))}
    path = write_zip(tmp_path / "x.pt", root, {"0": zeros(2)}, zipfile.ZIP_DEFLATED)
    assert read(path).keys == ["w"]
    bomb = write_zip(tmp_path / "bomb.pt", b"}" * 5000, packing=zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(storages, "MAX_PLAIN", 4000)
    with pytest.raises(
        FormatError, match=r"has 5,000 bytes in 'archive/data\.pkl', of 4,[0-9]{3} at"
    ):
        read(bomb)


def test_a_packed_pickle_far_longer_than_what_is_there_is_a_bomb(tmp_path):
    bomb = write_zip(tmp_path / "x.pt", b"]" * 10_000_000, packing=zipfile.ZIP_DEFLATED)
    with pytest.raises(
        FormatError,
        match=r"has 10,000,000 bytes in 'archive/data\.pkl', of 2,\d\d\d,\d\d\d at",
    ):
        read(bomb)


def test_a_pickle_does_not_run_on_into_the_next_entry(tmp_path):
    path = write_zip(tmp_path / "x.pt", b"\x80\x02]")
    with pytest.raises(FormatError, match="its pickle"):
        read(path)
    with pytest.raises(FormatError, match="ends in the middle"):
        load("x", b"\x80\x02N.", find=finder("x"), end=3)


def test_another_packing_is_refused(tmp_path):
    path = write_zip(tmp_path / "x.pt", {}, packing=zipfile.ZIP_LZMA)
    with pytest.raises(FormatError, match="by method 14, not by deflate"):
        read(path)


def directory_of(path: str) -> int:
    """Where the first entry of the central directory begins."""
    return Path(path).read_bytes().index(b"PK\x01\x02")


@pytest.mark.parametrize(
    ("offset", "layout", "value", "fault"),
    [
        (24, "<I", 1 << 30, "which claims 1,073,741,824 bytes in"),  # inflated size
        (20, "<I", 1 << 30, "which reaches beyond the end of the data"),  # packed size
        (42, "<I", 1 << 30, "which reaches beyond the end of the data"),  # place
        (42, "<I", 60, "which overlaps another"),
        (24, "<I", 0xFFFFFFFF, "lacks the zip64 field of an entry"),
        (8, "<H", 1, "has an encrypted entry in its central directory"),
        (28, "<H", 9999, "has a broken entry in its central directory"),
        (0, "<I", 0, "has a broken entry in its central directory"),
    ],
)
def test_a_central_directory_that_is_false(tmp_path, offset, layout, value, fault):
    path = write_zip(
        tmp_path / "x.pt",
        {"w": tensor("0", (9,))},
        {"0": zeros(9)},
        zipfile.ZIP_DEFLATED if "claims" in fault else zipfile.ZIP_STORED,
    )
    content = bytearray(Path(path).read_bytes())
    struct.pack_into(layout, content, directory_of(path) + offset, value)
    assert fault in refusal(tmp_path / "x.pt", bytes(content))


@pytest.mark.parametrize(
    ("offset", "layout", "value"),
    [(10, "<H", 60_000), (12, "<I", 1 << 31), (16, "<I", 1 << 31)],
)
def test_an_end_record_that_is_false(tmp_path, offset, layout, value):
    path = write_zip(tmp_path / "x.pt", {})
    content = bytearray(Path(path).read_bytes())
    struct.pack_into(layout, content, content.index(b"PK\x05\x06") + offset, value)
    assert "which does not fit the file" in refusal(tmp_path / "x.pt", bytes(content))


def test_entries_of_one_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("archive/data.pkl", pickled({}))
        archive.writestr("archive/data.pkX", pickled({}))
    content = (tmp_path / "x.pt").read_bytes().replace(b"data.pkX", b"data.pkl")
    assert "names an entry twice" in refusal(tmp_path / "x.pt", content)


def test_a_local_header_that_is_false(tmp_path):
    content = bytearray(Path(write_zip(tmp_path / "x.pt", {})).read_bytes())
    struct.pack_into("<H", content, 26, 0xFFFF)  # a name beyond the file
    assert "ends inside entry 'archive/data.pkl'" in refusal(
        tmp_path / "x.pt", bytes(content)
    )


def test_values_need_a_local_header(tmp_path):
    path = write_zip(tmp_path / "x.pt", {"w": tensor("0", (2,))}, {"0": zeros(2)})
    content = bytearray(Path(path).read_bytes())
    with zipfile.ZipFile(path) as archive:
        place = archive.getinfo("archive/data/0").header_offset
    content[place : place + 4] = b"none"
    Path(path).write_bytes(content)
    with pytest.raises(FormatError, match="has no local header of entry 'data/0'"):
        values(path, lambda key: True)


def test_data_that_does_not_inflate(tmp_path):
    root = {f"w{i}": 1 for i in range(99)}
    path = write_zip(tmp_path / "x.pt", root, packing=zipfile.ZIP_DEFLATED)
    content = bytearray(Path(path).read_bytes())
    content[50:90] = b"\xff" * 40
    assert "has 'archive/data.pkl' that does not inflate" in refusal(
        tmp_path / "x.pt", bytes(content)
    )


def test_an_archive_of_zip64_fields(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        content = pickled({"w": tensor("0", (2,))})
        for name, data in (("data.pkl", content), ("data/0", zeros(2))):
            with archive.open(f"archive/{name}", "w", force_zip64=True) as entry:
                entry.write(data)
    # as written by others: every number of the directory in its zip64 field
    plain = (tmp_path / "x.pt").read_bytes()
    wide = as_zip64(plain)
    assert wide != plain
    (tmp_path / "y.pt").write_bytes(wide)
    assert zipfile.ZipFile(tmp_path / "y.pt").namelist() == [
        "archive/data.pkl",
        "archive/data/0",
    ]
    assert read(str(tmp_path / "y.pt")).keys == ["w"]
    assert values(str(tmp_path / "y.pt"), lambda key: True)["w"].tolist() == [0.0, 0.0]


def as_zip64(plain: bytes) -> bytes:
    """The archive with its directory's numbers and its end record in zip64 form."""
    end = plain.index(b"PK\x05\x06")
    count, _, begin = struct.unpack_from("<HII", plain, end + 10)
    directory, at = b"", begin
    for _ in range(count):
        head = bytearray(plain[at : at + 46])
        packed, size, name, extra, comment = struct.unpack_from("<IIHHH", head, 20)
        (place,) = struct.unpack_from("<I", head, 42)
        field = struct.pack("<HHQQQ", 1, 24, size, packed, place)
        struct.pack_into("<II", head, 20, 0xFFFFFFFF, 0xFFFFFFFF)
        struct.pack_into("<H", head, 30, len(field))
        struct.pack_into("<I", head, 42, 0xFFFFFFFF)
        directory += bytes(head) + plain[at + 46 : at + 46 + name] + field
        at += 46 + name + extra + comment
    place = begin + len(directory)
    record = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count,
                         len(directory), begin)  # fmt: skip
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, place, 1)
    tail = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF,
                       0xFFFFFFFF, 0)  # fmt: skip
    return plain[:begin] + directory + record + locator + tail
