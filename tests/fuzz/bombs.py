"""Small files that claim, or unfold into, far more than they are: one function a kind.

Each writes one file, or one folder, in a folder and returns its path.
"""

import io
import json
import struct
import zipfile
import zlib
from pathlib import Path

import msgpack

from tests.formats.torch_bytes import Call, Raw, pickled, spell, storage, text, write_zip
from tests.fuzz.orbax_bombs import ORBAX_BOMBS

__all__ = ["BOMBS"]

MB = 1 << 20
_DEFLATED = zipfile.ZIP_DEFLATED
_EMPTY = zipfile.ZIP_STORED


def _put(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _pickle(path: Path, body: bytes) -> Path:
    return _put(path / "a.pkl", b"\x80\x02" + body + b".")


def _repeat(unit: bytes, size: int) -> bytes:
    return unit * (size // len(unit))


def memo_leaps(folder: Path) -> Path:
    puts = b"".join(b"Nr" + struct.pack("<I", 1000 * i) + b"0" for i in range(1, 300_000))
    return _pickle(folder, puts[: 2 * MB // 7 * 7] + b"N")


def memo_leaps_deflated(folder: Path) -> Path:
    puts = b"".join(b"Nr" + struct.pack("<I", 1000 * i) + b"0" for i in range(1, 150_000))
    return Path(write_zip(folder / "a.pt", b"\x80\x02" + puts + b"N.", packing=_DEFLATED))


def colliding_integers(folder: Path) -> Path:
    keys = [spell(k * ((1 << 61) - 1)) + b"N" for k in range(1, 60_000)]
    return _pickle(folder, b"}(" + b"".join(keys) + b"u")


def colliding_tuples(folder: Path) -> Path:
    keys = [spell(k * ((1 << 61) - 1)) + b"\x85N" for k in range(1, 60_000)]
    return _pickle(folder, b"}(" + b"".join(keys) + b"u")


def empty_dicts(folder: Path) -> Path:
    return _pickle(folder, b"](" + b"}" * (8 * MB) + b"e")


def small_dicts(folder: Path) -> Path:
    return _pickle(folder, b"](" + b"}NNs" * (2 * MB) + b"e")


def small_lists(folder: Path) -> Path:
    return _pickle(folder, b"](" + b"]Na" * (2 * MB) + b"e")


def tuples_in_tuples(folder: Path) -> Path:
    return _pickle(folder, b")" + b"\x85" * (8 * MB))


def optax_states(folder: Path) -> Path:
    """Calls with one tuple of 32, each of which keeps a dict of 32."""
    begin = b"coptax\nMadgradState\nq\x00(" + b"N" * 32 + b"tq\x01"
    return _pickle(folder, begin + b"](" + b"h\x00h\x01R" * 400_000 + b"e")


def long_arguments(folder: Path) -> Path:
    begin = b"ctorch._utils\n_rebuild_tensor_v2\nq\x00(" + b"N" * MB + b"tq\x01"
    return _pickle(folder, begin + b"](" + b"h\x00h\x01R0" * 100_000 + b"e")


def long_keys(folder: Path) -> Path:
    begin = b"}q\x00(" + b"N" * MB + b"tq\x010"
    return _pickle(folder, begin + b"h\x00" + b"h\x01Ns" * 100_000)


def many_names(folder: Path) -> Path:
    names = b"".join(b"cjax\n%x\n0" % i for i in range(300_000))
    return _pickle(folder, names + b"N")


def shared_lists(folder: Path) -> Path:
    """Ten lists of ten of the one before: a billion tensors by sharing."""
    body = spell(tensor_of()) + b"q\x000"
    for level in range(9):
        body += b"](" + b"h%c" % level * 10 + b"eq%c0" % (level + 1)
    return Path(write_zip(folder / "a.pt", b"\x80\x02" + body + b"h\x09.", {"0": bytes(4)}))


def nameless_depth(folder: Path) -> Path:
    """A long list of tensors below 90 dicts whose keys are empty."""
    body = spell(tensor_of()) + b"q\x000](" + b"h\x00" * 200_000 + b"e"
    body = b"}" * 90 + b"(" * 0 + body
    body = (b"}" + text("")) * 90 + body[90:] + b"s" * 90
    return Path(write_zip(folder / "a.pt", b"\x80\x02" + body + b".", {"0": bytes(4)}))


def many_tensors(folder: Path) -> Path:
    body = spell(tensor_of()) + b"q\x000](" + b"h\x00" * (2 * MB) + b"e"
    return Path(write_zip(folder / "a.pt", b"\x80\x02" + body + b".", {"0": bytes(4)}))


def tensor_of() -> Call:
    arguments = (storage("0", 1), 0, (1,), (1,), False, None)
    return Call("torch._utils", "_rebuild_tensor_v2", arguments)


def deflated_pickle(folder: Path) -> Path:
    body = b"\x80\x02](" + b"}" * (60 * MB) + b"e."
    return Path(write_zip(folder / "a.pt", body, packing=_DEFLATED))


def torchscript_code(folder: Path) -> Path:
    """Many classes, each of a file of source that is nearly nothing when packed."""
    root: object = None
    path = folder / "a.pt"
    modules = [Call(f"__torch__.m{i}", "M", (), {"x": i}) for i in range(30)]
    root = Call("__torch__", "M", (), {f"m{i}": module for i, module in enumerate(modules)})
    write_zip(path, root, {}, constants__pkl=b"\x80\x02).")
    code = b"class M(Module):\n  __parameters__ = [" + b'"ab", ' * (2 * MB) + b"]\n"
    code += b"  __buffers__ = []\n"
    with zipfile.ZipFile(path, "a", _DEFLATED) as archive:
        for i in range(30):
            archive.writestr(f"archive/code/__torch__/m{i}.py", code)
    return path


def npz_of_zeros(folder: Path) -> Path:
    """One megabyte that inflates to a gigabyte."""
    size = 1 << 30
    header = _npy_header(f"({size},)", "|u1")
    path = folder / "a.npz"
    with (
        zipfile.ZipFile(path, "w", _DEFLATED) as archive,
        archive.open("w.npy", "w") as out,
    ):
        out.write(header)
        for _ in range(1024):
            out.write(bytes(MB))
    return path


def _npy_header(shape: str, descr: str = "<f4") -> bytes:
    literal = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(literal)) + literal


def npz_of_headers(folder: Path) -> Path:
    """Members whose headers are long literals, which deflate to little."""
    path = folder / "a.npz"
    with zipfile.ZipFile(path, "w", _DEFLATED) as archive:
        for i in range(6_000):
            shape = "(" + "0," * 60 + ")"
            literal = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, 'x': [{'1,' * 4800}{i}]}}"
            raw = literal.encode()
            head = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(raw)) + raw
            archive.writestr(f"{i}.npy", head)
    return path


def npy_of_many(folder: Path) -> Path:
    unit = _npy_header("(0,)", "<f4")
    return _put(folder / "a.eqx", _repeat(unit, 4 * MB))


def msgpack_numbers(folder: Path) -> Path:
    count = 2 * MB
    return _put(
        folder / "a.msgpack", b"\x81\xa1a\xdd" + struct.pack(">I", count) + b"\x01" * count
    )


def msgpack_names(folder: Path) -> Path:
    count = 400_000
    items = b"".join(msgpack.packb(f"{i:x}") + b"\xc0" for i in range(count))
    return _put(folder / "a.msgpack", b"\xdf" + struct.pack(">I", count) + items)


def safetensors_extra(folder: Path) -> Path:
    raw = (
        '{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0],"x":[' + "[]," * MB + "[]]}}"
    )
    return _put(folder / "a.safetensors", struct.pack("<Q", len(raw)) + raw.encode())


def safetensors_scalars(folder: Path) -> Path:
    entry = '"%x":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    raw = "{" + ",".join(entry % i for i in range(80_000)) + "}"
    return _put(folder / "a.safetensors", struct.pack("<Q", len(raw)) + raw.encode())


def safetensors_spaced(folder: Path) -> Path:
    entry = '"%x": {"dtype":"F32","shape":[0,%d,%d],"data_offsets":[0,0]}'
    raw = "{" + ",".join(entry % (i, i + 1, 1 << 40) for i in range(40_000)) + "}"
    return _put(folder / "a.safetensors", struct.pack("<Q", len(raw)) + raw.encode())


def safetensors_ranks(folder: Path) -> Path:
    shape = ",".join(["18446744073709551615"] * 100_000)
    raw = '{"a": {"dtype":"F32","shape":[' + shape + '],"data_offsets":[0,4]}}'
    return _put(
        folder / "a.safetensors", struct.pack("<Q", len(raw)) + raw.encode() + bytes(4)
    )


def gguf_scalars(folder: Path) -> Path:
    count = 60_000
    rows = b"".join(
        struct.pack("<Q", 5) + b"%05x" % i + struct.pack("<IQIQ", 1, 1, 0, 32 * i)
        for i in range(count)
    )
    raw = b"GGUF" + struct.pack("<IQQ", 3, count, 0) + rows
    raw += bytes(-len(raw) % 32)
    return _put(folder / "a.gguf", raw + bytes(32 * count))


def gguf_texts(folder: Path) -> Path:
    count = 500_000
    value = struct.pack("<IIQ", 9, 8, count) + struct.pack("<Q", 0) * count
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"a"
    return _put(folder / "a.gguf", head + value)


def deepspeed_groups(folder: Path) -> Path:
    group = {f"{i:x}": Call("torch", "Size", ((1,),)) for i in range(20_000)}
    body = (
        spell(group) + b"q\xff0}" + text("param_shapes") + b"](" + b"h\xff" * 50_000 + b"es"
    )
    path = folder / "mp_rank_00_model_states.pt"
    return Path(write_zip(path, b"\x80\x02" + body + b"."))


def dcp_sizes(folder: Path) -> Path:
    """One long size that every tensor of the list has."""
    state = Raw(b"h\x01")
    of = "torch.distributed.checkpoint.metadata"
    size = b"(" + b"K\x01" * MB + b"tq\x010"
    rows = {
        f"{i:x}": Call(of, "TensorStorageMetadata", (), {"size": state})
        for i in range(20_000)
    }
    root = Call(of, "Metadata", (), {"state_dict_metadata": rows})
    path = folder / "dcp"
    path.mkdir()
    _put(path / "__0_0.distcp", b"\0")
    _put(path / ".metadata", b"\x80\x02" + size + pickled(root)[2:])
    return path


def zip_of_names(folder: Path) -> Path:
    path = folder / "a.npz"
    with zipfile.ZipFile(path, "w", _EMPTY) as archive:
        for i in range(20_000):
            archive.writestr(f"{i}.txt", b"")
    return path


def deflated_storages(folder: Path) -> Path:
    """A storage of 256 MB in 256 kB, of which a thousand negated views take one element."""
    flags = {"neg": True}
    count = 64 * MB
    root = {
        f"w{i}": Call(
            "torch._utils",
            "_rebuild_tensor_v2",
            (storage("0", count), i, (1,), (1,), False, None, flags),
        )
        for i in range(1000)
    }
    return Path(write_zip(folder / "a.pt", root, {"0": bytes(4 * count)}, _DEFLATED))


def index_of_shards(folder: Path) -> Path:
    shard = folder / "a.safetensors"
    safetensors_scalars(folder)
    names = {f"{i:x}": shard.name for i in range(80_000)}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": names}))
    return index


def zlib_joblib(folder: Path) -> Path:
    return _put(folder / "a.joblib", zlib.compress(bytes(64 * MB)))


def stream_of_storages(folder: Path) -> Path:
    keys = io.BytesIO()
    for i in range(200_000):
        keys.write(spell(str(i)))
    return _pickle(folder, b"](" + keys.getvalue() + b"e")


BOMBS = ORBAX_BOMBS | {
    name: build
    for name, build in list(globals().items())
    if callable(build)
    and getattr(build, "__module__", "") == __name__
    and not name.startswith("_")
    and name != "tensor_of"
}
