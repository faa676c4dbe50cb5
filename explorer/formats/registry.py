"""The one table of file formats: how each is recognised and which module reads it.

A reader module has two functions:

    read(path) -> Listing                      from the header alone, no JAX, no NumPy
    values(path, wanted) -> dict[Key, array]   the arrays whose key `wanted(key)` accepts

`recognise` looks at what a file starts with before it looks at its name.
"""

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import NamedTuple

from explorer.errors import TargetError
from explorer.storage.local import first_bytes

__all__ = ["FORMATS", "Format", "reader_of", "recognise"]


class Format(NamedTuple):
    """A file format: its name, reader module, first bytes and file name endings."""

    name: str
    module: str
    starts: Callable[[bytes], bool]
    endings: tuple[str, ...]


def _starts(*magics: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(magics)


def _starts_as_safetensors(head: bytes) -> bool:
    # a 64-bit length and the opening brace of a JSON object
    return len(head) > 8 and head[8:9] == b"{"


def _starts_as_msgpack_map(head: bytes) -> bool:
    # a map's head of one, three or five bytes, and the head of its first name
    begin = {0xDE: 3, 0xDF: 5}.get(head[0], 1 if 0x80 <= head[0] <= 0x8F else len(head))
    key = head[begin : begin + 1]
    return b"\xa0" <= key <= b"\xbf" or key in (b"\xd9", b"\xda", b"\xdb")


_TORCH = (".pt", ".pth", ".bin", ".ckpt", ".jit", ".ptl", ".pkl", ".pickle")

# The order is the order of trial; a zip is npz or PyTorch by what is inside.
FORMATS = (
    Format("gguf", "gguf", _starts(b"GGUF"), (".gguf",)),
    Format("npy", "numpy_files", _starts(b"\x93NUMPY"), (".npy",)),
    Format("npz", "numpy_files", _starts(b"PK\x03\x04", b"PK\x05\x06"), (".npz",)),
    Format("pytorch", "pytorch", _starts(b"PK\x03\x04"), _TORCH),
    Format("pytorch", "pytorch", _starts(*(b"\x80%c" % v for v in range(2, 6))), _TORCH),
    Format("safetensors", "safetensors", _starts_as_safetensors, (".safetensors",)),
    Format("msgpack", "flax_msgpack", _starts_as_msgpack_map, (".msgpack",)),
)


def reader_of(module: str) -> ModuleType:
    """Import the reader module of that name, only now that it is needed."""
    return import_module(f"explorer.formats.{module}")


def recognise(path: str) -> Format:
    """Return the format of a regular file, by its first bytes, then by its name.

    Raises:
        TargetError: the path is missing, unreadable, no regular file, or unknown.
        FormatError: the file is empty.
    """
    head = first_bytes(path)
    fitting = [fmt for fmt in FORMATS if fmt.starts(head)]
    named = [fmt for fmt in FORMATS if path.lower().endswith(fmt.endings)]
    both = [fmt for fmt in fitting if fmt in named]
    if both or fitting:
        chosen = (both or fitting)[0]
        if head.startswith(b"PK\x03\x04") and not both:
            return _zip_format(path)
        return chosen
    if named:  # the reader of that format says best what is wrong
        return named[0]
    raise TargetError(
        path,
        found=f"starts with {head[:8].hex(' ')}, which is no format explorer reads",
        expected="safetensors, GGUF, PyTorch, npy, npz, Flax msgpack or a folder of them",
    )


def _zip_format(path: str) -> Format:
    from explorer.formats.zip_directory import read_directory

    names = read_directory(path)
    wanted = "npz" if all(name.endswith(".npy") for name in names) else "pytorch"
    return next(fmt for fmt in FORMATS if fmt.name == wanted)
