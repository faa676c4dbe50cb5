"""Files that hold no tensors explorer reads: what each is, and what to do about it.

One table, asked for every file whose first bytes are not those of a format in
`explorer.formats.registry`, whatever its name: a pointer or a page where weights were expected,
the formats of other programs, archives. Names decide where no bytes do.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from explorer.errors import FormatError, printable
from explorer.storage.store import Store

__all__ = ["HEAD", "foreign_name", "foreign_zip", "refuse_foreign"]

HEAD = 512  # bytes: those of a tar header
_TAIL = 8


class _Ends(NamedTuple):
    """The first and the last bytes of a file."""

    head: bytes
    tail: bytes


class _Foreign(NamedTuple):
    """What a file is, its cure, the test of its ends, and endings of its name."""

    what: str
    cure: str
    fits: Callable[[_Ends], bool] = lambda ends: False
    endings: tuple[str, ...] = ()


def _starts(*magics: bytes, at: int = 0) -> Callable[[_Ends], bool]:
    return lambda ends: ends.head[at:].startswith(magics)


def _matches(pattern: bytes) -> Callable[[_Ends], bool]:
    compiled = re.compile(pattern, re.IGNORECASE | re.DOTALL)
    return lambda ends: compiled.match(ends.head) is not None


def _is_json(ends: _Ends) -> bool:
    """Return whether text begins with a JSON object or list."""
    text = ends.head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return text[:1] in (b"{", b"[") and _is_text(ends.head)


def _is_text(head: bytes) -> bool:
    return not any(byte < 9 or 13 < byte < 32 for byte in head)


def _is_sentence(ends: _Ends) -> bool:
    """Return whether the first line is words; a pickle in text has none with spaces."""
    words = re.match(rb"\s*[A-Za-z][A-Za-z'-]+[,.:;]? +\S", ends.head)
    return words is not None and _is_text(ends.head)


_AGAIN = "fetch the file again"
_SAVE = "save its arrays as safetensors or with numpy.savez"
_GGML = "convert it to GGUF with llama.cpp's convert_llama_ggml_to_gguf.py"
_KERAS = "load it with Keras and save its weights with numpy.savez"
_ONNX = "read the checkpoint that it was exported from"
_TF = "tf.train.load_checkpoint reads its arrays: save them with numpy.savez"

_TABLE = (
    _Foreign(
        "is a Git LFS pointer, not the file: git lfs pull",
        "",
        _matches(rb"version https?://(git-lfs|hawser)\.github\.com/spec"),
    ),
    _Foreign("is a Xet pointer, not the file: git xet pull", "", _starts(b"# xet ver")),
    _Foreign(
        "is a git-annex pointer, not the file: git annex get",
        "",
        _matches(rb"(\.\./)*(\.git)?/annex/objects/"),
    ),
    _Foreign(
        "is a DVC pointer, not the file: dvc pull",
        "",
        _matches(rb"outs:\s+- (md5|hash|etag)"),
        (".dvc",),
    ),
    _Foreign(
        "is an HTML page, not a checkpoint",
        f"{_AGAIN}: log in first, or correct its address",
        _matches(rb"(\xef\xbb\xbf)?\s*(<!--.*?-->\s*)?<(!doctype html|html|head|body)"),
    ),
    _Foreign(
        "is an XML document, not a checkpoint",
        f"{_AGAIN}: read it for the server's error",
        _matches(rb"(\xef\xbb\xbf)?\s*(<\?xml|<error>|<svg)"),
    ),
    _Foreign(
        "is an HDF5 file (Keras .h5, PyTables, MATLAB 7.3), which explorer does not read",
        _KERAS,
        _starts(b"\x89HDF\r\n\x1a\n"),
        (".h5", ".hdf5", ".hdf", ".he5"),
    ),
    _Foreign("is a Keras model, which explorer does not read", _KERAS, endings=(".keras",)),
    _Foreign(
        "is an ONNX model, which explorer does not read",
        _ONNX,
        _matches(
            rb"\x08[\x01-\x1f](\x12[\x01-\x7f][\x20-\x7e]|[\x3a\x42]|[\x1a\x22].[\x20-\x7e])"
        ),
        (".onnx", ".ort"),
    ),
    _Foreign(
        "is a TensorFlow Lite model, which explorer does not read",
        _ONNX,
        _starts(b"TFL3", at=4),
        (".tflite", ".lite"),
    ),
    _Foreign(
        "is an ExecuTorch program, which explorer does not read",
        _ONNX,
        _matches(rb".{4}ET[0-9]{2}"),
        (".pte",),
    ),
    _Foreign(
        "is a PyTorch Mobile program of flatbuffers, which explorer does not read",
        _ONNX,
        _starts(b"PTMF", at=4),
    ),
    _Foreign(
        "is the index of a TensorFlow checkpoint, which explorer does not read",
        _TF,
        lambda ends: ends.tail == b"\x57\xfb\x80\x8b\x24\x75\x47\xdb",
    ),
    _Foreign(
        "is TensorFlow's list of checkpoints, which holds no arrays",
        _TF,
        _starts(b"model_checkpoint_path:"),
    ),
    _Foreign(
        "is a TensorFlow graph or saved model, which explorer does not read",
        _TF,
        endings=(".pb",),
    ),
    _Foreign(
        "is the data of a TensorFlow checkpoint, which explorer does not read",
        _TF,
        endings=(".data-00000-of-00001", ".data-00000-of-00002"),
    ),
    _Foreign(
        "is a file of the old GGML formats, before GGUF",
        f"{_GGML}; whisper.cpp's models are such files too",
        _starts(b"lmgg", b"fmgg", b"tjgg", b"algg"),
    ),
    _Foreign(
        "is a llamafile or another portable program, not a checkpoint",
        "a llamafile is a zip archive: unzip the .gguf in it",
        _starts(b"MZqFpD", b"jartsr="),
        (".llamafile",),
    ),
    _Foreign(
        "is a program or library, not a checkpoint",
        "",
        _starts(b"\x7fELF", b"\xcf\xfa\xed\xfe"),
    ),
    _Foreign(
        "is compressed by gzip",
        "gunzip it (tar -xzf, if it is an archive)",
        _starts(b"\x1f\x8b"),
    ),
    _Foreign(
        "is compressed by zstd",
        "unzstd it (tar --zstd -xf, if it is an archive)",
        _starts(b"\x28\xb5\x2f\xfd"),
    ),
    _Foreign("is compressed by xz", "unxz it", _starts(b"\xfd7zXZ\x00")),
    _Foreign("is compressed by bzip2", "bunzip2 it", _matches(rb"BZh[1-9]1AY&SY")),
    _Foreign("is compressed by lz4", "lz4 -d it", _starts(b"\x04\x22\x4d\x18")),
    _Foreign(
        "is a 7z or RAR archive",
        "unpack it",
        _starts(b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07"),
    ),
    _Foreign(
        "is compressed by zlib, as joblib.dump does with compress=",
        "load it with joblib and dump it with compress=0",
        _matches(rb"\x78[\x01\x5e\x9c\xda]"),
    ),
    _Foreign(
        "is a NeMo archive (tar), which explorer does not read",
        "tar -xf it and name the model_weights in it",
        lambda ends: b"model_config.yaml" in ends.head[:100],
        (".nemo",),
    ),
    _Foreign("is a tar archive", "tar -xf it", _starts(b"ustar", at=257), (".tar",)),
    _Foreign(
        "is a MATLAB file, which explorer does not read",
        _SAVE,
        _starts(b"MATLAB 5.0"),
        (".mat",),
    ),
    _Foreign(
        "is an MXNet file, which explorer does not read",
        _SAVE,
        _starts(b"\x12\x01\0\0\0\0\0\0"),
    ),
    _Foreign(
        "is a Parquet or Arrow table, not a checkpoint", "", _starts(b"PAR1", b"ARROW1")
    ),
    _Foreign("is a SQLite database, not a checkpoint", "", _starts(b"SQLite format 3\0")),
    _Foreign(
        "is an image or a document, not a checkpoint",
        "",
        _starts(b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8", b"%PDF-"),
    ),
    _Foreign(
        "is a Core ML model, which explorer does not read",
        _ONNX,
        endings=(".mlmodel", ".mlpackage"),
    ),
    _Foreign(
        "is a TensorRT engine, which explorer does not read",
        _ONNX,
        endings=(".engine", ".trt"),
    ),
    _Foreign(
        "is a Torch7 or Caffe model, which explorer does not read",
        _SAVE,
        endings=(".t7", ".caffemodel"),
    ),
    _Foreign(
        "is a download that did not finish",
        _AGAIN,
        endings=(".incomplete", ".crdownload", ".part", ".aria2"),
    ),
    _Foreign(
        "begins with zeros only: a download that did not finish",
        _AGAIN,
        lambda ends: len(ends.head) > 16 and not any(ends.head),
    ),
)
_JSON_FIRST = ".eqx"  # hyperparameters may come before the arrays
_JSON = "is JSON text, not a checkpoint"
_READ_IT = f"{_AGAIN}: read it for the server's error"


def refuse_foreign(path: str, store: Store) -> None:
    """Raise for a file that is something else than a checkpoint, and say what it is.

    Raises:
        FormatError: the table has it, by its bytes or by its name.
    """
    with store.blob(path) as blob:
        size = blob.size()
        ends = _Ends(
            blob.read(0, min(HEAD, size)), blob.read(max(0, size - _TAIL), min(_TAIL, size))
        )
    foreign = next((row for row in _TABLE if row.fits(ends)), None)
    if foreign is None and _is_json(ends) and not path.endswith(_JSON_FIRST):
        foreign = _Foreign(f"{_JSON}: {_quoted(ends.head)}", _READ_IT)
    if foreign is None and _is_sentence(ends):
        foreign = _Foreign(f"is text, not a checkpoint: {_quoted(ends.head)}", _READ_IT)
    foreign = foreign or foreign_name(path)
    if foreign is not None:
        raise FormatError(path, found=foreign.what, cure=foreign.cure)


def foreign_name(path: str) -> _Foreign | None:
    """Return the format of another program that a name ends like; None where none does."""
    name = path.lower()
    return next((row for row in _TABLE if row.endings and name.endswith(row.endings)), None)


def foreign_zip(path: str, names: list[str]) -> FormatError | None:
    """Return the error for a zip archive that is another program's; None for the others."""
    inside = set(names)
    if "model.weights.h5" in inside:
        return FormatError(
            path, found="is a Keras model, which explorer does not read", cure=_KERAS
        )
    if "MAR-INF/MANIFEST.json" in inside:
        return FormatError(path, found="is a TorchServe archive", cure="unzip it")
    held = next((n for n in names if n.lower().endswith(_WEIGHTS)), None)
    if held is not None:
        found = f"is a zip archive of files ({printable(held, 60)})"
        return FormatError(path, found=found, cure="unzip it and name one of them")
    return None


_WEIGHTS = (
    ".safetensors",
    ".gguf",
    ".bin",
    ".pth",
    ".pt",
    ".ckpt",
    ".msgpack",
    ".h5",
    ".onnx",
)


def _quoted(head: bytes) -> str:
    """Return the first words of a text as an error shows them."""
    text = " ".join(head.decode("utf-8", "replace").split())
    return repr(printable(text, 60))
