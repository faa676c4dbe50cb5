"""One model of 16 tensors of a mebibyte each, in every format that explorer reads."""

import zipfile
from pathlib import Path

import gguf as reference
import numpy as np
from flax.serialization import msgpack_serialize

from tests.checkpoints import write_sharded, write_sparse
from tests.formats.gguf_bytes import save
from tests.formats.torch_bytes import Call, tensor, write_legacy, write_zip

TENSORS, SHAPE = 16, (512, 512)
NAMES = [f"layers.{i}.weight" for i in range(TENSORS)]
NBYTES = 4 * 512 * 512
CODE = "class M(Module):\n  __parameters__ = [{}]\n  __buffers__ = []\n"


def write_every_format(folder: Path) -> dict[str, Path]:
    """Write the model in each format; return the paths by what docs/storage.md calls it."""
    ones = {name: np.ones(SHAPE, np.float32) for name in NAMES}
    layout = dict.fromkeys(NAMES, (SHAPE, "F32"))
    np.save(folder / "one.npy", np.ones((TENSORS, *SHAPE), np.float32))
    np.savez(folder / "model.npz", **ones)
    (folder / "model.msgpack").write_bytes(msgpack_serialize(ones))
    writer = reference.GGUFWriter(folder / "model.gguf", "llama")
    for name, array in ones.items():
        writer.add_tensor(name, array)
    save(writer)
    return {
        "safetensors": write_sparse(folder / "model.safetensors", layout),
        "safetensors, 4 shards": write_sharded(folder / "sharded", layout, 4),
        "GGUF": folder / "model.gguf",
        "PyTorch zip": write_torch(folder / "model.pt"),
        "PyTorch legacy": write_torch_legacy(folder / "legacy.pt"),
        "TorchScript": write_torchscript(folder / "script.pt"),
        ".npy": folder / "one.npy",
        ".npz": folder / "model.npz",
        "Flax msgpack": folder / "model.msgpack",
        "Orbax (its JSON)": write_orbax(folder / "orbax", ones),
    }


def _storages() -> dict[str, bytes]:
    return {str(i): bytes(NBYTES) for i in range(TENSORS)}


def _tensors() -> dict[str, Call]:
    return {name: tensor(str(i), SHAPE) for i, name in enumerate(NAMES)}


def write_torch(path: Path) -> Path:
    write_zip(path, _tensors(), _storages())
    return path


def write_torch_legacy(path: Path) -> Path:
    storages = {key: (NBYTES // 4, data) for key, data in _storages().items()}
    write_legacy(path, _tensors(), storages)
    return path


def write_torchscript(path: Path) -> Path:
    """Write one module whose parameters are named by its code."""
    weights = {f"weight{i}": part for i, part in enumerate(_tensors().values())}
    root = Call("__torch__", "M", (), weights)
    write_zip(path, root, _storages(), constants__pkl=b"\x80\x02).")
    with zipfile.ZipFile(path, "a") as archive:
        code = CODE.format("".join(f'"{name}", ' for name in weights))
        archive.writestr("archive/code/__torch__.py", code)
    return path


def write_orbax(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """Write a tree of noise, which does not compress."""
    import orbax.checkpoint as ocp

    noise = np.random.default_rng(0).random((TENSORS, *SHAPE), np.float32)
    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(path, dict(zip(arrays, noise, strict=True)))
    return path
