"""A small file of each format, in the parts that its mutator changes."""

import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgpack
import numpy as np

from tests.formats.torch_bytes import (
    Call,
    pickled,
    storage,
    tensor,
    write_legacy,
    write_zip,
    zeros,
)
from tests.fuzz.adapter_seeds import BESIDE
from tests.fuzz.cutting import Parts, Seed, file_of, opcodes, tokens, words
from tests.fuzz.folder_seeds import FOLDERS
from tests.fuzz.orbax_seeds import ORBAX

__all__ = ["FORMATS", "seeds"]


def _safetensors() -> Seed:
    entries = {
        "__metadata__": {"format": "pt"},
        "a.weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]},
    }
    raw = json.dumps(entries, separators=(",", ":")).encode()
    return Seed(
        tokens(raw),
        file_of("a.safetensors", lambda raw: struct.pack("<Q", len(raw)) + raw + bytes(32)),
    )


def _gguf() -> Seed:
    head = b"GGUF" + struct.pack("<IQQ", 3, 2, 2)
    pairs = (
        struct.pack("<Q", 20)
        + b"general.architecture"
        + struct.pack("<IQ", 8, 5)
        + b"llama"
    )
    pairs += struct.pack("<Q", 3) + b"abc" + struct.pack("<IIQ4I", 9, 4, 4, 1, 2, 3, 4)
    rows = struct.pack("<Q", 8) + b"tok_embd" + struct.pack("<I2QIQ", 2, 4, 8, 0, 0)
    rows += struct.pack("<Q", 8) + b"blk.0.qq" + struct.pack("<I2QIQ", 2, 32, 2, 2, 128)
    raw = head + pairs + rows
    raw += bytes(-len(raw) % 32)
    return Seed(words(raw, 8), file_of("a.gguf", lambda raw: raw + bytes(192)))


def _npy() -> Seed:
    stream = io.BytesIO()
    np.save(stream, np.zeros((2, 3), np.float32))
    raw = stream.getvalue()
    head, rest = raw[:10], raw[10:]
    return Seed(
        [head[:8], *tokens(rest[:118].replace(b"'", b'"'))],
        file_of(
            "a.npy",
            lambda raw: (
                raw[:8]
                + struct.pack("<H", len(raw[8:]) & 0xFFFF)
                + raw[8:].replace(b'"', b"'")
                + bytes(24)
            ),
        ),
    )


def _npz() -> Seed:
    stream = io.BytesIO()
    np.savez_compressed(stream, a=np.zeros((2, 3)), b=np.arange(4, dtype=">i2"))
    return Seed(words(stream.getvalue()), file_of("a.npz"))


def _packed(array: np.ndarray) -> msgpack.ExtType:
    """An array as Flax packs it; Flax itself would make the process large, and forks slow."""
    parts = (array.shape, array.dtype.name, array.tobytes())
    return msgpack.ExtType(1, msgpack.packb(parts))


def _msgpack() -> Seed:
    chunks = {"0": _packed(np.ones(2, np.float32))}
    tree = {
        "params": {
            "w": _packed(np.ones((2, 3), np.float32)),
            "b": _packed(np.ones(3, np.int8)),
        },
        "chunked": {"__msgpack_chunked_array__": True, "shape": {"0": 2}, "chunks": chunks},
        "step": 3,
    }
    return Seed(words(msgpack.packb(tree), 2), file_of("a.msgpack"))


def _torch_root() -> dict:
    half = tensor("1", (2, 2), (1, 2), kind="Half")
    array = Call(
        "numpy.core.multiarray",
        "_reconstruct",
        (),
        (1, (2,), Call("numpy", "dtype", ("f4", False, True)), False, b"\0" * 8),
    )
    return {"model": {"a.weight": tensor("0", (2, 3)), "b": half}, "n": array, "epoch": 3}


def _torch() -> Seed:
    def write(folder: Path, parts: Parts) -> Path:
        storages = {"0": zeros(6), "1": zeros(4, 2)}
        return Path(write_zip(folder / "a.pt", b"".join(parts), storages))

    return Seed(opcodes(pickled(_torch_root())), write)


def _state_dict() -> Seed:
    """What PyTorch's weights_only reads too: tensors and numbers alone."""
    named = Call("torch._utils", "_rebuild_parameter", (tensor("0", (2, 3)), True, {}))
    half = tensor("1", (2, 2), (1, 2), kind="Half")
    root = {"model": {"a.weight": named, "b": half, "c": tensor("0", (2,), size=6)}, "n": 3}

    def write(folder: Path, parts: Parts) -> Path:
        storages = {"0": zeros(6), "1": zeros(4, 2)}
        return Path(write_zip(folder / "a.pt", b"".join(parts), storages, version=b"3"))

    return Seed(opcodes(pickled(root)), write)


def _torch_zip() -> Seed:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickled({"w": tensor("0", (3,))}))
        archive.writestr("archive/data/0", zeros(3))
    return Seed(words(stream.getvalue()), file_of("a.pt"))


def _pickle() -> Seed:
    root = {"n": _torch_root()["n"], "list": [1, (2.5, "x"), {3: b"y"}], "none": None}
    return Seed(opcodes(pickled(root)), file_of("a.pkl"))


def _legacy(folder: Path) -> Seed:
    path = folder / "seed.pt"
    arguments = (storage("0", 3, "Float", None), 0, (3,), (1,), False, None)
    root = {"w": Call("torch._utils", "_rebuild_tensor_v2", arguments)}
    write_legacy(path, root, {"0": (3, zeros(3))})
    return Seed(words(path.read_bytes(), 2), file_of("a.pt"))


def _orbax() -> Seed:
    from tests.formats.test_hostile_shapes import orbax

    def write(folder: Path, parts: Parts) -> Path:
        path = orbax(folder / "o")
        (path / "w/.zarray").write_bytes(b"".join(parts))
        return path

    document = {"zarr_format": 2, "shape": [4, 4], "chunks": [2, 4], "dtype": "<f4"}
    document |= {"compressor": {"id": "zstd", "level": 1}, "filters": None, "order": "C"}
    document |= {"fill_value": 0, "dimension_separator": "."}
    return Seed(tokens(json.dumps(document).encode()), write)


def seeds(folder: Path) -> dict[str, Seed]:
    """Return the seed of each format; the folder is for those that are files."""
    return {name: make() for name, make in FORMATS.items()} | {"legacy": _legacy(folder)}


FORMATS: dict[str, Callable[[], Seed]] = {
    "safetensors": _safetensors,
    "gguf": _gguf,
    "npy": _npy,
    "npz": _npz,
    "msgpack": _msgpack,
    "torch": _torch,
    "state dict": _state_dict,
    "torch zip": _torch_zip,
    "pickle": _pickle,
    "orbax": _orbax,
    **FOLDERS,
    **ORBAX,
    **BESIDE,
}
