"""npy and npz: NumPy wrote the files, and what it was given is the oracle."""

import io
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.errors import ExplorerError, FormatError, TargetError
from explorer.formats import numpy_files

FORMATS = (
    "?",
    "<i1",
    "<i2",
    "<i4",
    "<i8",
    "<u1",
    "<u8",
    "<f2",
    "<f4",
    "<f8",
    "<c8",
    "<c16",
)


def rows(path) -> dict[str, tuple[tuple[int, ...], str, int]]:
    listing = numpy_files.read(str(path))
    columns = (listing.keys, listing.shapes, listing.dtypes, listing.nbytes)
    return {key: tuple(row) for key, *row in zip(*columns, strict=True)}


def npy(array, version=None) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version)
    return file.getvalue()


def header(text: str, data: bytes = b"", length: int | None = None) -> bytes:
    raw = text.encode("latin-1")
    count = len(raw) if length is None else length
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", count) + raw + data


@pytest.mark.parametrize("spelled", [*FORMATS, ">f4", ">i8", ">c16"])
@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (2, 3, 4)])
def test_npy(tmp_path, spelled, shape):
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(spelled)
    path = tmp_path / "weights.npy"
    np.save(path, array)
    native = array.dtype.newbyteorder("=")
    assert rows(path) == {"weights": (shape, native.name, array.nbytes)}
    found = numpy_files.values(str(path), lambda key: True)["weights"]
    assert found.dtype == native
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_versions(tmp_path, version):
    (tmp_path / "a.npy").write_bytes(npy(np.ones((2, 3), np.float32), version))
    assert rows(tmp_path / "a.npy") == {"a": ((2, 3), "float32", 24)}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path, save):
    arrays = {
        "params/Dense_0/kernel": np.arange(12.0).reshape(3, 4),
        "plain.name": np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)),
        "zero": np.zeros((0, 7), np.float32),
        "scalar": np.array(2.5, ">f4"),
        "long": np.zeros(100_000, np.int8),
    }
    save(tmp_path / "w.npz", **arrays)
    assert rows(tmp_path / "w.npz") == {
        name: (array.shape, array.dtype.newbyteorder("=").name, array.nbytes)
        for name, array in arrays.items()
    }
    found = numpy_files.values(str(tmp_path / "w.npz"), lambda key: key != "zero")
    assert list(found) == [name for name in arrays if name != "zero"]
    for name, array in found.items():
        np.testing.assert_array_equal(array, arrays[name])
    listing = numpy_files.read(str(tmp_path / "w.npz"))
    assert listing.collections == ["params", "", "", "", ""]
    assert listing.file_bytes == (tmp_path / "w.npz").stat().st_size


def test_stored_arrays_are_views_of_the_file(tmp_path):
    np.save(tmp_path / "a.npy", np.asfortranarray(np.ones((2, 3))))
    np.savez(tmp_path / "b.npz", b=np.ones(4))
    for name in ("a.npy", "b.npz"):
        (array,) = numpy_files.values(str(tmp_path / name), lambda key: True).values()
        assert not array.flags.owndata
        assert not array.flags.writeable


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_two_byte_void_is_bfloat16(tmp_path, save):
    array = np.arange(4).astype(ml_dtypes.bfloat16)
    save(tmp_path / "a.npz", a=array)
    assert rows(tmp_path / "a.npz") == {"a": ((4,), "bfloat16", 8)}
    assert numpy_files.read(str(tmp_path / "a.npz")).remarks == [
        "arrays of two-byte void are bfloat16, which NumPy cannot name: 1"
    ]
    found = numpy_files.values(str(tmp_path / "a.npz"), lambda key: True)["a"]
    np.testing.assert_array_equal(found, array)


def test_text_and_other_members_are_left_out(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, w=np.ones(2), label=np.array("hello"), raw=np.array([b"ab", b"c"]))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("notes/", "")
        archive.writestr("notes/read.me", "x")
    assert rows(path) == {"w": ((2,), "float64", 16)}
    assert numpy_files.read(str(path)).remarks == [
        "arrays of text are left out: label, raw",
        "members that are not arrays are left out: notes/read.me",
    ]
    assert list(numpy_files.values(str(path), lambda key: True)) == ["w"]


def test_reads_without_numpy(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", a=np.ones(3))
    script = (
        "import sys; from explorer.formats import numpy_files; "
        "numpy_files.read(sys.argv[1]); assert not {'jax', 'numpy'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "a.npz")]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2])


# bad input


def refusal(path: Path, raw: bytes | None = None) -> str:
    if raw is not None:
        path.write_bytes(raw)
    with pytest.raises(FormatError) as caught:
        numpy_files.values(str(path), lambda key: True)
    assert "\n" not in str(caught.value)
    return str(caught.value)


F4 = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n"
NO_HEADER = "expected a dict of descr, fortran_order and shape"


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (b"", "is empty"),
        (b"junk", "the array starts with 6a 75 6e 6b; expected the magic"),
        (
            b"\x93NUMPY\x04\x00\x00\x00",
            "expected the magic of a .npy array, version 1 to 3",
        ),
        (b"\x93NUM", "the array starts with 93 4e 55 4d"),
        (header(F4, b"\0" * 7), "the array has 7 bytes of data; expected 8 for shape (2,)"),
        (header(F4, b"\0" * 9), "the array has 9 bytes of data; expected 8"),
        (header(F4, b"", 60_000), "claims a header of 60,000 bytes and has"),
        (header("x" * 20_000), "claims a header of 20,000 bytes; expected at most 10,000"),
        (
            b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b" " * 20,
            "a header of 4,294,967,295 bytes",
        ),
        (header("hello"), NO_HEADER),
        (header("{'descr': '<f4'}"), NO_HEADER),
        (header("(" * 5000), NO_HEADER),
        (header("-" * 9000 + "1"), NO_HEADER),
        (header("1" * 9000), NO_HEADER),
        (header("__import__('os').abort()"), NO_HEADER),
        (header(F4.replace("(2,)", "[2]")), NO_HEADER),
        (header(F4.replace("(2,)", "(-2,)")), NO_HEADER),
        (header(F4.replace("(2,)", "(True,)")), NO_HEADER),
        (header(F4.replace("(2,)", "(2.0,)")), NO_HEADER),
        (
            header(F4.replace("(2,)", f"({'1,' * 65})")),
            "the array has 65 axes, more than 64",
        ),
        (header(F4.replace("False", "0")), NO_HEADER),
        (header(F4.replace("<f4", "\\x41")), NO_HEADER),
        (header("\xff" + F4), NO_HEADER),
        (
            header(F4.replace("(2,)", f"({2**62}, {2**62})")),
            "the array has more than 2^63 bytes; expected at most",
        ),
        (header(F4.replace("<f4", "<q4")), "the array holds <q4"),
        (header(F4.replace("<f4", "<f3")), "the array holds <f3"),
        (header(F4.replace("<f4", "<M8[s]")), "the array holds <M8[s]"),
        (header(F4.replace("<f4", "|O")), "are pickles and are never executed"),
        (npy(np.zeros(2, [("x", "<f4"), ("y", "<i4")])), "holds records; expected a plain"),
        (npy(np.ones(2, ml_dtypes.float8_e4m3fn)), "NumPy saves fp8 and 4-bit formats as"),
    ],
)
def test_bad_npy(tmp_path, raw, found):
    assert found in refusal(tmp_path / "a.npy", raw)


def test_object_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", good=np.ones(2), bad=np.array([{}, None]))
    assert refusal(tmp_path / "a.npz").endswith(
        "member 'bad.npy' holds Python objects; expected numbers: object arrays are "
        "pickles and are never executed; save each array by itself"
    )


def zipped(path: Path, members: dict[str, bytes], method=zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, raw in members.items():
            archive.writestr(name, raw)
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_member_shorter_than_its_shape(tmp_path, method):
    path = zipped(tmp_path / "a.npz", {"a.npy": header(F4, b"\0" * 4)}, method)
    assert "member 'a.npy' has 4 bytes of data; expected 8" in refusal(path)


def test_member_that_is_not_an_array(tmp_path):
    path = zipped(tmp_path / "a.npz", {"a.npy": b"hello"})
    assert "member 'a.npy' starts with 68 65 6c 6c 6f" in refusal(path)


def test_zip_without_arrays(tmp_path):
    path = zipped(tmp_path / "a.npz", {"data.pkl": b"x"})
    assert "holds no .npy array, only data.pkl; expected a .npz file" in refusal(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions(tmp_path, method):
    path = zipped(tmp_path / "a.npz", {"a.npy": npy(np.ones(2))}, method)
    assert f"member 'a.npy' is packed by method {method}" in refusal(path)


def test_member_given_twice(tmp_path):
    path = tmp_path / "a.npz"
    zipped(path, {"a.npy": npy(np.ones(2)), "b.npy": npy(np.ones(2))})
    assert "twice" in refusal(path, path.read_bytes().replace(b"b.npy", b"a.npy"))


def test_zip_bomb(tmp_path):
    path = zipped(tmp_path / "a.npz", {"a.npy": header(F4)}, zipfile.ZIP_DEFLATED)
    claimed = len(header(F4)) + 10**9  # of a few dozen bytes
    raw = path.read_bytes()
    at = raw.index(b"PK\x01\x02") + 24  # uncompressed size in the central directory
    text = refusal(path, raw[:at] + struct.pack("<I", claimed) + raw[at + 4 :])
    assert f"claims {claimed:,} bytes in" in text


def test_member_that_inflates_to_less_than_claimed(tmp_path):
    text = header(F4.replace("(2,)", "(500,)"))
    path = zipped(tmp_path / "a.npz", {"a.npy": text}, zipfile.ZIP_DEFLATED)
    raw = path.read_bytes()
    at = raw.index(b"PK\x01\x02") + 24
    raw = raw[:at] + struct.pack("<I", len(text) + 2000) + raw[at + 4 :]
    assert f"has 'a.npy' that does not inflate to {len(text) + 2000:,} bytes" in refusal(
        path, raw
    )


def test_only_headers_are_inflated(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, a=np.random.default_rng(0).bytes(200_000))  # text: |S200000
    np.savez_compressed(
        path, a=np.random.default_rng(0).integers(0, 256, 200_000, np.uint8)
    )
    raw = bytearray(path.read_bytes())
    raw[100_000:150_000] = b"\xff" * 50_000  # the data is broken, the header is whole
    path.write_bytes(raw)
    assert rows(path) == {"a": ((200_000,), "uint8", 200_000)}


def test_broken_deflate_stream(tmp_path):
    path = zipped(tmp_path / "a.npz", {"a.npy": npy(np.ones(2))}, zipfile.ZIP_DEFLATED)
    raw = bytearray(path.read_bytes())
    raw[35:45] = b"\xff" * 10
    assert "member 'a.npy' does not inflate (Error -3" in refusal(path, bytes(raw))


def test_truncated_zip(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.ones(100))
    raw = (tmp_path / "a.npz").read_bytes()
    for end in range(4, len(raw), 37):
        refusal(tmp_path / "a.npz", raw[:end])


@given(st.binary(max_size=80))
def test_any_header_is_a_listing_or_an_error(tmp_path_factory, raw):
    path = tmp_path_factory.mktemp("junk") / "a.npy"
    path.write_bytes(header("", raw, len(raw)))
    with pytest.raises(ExplorerError) as caught:
        numpy_files.read(str(path))
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(TargetError, match="cannot be read: No such file"):
        numpy_files.read(str(tmp_path / "none.npy"))
