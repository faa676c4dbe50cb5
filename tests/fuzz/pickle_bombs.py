"""Bombs of pickles: streams of opcodes, archives of PyTorch and what else is read as one."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from tests.formats.torch_bytes import Call, Raw, pickled, spell, storage, text, write_zip

__all__ = ["PICKLE_BOMBS"]

MB = 1 << 20
_DEFLATED = zipfile.ZIP_DEFLATED


def _put(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _pickle(path: Path, body: bytes) -> Path:
    return _put(path / "a.pkl", b"\x80\x02" + body + b".")


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


def colliding_tuples_with_text(folder: Path) -> Path:
    """No text has the hash 0, and parts of one hash make tuples of one hash beside any text."""
    keys = [
        b"(" + text("a" * (k % 2)) + spell(k * ((1 << 61) - 1)) + b"tN"
        for k in range(60_000)
    ]
    return _pickle(folder, b"}(" + b"".join(keys) + b"u")


def colliding_pairs(folder: Path) -> Path:
    pairs = [spell(k * ((1 << 61) - 1)) + b"N\x86" for k in range(1, 60_000)]
    begin = b"ccollections\nOrderedDict\n(]("
    return _pickle(folder, begin + b"".join(pairs) + b"etR")


def chained_integers(folder: Path) -> Path:
    """Small integers that fill the places which one other tries in turn, looked up again and again."""
    mask = (1 << 17) - 1
    chain = [1]
    while len(chain) < 87_000:
        chain.append((5 * chain[-1] + 1) & mask)
    taken, begin = set(chain), set(chain[:100])
    odd = next(k for k in range(mask, 1 << 30) if _is_caught(k, mask, taken, begin))
    body = b"".join(b"J" + struct.pack("<i", k) + b"N" for k in [*chain, odd])
    looks = b"J" + struct.pack("<i", odd) + b"q\x00N" + b"h\x00N" * 100_000
    return _pickle(folder, b"}(" + body + looks + b"u")


def _is_caught(key: int, mask: int, taken: set[int], begin: set[int]) -> bool:
    """Return whether the places that CPython tries for a key are taken, up to the chain's begin."""
    place, rest = key & mask, key
    while place in taken and rest >> 5:
        rest >>= 5
        place = (5 * place + rest + 1) & mask
    return rest >> 5 == 0 and (5 * place + 1) & mask in begin


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
    body = spell(_tensor()) + b"q\x000"
    for level in range(9):
        body += b"](" + b"h%c" % level * 10 + b"eq%c0" % (level + 1)
    return Path(write_zip(folder / "a.pt", b"\x80\x02" + body + b"h\x09.", {"0": bytes(4)}))


def nameless_depth(folder: Path) -> Path:
    """A long list of tensors below 90 dicts whose keys are empty."""
    body = spell(_tensor()) + b"q\x000](" + b"h\x00" * 200_000 + b"e"
    body = b"}" * 90 + b"(" * 0 + body
    body = (b"}" + text("")) * 90 + body[90:] + b"s" * 90
    return Path(write_zip(folder / "a.pt", b"\x80\x02" + body + b".", {"0": bytes(4)}))


def many_tensors(folder: Path) -> Path:
    body = spell(_tensor()) + b"q\x000](" + b"h\x00" * (2 * MB) + b"e"
    return Path(write_zip(folder / "a.pt", b"\x80\x02" + body + b".", {"0": bytes(4)}))


def _tensor() -> Call:
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


def zlib_joblib(folder: Path) -> Path:
    return _put(folder / "a.joblib", zlib.compress(bytes(64 * MB)))


def stream_of_storages(folder: Path) -> Path:
    keys = io.BytesIO()
    for i in range(200_000):
        keys.write(spell(str(i)))
    return _pickle(folder, b"](" + keys.getvalue() + b"e")


PICKLE_BOMBS: dict[str, Callable[[Path], Path]] = {
    build.__name__: build
    for build in (
        memo_leaps,
        memo_leaps_deflated,
        colliding_integers,
        colliding_tuples,
        colliding_tuples_with_text,
        colliding_pairs,
        chained_integers,
        empty_dicts,
        small_dicts,
        small_lists,
        tuples_in_tuples,
        optax_states,
        long_arguments,
        long_keys,
        many_names,
        shared_lists,
        nameless_depth,
        many_tensors,
        deflated_pickle,
        torchscript_code,
        deepspeed_groups,
        dcp_sizes,
        deflated_storages,
        zlib_joblib,
        stream_of_storages,
    )
}
