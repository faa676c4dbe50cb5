"""Files that are something else than a checkpoint: named as what they are, whatever they are called."""

import gzip
import io
import json
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest

import explorer as ex
from explorer.errors import FormatError, TargetError
from tests.checkpoints import write_sharded, write_sparse

LFS = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:"
    + b"4d7a" * 16
    + b"\nsize 12345\n"
)
LFS_WORDS = "is a Git LFS pointer, not the file: git lfs pull"


def tar(name: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    return out.getvalue()


# First bytes as the programs' own documents give them, and a word of what the error says.
CONTENTS = {
    LFS: LFS_WORDS,
    b"version https://hawser.github.com/spec/v1\noid x\n": LFS_WORDS,
    b"# xet version 0\nfilesize = 10\nhash = 'a'\n": "git xet pull",
    b"../../.git/annex/objects/xx/yy/SHA256E-s1\n": "git annex get",
    b"/annex/objects/SHA256E-s1\n": "git annex get",
    b"outs:\n- md5: 0123\n  size: 1\n  path: m.pt\n": "dvc pull",
    b"<!DOCTYPE html><html><body>404</body></html>": "is an HTML page",
    b"\n  <HTML>\n<head>": "is an HTML page",
    b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>': "is an XML document",
    b'{"error":"Repository not found"}': 'is JSON text, not a checkpoint: \'{"error"',
    b'{"error":{"message":"no"}}': "is JSON text",
    b"Entry not found": "is text, not a checkpoint: 'Entry not found'",
    b"Access to model x is restricted. You must be": "is text, not a checkpoint",
    b"\x89HDF\r\n\x1a\n" + bytes(60): "is an HDF5 file",
    b"\x08\x07\x12\x07pytorch\x1a\x032.4:" + bytes(60): "is an ONNX model",
    b"\x08\x08:\xa0\x01" + bytes(60): "is an ONNX model",
    b"\x1c\0\0\0TFL3" + bytes(60): "is a TensorFlow Lite model",
    b"\x2c\0\0\0ET12" + bytes(60): "is an ExecuTorch program",
    b"\x1c\0\0\0PTMF" + bytes(60): "is a PyTorch Mobile program",
    bytes(40)
    + b"\x57\xfb\x80\x8b\x24\x75\x47\xdb": "is the index of a TensorFlow checkpoint",
    b'model_checkpoint_path: "model.ckpt-7"\n': "is TensorFlow's list of checkpoints",
    b"lmgg" + bytes(60): "is a file of the old GGML formats",
    b"fmgg\x01" + bytes(60): "is a file of the old GGML formats",
    b"tjgg\x03\0\0\0" + bytes(60): "is a file of the old GGML formats",
    b"MZqFpD='\n" + bytes(60): "is a llamafile",
    b"\x7fELF\x02" + bytes(60): "is a program or library",
    gzip.compress(b"x", mtime=0): "is compressed by gzip",
    b"\x28\xb5\x2f\xfd" + bytes(60): "is compressed by zstd",
    b"\xfd7zXZ\0" + bytes(60): "is compressed by xz",
    b"BZh91AY&SY" + bytes(60): "is compressed by bzip2",
    zlib.compress(b"x" * 99): "is compressed by zlib",
    tar("weights.bin"): "is a tar archive",
    tar("./model_config.yaml"): "is a NeMo archive",
    b"\x12\x01\0\0\0\0\0\0" + bytes(60): "is an MXNet file",
    b"MATLAB 5.0 MAT-file" + bytes(200): "is a MATLAB file",
    b"\0\x05\x16\x07\0\x02\0\0Mac OS X" + bytes(60): "is what macOS keeps about a file",
    b"\x89PNG\r\n\x1a\n" + bytes(60): "is an image or a document",
    bytes(4096): "begins with zeros only",
}
NAMES = (
    "model.safetensors",
    "pytorch_model.bin",
    "model.gguf",
    "model.msgpack",
    "x.npz",
    "x",
)


@pytest.mark.parametrize("content", CONTENTS, ids=CONTENTS.values())
def test_a_file_is_named_as_what_it_is_under_any_name(tmp_path: Path, content: bytes):
    for name in NAMES:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FormatError) as error:
            ex.explore(tmp_path / name)
        assert str(error.value).startswith(f"{tmp_path / name}: {CONTENTS[content]}") or (
            CONTENTS[content] in str(error.value)
        ), name
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("m.keras", "is a Keras model"),
        ("m.nemo", "is a NeMo archive"),
        ("m.h5", "is an HDF5 file"),
        ("m.mlmodel", "is a Core ML model"),
        ("m.engine", "is a TensorRT engine"),
        ("openvino_model.bin", "is an OpenVINO model"),
        ("v.data-00003-of-00016", "is the data of a TensorFlow checkpoint"),
        ("saved_model.pb", "is a TensorFlow graph"),
        ("m.safetensors.incomplete", "is a download that did not finish"),
    ],
)
def test_a_name_decides_where_no_byte_does(tmp_path: Path, name: str, found: str):
    (tmp_path / name).write_bytes(b"\x01\x02\x03\x04" * 30)
    with pytest.raises(FormatError, match=found):
        ex.explore(tmp_path / name)


def test_zip_archives_of_other_programs(tmp_path: Path):
    for inside, found in (
        ("model.weights.h5", "is a Keras model"),
        ("MAR-INF/MANIFEST.json", "is a TorchServe archive"),
        ("model/archive_format", "is a program of torch.export"),
        ("model/model.safetensors", "is a zip archive of files"),
    ):
        for name in ("x.pt", "x.zip", "x"):
            with zipfile.ZipFile(tmp_path / name, "w") as archive:
                archive.writestr("config.json", "{}")
                archive.writestr(inside, b"")
            with pytest.raises(FormatError, match=found):
                ex.explore(tmp_path / name)


def test_a_pointer_among_shards_and_beside_an_index(tmp_path: Path):
    folder = write_sharded(tmp_path / "m", {f"w{i}": ((4,), "F32") for i in range(4)}, 2)
    shard = folder / "model-00002-of-00002.safetensors"
    shard.write_bytes(LFS)
    with pytest.raises(FormatError, match=f"00002-of-00002.safetensors: {LFS_WORDS}"):
        ex.explore(folder)
    index = folder / "model.safetensors.index.json"
    index.write_bytes(LFS)
    with pytest.raises(FormatError, match=f"index.json: {LFS_WORDS}"):
        ex.explore(folder)


def test_a_pointer_among_the_parts_of_a_gguf_set(tmp_path: Path):
    for number in (1, 2):
        (tmp_path / f"m-0000{number}-of-00002.gguf").write_bytes(b"GGUF" + bytes(40))
    (tmp_path / "m-00002-of-00002.gguf").write_bytes(LFS)
    with pytest.raises(FormatError, match=f"m-00002-of-00002.gguf: {LFS_WORDS}"):
        ex.explore(tmp_path / "m-00001-of-00002.gguf")


def test_checkpoints_are_not_mistaken(tmp_path: Path):
    """Headers whose first bytes look like text, and pickles in text."""
    for length in (0x3C, 0x5B, 0x7B):  # '<', '[' and '{' as the length of a header
        path = write_sparse(tmp_path / "x.safetensors", {"w": ((2,), "F32")})
        header = json.loads(path.read_bytes()[8:].rstrip(b"\0"))
        raw = json.dumps(header, separators=(",", ":")).encode().ljust(length)
        assert len(raw) == length
        path.write_bytes(length.to_bytes(8, "little") + raw + bytes(8))
        assert ex.explore(path).num_parameters == 2
    import pickle

    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"a": 1}, protocol=0))
    assert ex.explore(tmp_path / "x.pkl").num_tensors == 0


def test_an_unknown_file(tmp_path: Path):
    (tmp_path / "x").write_bytes(b"\x01\x02\x03\x04" * 30)
    with pytest.raises(TargetError, match="starts with 01 02 03 04"):
        ex.explore(tmp_path / "x")
