"""Files that hold no tensors explorer reads: what each is, what to do, and how it is recognised.

A pointer or a page where weights were expected, the formats of other programs, archives. First
bytes are those of the programs' own documents; names decide where no bytes do.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["FOREIGN", "KERAS", "READ_IT", "Ends", "Foreign", "is_text"]


class Ends(NamedTuple):
    """The first and the last bytes of a file."""

    head: bytes
    tail: bytes


class Foreign(NamedTuple):
    """What a file is, its cure, the test of its ends, and how its name ends, in lower case.

    Five digits in a name stand for any others.
    """

    what: str
    cure: str
    fits: Callable[[Ends], bool] = lambda ends: False
    endings: tuple[str, ...] = ()


def _starts(*magics: bytes, at: int = 0) -> Callable[[Ends], bool]:
    return lambda ends: ends.head[at:].startswith(magics)


def _matches(pattern: bytes) -> Callable[[Ends], bool]:
    compiled = re.compile(pattern, re.IGNORECASE | re.DOTALL)
    return lambda ends: compiled.match(ends.head) is not None


def is_text(head: bytes) -> bool:
    """Return whether bytes have no control characters but white space.

    >>> is_text(b"Entry not found\\n"), is_text(b"GGUF\\0")
    (True, False)
    """
    return not any(byte < 9 or 13 < byte < 32 for byte in head)


_AGAIN = "fetch the file again"
READ_IT = f"{_AGAIN}: read it for the server's error"
_SAVE = "save its arrays as safetensors or with numpy.savez"
_GGML = "convert it to GGUF with llama.cpp's convert_llama_ggml_to_gguf.py"
KERAS = "load it with Keras and save its weights with numpy.savez"
_ONNX = "read the checkpoint that it was exported from"
_TF = "tf.train.load_checkpoint reads its arrays: save them with numpy.savez"

FOREIGN = (
    Foreign(
        "is a Git LFS pointer, not the file: git lfs pull",
        "",
        _matches(rb"version https?://(git-lfs|hawser)\.github\.com/spec"),
    ),
    Foreign("is a Xet pointer, not the file: git xet pull", "", _starts(b"# xet ver")),
    Foreign(
        "is a git-annex pointer, not the file: git annex get",
        "",
        _matches(rb"(\.\./)*(\.git)?/annex/objects/"),
    ),
    Foreign(
        "is a DVC pointer, not the file: dvc pull",
        "",
        _matches(rb"outs:\s+- (md5|hash|etag)"),
        (".dvc",),
    ),
    Foreign(
        "is an HTML page, not a checkpoint",
        f"{_AGAIN}: log in first, or correct its address",
        _matches(rb"(\xef\xbb\xbf)?\s*(<!--.*?-->\s*)?<(!doctype html|html|head|body)"),
    ),
    Foreign(
        "is an XML document, not a checkpoint",
        f"{_AGAIN}: read it for the server's error",
        _matches(rb"(\xef\xbb\xbf)?\s*(<\?xml|<error>|<svg)"),
    ),
    Foreign(
        "is an HDF5 file (Keras .h5, PyTables, MATLAB 7.3), which explorer does not read",
        KERAS,
        _starts(b"\x89HDF\r\n\x1a\n"),
        (".h5", ".hdf5", ".hdf", ".he5"),
    ),
    Foreign("is a Keras model, which explorer does not read", KERAS, endings=(".keras",)),
    Foreign(
        "is an ONNX model, which explorer does not read",
        _ONNX,
        _matches(
            rb"\x08[\x01-\x1f](\x12[\x01-\x7f][\x20-\x7e]|[\x3a\x42]|[\x1a\x22].[\x20-\x7e])"
        ),
        (".onnx", ".ort", ".onnx_data", ".onnx.data"),
    ),
    Foreign(
        "is a TensorFlow Lite model, which explorer does not read",
        _ONNX,
        _starts(b"TFL3", at=4),
        (".tflite", ".lite"),
    ),
    Foreign(
        "is an ExecuTorch program, which explorer does not read",
        _ONNX,
        _matches(rb".{4}ET[0-9]{2}"),
        (".pte",),
    ),
    Foreign(
        "is a PyTorch Mobile program of flatbuffers, which explorer does not read",
        _ONNX,
        _starts(b"PTMF", at=4),
    ),
    Foreign(
        "is the index of a TensorFlow checkpoint, which explorer does not read",
        _TF,
        lambda ends: ends.tail == b"\x57\xfb\x80\x8b\x24\x75\x47\xdb",
    ),
    Foreign(
        "is TensorFlow's list of checkpoints, which holds no arrays",
        _TF,
        _starts(b"model_checkpoint_path:"),
    ),
    Foreign(
        "is a TensorFlow graph or saved model, which explorer does not read",
        _TF,
        endings=(".pb",),
    ),
    Foreign(
        "is the data of a TensorFlow checkpoint, which explorer does not read",
        _TF,
        endings=(".data-00000-of-00000", ".meta"),
    ),
    Foreign(
        "is a file of the old GGML formats, before GGUF",
        f"{_GGML}; whisper.cpp's models are such files too",
        _starts(b"lmgg", b"fmgg", b"tjgg", b"algg"),
    ),
    Foreign(
        "is a llamafile or another portable program, not a checkpoint",
        "a llamafile is a zip archive: unzip the .gguf in it",
        _starts(b"MZqFpD", b"jartsr="),
        (".llamafile",),
    ),
    Foreign(
        "is a program or library, not a checkpoint",
        "",
        _starts(b"\x7fELF", b"\xcf\xfa\xed\xfe"),
    ),
    Foreign(
        "is compressed by gzip",
        "gunzip it (tar -xzf, if it is an archive)",
        _starts(b"\x1f\x8b"),
    ),
    Foreign(
        "is compressed by zstd",
        "unzstd it (tar --zstd -xf, if it is an archive)",
        _starts(b"\x28\xb5\x2f\xfd"),
    ),
    Foreign("is compressed by xz", "unxz it", _starts(b"\xfd7zXZ\x00")),
    Foreign("is compressed by bzip2", "bunzip2 it", _matches(rb"BZh[1-9]1AY&SY")),
    Foreign("is compressed by lz4", "lz4 -d it", _starts(b"\x04\x22\x4d\x18")),
    Foreign(
        "is a 7z or RAR archive",
        "unpack it",
        _starts(b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07"),
    ),
    Foreign(
        "is compressed by zlib, as joblib.dump does with compress=",
        "load it with joblib and dump it with compress=0",
        _matches(rb"\x78[\x01\x5e\x9c\xda]"),
    ),
    Foreign(
        "is a NeMo archive (tar), which explorer does not read",
        "tar -xf it and name the model_weights in it",
        lambda ends: b"model_config.yaml" in ends.head[:100],
        (".nemo",),
    ),
    Foreign("is a tar archive", "tar -xf it", _starts(b"ustar", at=257), (".tar",)),
    Foreign(
        "is a MATLAB file, which explorer does not read",
        _SAVE,
        _starts(b"MATLAB 5.0"),
        (".mat",),
    ),
    Foreign(
        "is an OpenVINO model, which explorer does not read",
        _ONNX,
        endings=("openvino_model.bin", "openvino_model.xml"),
    ),
    Foreign(
        "is what macOS keeps about a file (AppleDouble), not the file itself",
        "take the file of that name without ._",
        _starts(b"\x00\x05\x16\x07", b"\x00\x05\x16\x00"),
    ),
    Foreign(
        "is an MXNet file, which explorer does not read",
        _SAVE,
        _starts(b"\x12\x01\0\0\0\0\0\0"),
    ),
    Foreign(
        "is a Parquet or Arrow table, not a checkpoint", "", _starts(b"PAR1", b"ARROW1")
    ),
    Foreign("is a SQLite database, not a checkpoint", "", _starts(b"SQLite format 3\0")),
    Foreign(
        "is an image or a document, not a checkpoint",
        "",
        _starts(b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8", b"%PDF-"),
    ),
    Foreign(
        "is a Core ML model, which explorer does not read",
        _ONNX,
        endings=(".mlmodel", ".mlpackage"),
    ),
    Foreign(
        "is a TensorRT engine, which explorer does not read",
        _ONNX,
        endings=(".engine", ".trt"),
    ),
    Foreign(
        "is a Torch7 or Caffe model, which explorer does not read",
        _SAVE,
        endings=(".t7", ".caffemodel"),
    ),
    Foreign(
        "is a download that did not finish",
        _AGAIN,
        endings=(".incomplete", ".crdownload", ".part", ".aria2"),
    ),
    Foreign(
        "begins with zeros only: a download that did not finish",
        _AGAIN,
        lambda ends: len(ends.head) > 16 and not any(ends.head),
    ),
)
