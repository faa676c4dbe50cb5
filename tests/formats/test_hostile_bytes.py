"""Archives and streams that others refuse, or accept: explorer agrees, or says why it does not."""

import io
import struct
import zipfile
from pathlib import Path

import msgpack
import numpy as np
import pytest

import explorer as ex
from explorer.cli.main import cli
from explorer.errors import FormatError
from explorer.formats import files
from tests.formats.torch_bytes import pickled, tensor, write_zip, zeros


def changed_npz(path: Path, packing: str) -> Path:
    """An archive with one byte of data changed, and its checksum as it was."""
    stream = io.BytesIO()
    save = np.savez_compressed if packing == "deflated" else np.savez
    save(stream, w=np.arange(512, dtype=np.float32))
    raw = bytearray(stream.getvalue())
    if packing == "stored":
        raw[1000] ^= 1
    else:  # in the directory and in the local header
        crc = struct.pack("<I", zipfile.ZipFile(stream).infolist()[0].CRC)
        raw = raw.replace(crc, b"\1\2\3\4")
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize("packing", ["stored", "deflated"])
def test_npz_with_a_wrong_checksum(tmp_path: Path, packing: str):
    path = changed_npz(tmp_path / "a.npz", packing)
    with pytest.raises(zipfile.BadZipFile, match="Bad CRC-32"):
        np.load(path)["w"]
    assert ex.explore(str(path)).num_parameters == 512  # of the headers alone
    with pytest.raises(FormatError, match=r"'w\.npy' whose checksum is \w{8}, not \w{8}"):
        ex.load(str(path))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_in_either_order_and_layout(tmp_path: Path, order: str, save):
    array = np.arange(600, dtype=f"{order}f4").reshape(20, 30)
    save(tmp_path / "a.npz", c=array, f=np.asfortranarray(array), e=np.zeros((0, 3)))
    loaded = ex.load(str(tmp_path / "a.npz"))
    for name, found in loaded.items():
        np.testing.assert_array_equal(found, np.load(tmp_path / "a.npz")[name])
        assert found.dtype.isnative


def test_a_stale_zip64_locator_is_passed_over(tmp_path: Path):
    path = tmp_path / "a.pt"
    write_zip(path, {"w": tensor("0", (3,))}, {"0": zeros(3)})
    raw = path.read_bytes()
    at = raw.rfind(b"PK\5\6")
    path.write_bytes(raw[:at] + b"PK\6\7" + struct.pack("<IQI", 0, 12, 1) + raw[at:])
    assert ex.explore(str(path)).num_parameters == 3
    full = raw[:at] + b"PK\6\7" + struct.pack("<IQI", 0, 12, 1) + raw[at:]
    end = bytearray(full)
    end[-12:-8] = (
        b"\xff\xff\xff\xff"  # the size of the directory is in the zip64 record alone
    )
    path.write_bytes(end)
    with pytest.raises(FormatError, match="has a zip64 locator that points to nothing"):
        ex.explore(str(path))


def test_chunks_without_a_shape(tmp_path: Path):
    chunk = msgpack.ExtType(1, msgpack.packb(([1], "float32", bytes(4))))
    tree = {"w": {"__msgpack_chunked_array__": True, "chunks": {"0": chunk}}}
    (tmp_path / "a.msgpack").write_bytes(msgpack.packb(tree))
    with pytest.raises(
        FormatError, match="'w' is not a chunked array; expected a shape and"
    ):
        ex.explore(str(tmp_path / "a.msgpack"))


def test_a_wrong_magic_number(tmp_path: Path):
    (tmp_path / "a.pt").write_bytes(pickled(0x1950A86A20F9469CFC6D) + pickled(1001))
    with pytest.raises(
        FormatError,
        match="starts with the number 0x1950a86a20f9469cfc6d; expected 0x1950a86a20f9469cfc6c",
    ):
        ex.explore(str(tmp_path / "a.pt"))


@pytest.mark.parametrize("first", [True, 2.5, None])
def test_a_stream_that_starts_with_another_value(tmp_path: Path, first: object):
    """Alone it is a pickle of nothing; PyTorch says of what follows that it has no magic number."""
    path = tmp_path / "a.pt"
    path.write_bytes(pickled(first))
    assert ex.explore(str(path)).num_parameters == 0
    path.write_bytes(pickled(first) + pickled(1001) + pickled({}))
    with pytest.raises(
        FormatError, match=f"starts with the value {first}; expected 0x1950"
    ):
        ex.explore(str(path))


def test_npy_of_a_version_that_numpy_has_not(tmp_path: Path):
    path = tmp_path / "a.npy"
    np.save(path, np.ones(3))
    raw = bytearray(path.read_bytes())
    raw[7] = 1
    path.write_bytes(raw)
    with pytest.raises(ValueError, match="we only support format version"):
        np.load(path)
    with pytest.raises(FormatError, match="4d 50 59 01 01; expected the magic of a"):
        ex.explore(str(path))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError, "needs more memory than there is"),
        (RecursionError, "nested too deeply"),
    ],
)
def test_used_up_memory_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, error: type, words: str
):
    np.save(tmp_path / "a.npy", np.zeros(3))

    def use_up(*_: object) -> None:
        raise error

    monkeypatch.setattr(files, "reader_of", use_up)
    for call in (ex.explore, ex.load):
        with pytest.raises(FormatError, match=words):
            call(str(tmp_path / "a.npy"))
    with pytest.raises(SystemExit) as left:
        cli.main(["count", str(tmp_path / "a.npy")])
    assert left.value.code == 2
    assert words in capsys.readouterr().err
