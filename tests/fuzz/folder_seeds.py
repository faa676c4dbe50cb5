"""Seeds of many parts: folders, archives, and archives in archives.

Between the parts of two files stands a mark with the next file's name. A mutator that drops,
doubles or swaps marks joins, overwrites and exchanges files.
"""

import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.formats.torch_bytes import Call, Named, pickled, tensor, write_zip, zeros
from tests.fuzz.cutting import Parts, Seed, file_of, opcodes, tokens, words

__all__ = ["FOLDERS", "folder_of", "marked"]

_MARK = b"\xff/"
_DATA = Path(__file__).parents[1] / "data/torch_containers"


def marked(files: dict[str, Parts]) -> Parts:
    """Join the parts of files, each behind its mark."""
    return [part for name, of in files.items() for part in (_MARK + name.encode(), *of)]


def _split(parts: Parts, names: set[str], first: str) -> dict[str, bytes]:
    """Return the content of each file; only names of the seed are names."""
    files: dict[str, list[bytes]] = {}
    at = files.setdefault(first, [])
    for part in parts:
        name = part.removeprefix(_MARK).decode("latin-1")
        if part.startswith(_MARK) and name in names:
            at = files[name] = []
        else:
            at.append(part)
    return {name: b"".join(content) for name, content in files.items()}


def _names(parts: Parts) -> list[str]:
    return [part[2:].decode() for part in parts if part.startswith(_MARK)]


def folder_of(
    parts: Parts, frames: dict[str, Callable[[bytes], bytes]] | None = None
) -> Seed:
    """A folder of files; a frame makes the bytes of a file from its parts."""
    names = _names(parts)

    def write(folder: Path, changed: Parts) -> Path:
        path = folder / "folder"
        path.mkdir(exist_ok=True)
        for name, content in _split(changed, set(names), names[0]).items():
            frame = (frames or {}).get(name, bytes)
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(frame(content))
        return path

    return Seed(parts, write)


def _archive(name: str, parts: Parts, packing: int = zipfile.ZIP_STORED) -> Seed:
    """A zip archive of members."""
    names = _names(parts)

    def write(folder: Path, changed: Parts) -> Path:
        path = folder / name
        with zipfile.ZipFile(path, "w", packing) as archive:
            for member, content in _split(changed, set(names), names[0]).items():
                archive.writestr(member, content)
        return path

    return Seed(parts, write)


def _zipped(storages: dict[str, bytes]) -> Callable[[bytes], bytes]:
    """Return the frame that puts a pickle into an archive beside its storages."""

    def frame(root: bytes) -> bytes:
        stream = io.BytesIO()
        write_zip(stream, root, storages)  # type: ignore[arg-type]
        return stream.getvalue()

    return frame


def _dcp() -> Seed:
    metadata = (_DATA / "dcp_metadata").read_bytes()
    return folder_of(
        marked({".metadata": opcodes(metadata), "__0_0.distcp": [zeros(1500)]})
    )


def _dcp_chunks() -> Seed:
    """Metadata by hand, with two chunks of a tensor, one pickled object, and both files."""
    of = "torch.distributed.checkpoint.metadata"

    def size(*shape: int) -> Call:
        return Call("torch", "Size", (shape,))

    chunks = [
        Call(of, "ChunkStorageMetadata", (), {"offsets": size(at, 0), "sizes": size(2, 3)})
        for at in (0, 2)
    ]
    properties = Call(of, "TensorProperties", (), (Named("torch", "float32"), False))
    state = {"properties": properties, "size": size(4, 3), "chunks": chunks}
    rows = {
        "model.w": Call(of, "TensorStorageMetadata", (), state),
        "step": Call(of, "BytesStorageMetadata", (), {}),
    }
    root = Call(of, "Metadata", (), {"state_dict_metadata": rows, "planner_data": None})
    files = {".metadata": opcodes(pickled(root))}
    files |= {f"__{rank}_0.distcp": [zeros(6)] for rank in (0, 1)}
    return folder_of(marked(files))


def _deepspeed() -> Seed:
    size = Call("torch", "Size", ((3, 4),))
    module = {"w": tensor("0", (3, 4)), "v": tensor("0", (3, 4)), "b": tensor("1", (3,))}
    module |= {"f": tensor("1", (2,), size=3)}
    root = {
        "module": module,
        "buffer_names": ["b"],
        "param_shapes": [{"w": size, "v": size}],
        "frozen_param_shapes": {"f": Call("torch", "Size", ((2,),))},
        "shared_params": {"v": "w"},
        "mp_world_size": 1,
    }
    name = "mp_rank_00_model_states.pt"
    files = {
        name: opcodes(pickled(root)),
        "zero_pp_rank_0_mp_rank_00_optim_states.pt": [b"junk"],
        "latest": [b"global_step", b"5"],
    }
    return folder_of(marked(files), {name: _zipped({"0": zeros(12), "1": zeros(3)})})


def _torchscript() -> Seed:
    weights = {"weight": tensor("0", (2, 3)), "bias": tensor("1", (2,))}
    inner = Call("__torch__.layer", "Linear", (), weights | {"training": False})
    root = Call("__torch__", "M", (), {"layer": inner, "mean": tensor("1", (2,))})
    code = "class {}(Module):\n  __parameters__ = [{}]\n  __buffers__ = [{}]\n  x : bool\n"
    layer = code.format("Linear", '"weight", "bias", ', "")
    members = {
        "archive/data.pkl": opcodes(pickled(root)),
        "archive/constants.pkl": opcodes(b"\x80\x02)."),
        "archive/code/__torch__.py": tokens(code.format("M", "", '"mean", ').encode()),
        "archive/code/__torch__/layer.py": tokens(layer.encode()),
        "archive/data/0": [zeros(6)],
        "archive/data/1": [zeros(2)],
        "archive/version": [b"3", b"\n"],
    }
    return _archive("a.pt", marked(members), zipfile.ZIP_DEFLATED)


def _joblib() -> Seed:
    import joblib

    stream = io.BytesIO()
    tree = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "n": [np.ones(2), "x", 5]}
    joblib.dump(tree, stream, protocol=4)
    raw = stream.getvalue()
    return Seed(words(raw, 2), file_of("a.joblib"))


def _shards() -> Seed:
    """An index and two shards of safetensors."""
    shard_of = {"a": "x.safetensors", "b": "y.safetensors"}
    index = {"metadata": {"total_size": 32}, "weight_map": shard_of}
    head = '{"%s":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'
    files = {"model.safetensors.index.json": tokens(json.dumps(index).encode())}
    files |= {shard: tokens((head % key).encode()) for key, shard in shard_of.items()}
    return folder_of(marked(files), dict.fromkeys(shard_of.values(), _framed))


def _framed(header: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header + bytes(16)


def _pipeline() -> Seed:
    """A diffusers folder: the manifest and two networks, one in shards of PyTorch."""
    manifest = {
        "_class_name": "P",
        "unet": ["d", "U"],
        "vae": ["d", "V"],
        "x": [None, None],
    }
    head = tokens(b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}')
    index = {"weight_map": {"w": "p.bin"}}
    files = {
        "model_index.json": tokens(json.dumps(manifest).encode()),
        "unet/m.safetensors": head,
        "vae/pytorch_model.bin.index.json": tokens(json.dumps(index).encode()),
        "vae/p.bin": opcodes(pickled({"w": tensor("0", (3,))})),
    }
    frames = {"unet/m.safetensors": _framed, "vae/p.bin": _zipped({"0": zeros(3)})}
    return folder_of(marked(files), frames)


def _zip_in_zip() -> Seed:
    """A stored archive of PyTorch whose storage is such an archive itself."""
    inner = _zipped({"0": zeros(3)})(pickled({"w": tensor("0", (3,))}))
    root = pickled({"v": tensor("0", (len(inner) // 4,))})
    outer = _zipped({"0": inner})(root)
    return Seed(words(outer, 4), file_of("a.pt"))


def _npz_in_npz() -> Seed:
    """An archive of NumPy that holds one."""
    stream = io.BytesIO()
    np.savez(stream, w=np.ones(3, np.float32))
    array = io.BytesIO()
    np.save(array, np.ones((2, 2)))
    members = {
        "a.npy": [array.getvalue()[:10], *tokens(array.getvalue()[10:128]), bytes(32)],
        "b.npz": words(stream.getvalue()),
    }
    return _archive("a.npz", marked(members))


FOLDERS: dict[str, Callable[[], Seed]] = {
    "dcp": _dcp,
    "dcp chunks": _dcp_chunks,
    "deepspeed": _deepspeed,
    "torchscript": _torchscript,
    "joblib": _joblib,
    "shards": _shards,
    "pipeline": _pipeline,
    "zip in zip": _zip_in_zip,
    "npz in npz": _npz_in_npz,
}
