"""The one table of file formats: how each is detected and which module reads it.

A reader module has two functions, which take every byte from a store:

    read(path, store) -> Listing                      from the header, without JAX or NumPy
    values(path, wanted, store) -> dict[Key, array]   the arrays whose key `wanted` accepts

`detect` goes by the first bytes of a file, then by its name.
"""

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import NamedTuple

from explorer.errors import FormatError, TargetError
from explorer.storage.local import LOCAL
from explorer.storage.store import Store

__all__ = ["FORMATS", "Format", "detect", "reader_of"]


class Format(NamedTuple):
    """A file format: its name, reader module, test of first bytes, and file name endings."""

    name: str
    module: str
    fits: Callable[[bytes], bool]
    endings: tuple[str, ...]


def _magic(*magics: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(magics)


def _is_safetensors(head: bytes) -> bool:
    # a 64-bit length, below 2**32 in all that can be read, and the brace of a JSON object
    return head[4:9] == b"\0\0\0\0{"


def _is_msgpack_map(head: bytes) -> bool:
    # the header of a map (one, three or five bytes), then that of its first name
    begin = {0xDE: 3, 0xDF: 5}.get(head[0], 1 if 0x80 <= head[0] <= 0x8F else len(head))
    key = head[begin : begin + 1]
    return b"\xa0" <= key <= b"\xbf" or key in (b"\xd9", b"\xda", b"\xdb")


_TORCH = (
    *(".pt", ".pth", ".bin", ".ckpt", ".jit", ".ptl", ".pkl", ".pickle"),
    *(".joblib", ".pdparams"),
)

# In order of trial; a zip is npz or PyTorch by its members.
FORMATS = (
    Format("gguf", "gguf", _magic(b"GGUF"), (".gguf",)),
    Format("npy", "numpy_files", _magic(b"\x93NUMPY"), (".npy", ".eqx")),
    Format("npz", "numpy_files", _magic(b"PK\x03\x04", b"PK\x05\x06"), (".npz",)),
    Format("pytorch", "pytorch", _magic(b"PK\x03\x04"), _TORCH),
    Format("pytorch", "pytorch", _magic(*(b"\x80%c" % v for v in range(2, 6))), _TORCH),
    Format("safetensors", "safetensors", _is_safetensors, (".safetensors",)),
    Format("msgpack", "flax_msgpack", _is_msgpack_map, (".msgpack",)),
)


def reader_of(module: str) -> ModuleType:
    """Import the reader module of that name: each only when it is needed."""
    return import_module(f"explorer.formats.{module}")


def detect(path: str, store: Store = LOCAL) -> Format:
    """Return the format of a file, by its first bytes, then by its name.

    Raises:
        TargetError: the path is missing, unreadable, not a regular file, or unknown.
        FormatError: the file is empty, or something else than a checkpoint.
    """
    head = store.first_bytes(path)
    fitting = [fmt for fmt in FORMATS if fmt.fits(head)]
    named = [fmt for fmt in FORMATS if path.lower().endswith(fmt.endings)]
    both = [fmt for fmt in fitting if fmt in named]
    if both or fitting:
        if head.startswith(b"PK\x03\x04") and not both:
            return _zip_format(path, store)
        return (both or fitting)[0]
    _refuse_foreign(path, store)
    if named:  # its reader says best what is wrong
        return named[0]
    raise TargetError(
        path,
        found=f"starts with {head[:8].hex(' ')}, which is not a format that explorer reads",
        expected="safetensors, GGUF, PyTorch, npy, npz, Flax msgpack or a folder of them",
    )


def _refuse_foreign(path: str, store: Store) -> None:
    from explorer.formats.signatures import refuse_foreign

    refuse_foreign(path, store)


def _zip_format(path: str, store: Store) -> Format:
    from explorer.formats.zip_directory import read_directory

    try:
        with store.blob(path) as blob:
            names = list(read_directory(blob))
    except FormatError:
        _refuse_foreign(path, store)  # a name may tell what a broken archive was
        raise
    wanted = "npz" if all(name.endswith(".npy") for name in names) else "pytorch"
    return next(fmt for fmt in FORMATS if fmt.name == wanted)
