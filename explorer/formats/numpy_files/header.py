"""The header of a .npy array: magic, version, length, a Python literal (numpy.lib.format).

The literal is parsed and never evaluated; its claims are checked against the bytes there.
"""

import ast
from collections.abc import Callable
from functools import lru_cache
from math import prod
from typing import NamedTuple

from explorer.errors import FormatError, printable, shown
from explorer.formats.bounds import check_shape
from explorer.formats.ndarrays import descr_name, item_bytes

__all__ = ["TEXT", "NpyHeader", "parse"]

TEXT = "text"

_MAGIC = b"\x93NUMPY"
_LENGTH_BYTES = {1: 2, 2: 4, 3: 4}  # by version
_MAX_HEADER = 10_000  # numpy.load's own limit
_ENOUGH = 256  # bytes that hold the header of nearly every array


class NpyHeader(NamedTuple):
    """One array: its format and shape; its data is at `begin` of its file or member."""

    dtype: str
    shape: tuple[int, ...]
    descr: str
    is_fortran: bool
    begin: int
    nbytes: int


def parse(
    path: str,
    what: str,
    head: Callable[[int], bytes],
    size: int,
    *,
    is_last: bool = True,
) -> NpyHeader:
    """Return the header of one array.

    Args:
        path: the file, for errors.
        what: the array, for errors ("the array", "member 'a.npy'").
        head: returns the first bytes: as many as asked for, or all.
        size: bytes of header and data together.
        is_last: whether they are all for this array; otherwise others follow it.

    Raises:
        FormatError: it has no header, a bad one, or one that does not fit `size` bytes.
    """
    begin, raw = _literal_bytes(path, what, head, size)
    literal = _literal(raw)
    if literal is None:
        raise FormatError(
            path,
            found=f"{what} has the header {shown(raw, 80)}",
            expected="a dict of descr, fortran_order and shape",
        )
    descr, is_fortran, shape = literal
    dtype, item = _format_of(path, what, descr)
    check_shape(path, what, shape, item)
    nbytes = prod(shape) * item
    if begin + nbytes != size and (is_last or begin + nbytes > size):
        raise FormatError(
            path,
            found=f"{what} has {size - begin:,} bytes of data",
            expected=f"{nbytes:,} for shape {printable(shape, 60)} of {descr}",
            cure="fetch or write the file again",
        )
    return NpyHeader(dtype, shape, str(descr), is_fortran, begin, nbytes)


def _literal_bytes(
    path: str, what: str, head: Callable[[int], bytes], size: int
) -> tuple[int, bytes]:
    """Return the offset of the data, and the text of the header."""
    start = head(_ENOUGH)
    width = _LENGTH_BYTES.get(start[6] if len(start) > 6 else 0)
    if not start.startswith(_MAGIC) or width is None or start[7:8] != b"\0":
        raise FormatError(
            path,
            found=f"{what} starts with {start[:8].hex(' ')}",
            expected="the magic of a .npy array, version 1 to 3",
        )
    length = int.from_bytes(start[8 : 8 + width], "little")
    begin = 8 + width + length
    if begin > size:
        raise FormatError(
            path,
            found=f"{what} claims a header of {length:,} bytes and has {size:,} in all",
            cure="the file is truncated: fetch it again",
        )
    if length > _MAX_HEADER:
        raise FormatError(
            path,
            found=f"{what} claims a header of {length:,} bytes",
            expected=f"at most {_MAX_HEADER:,}, NumPy's own limit",
        )
    raw = start if begin <= len(start) else head(begin)
    return begin, raw[8 + width : begin]


@lru_cache(maxsize=256)  # arrays of one shape have one header
def _literal(raw: bytes) -> tuple[object, bool, tuple[int, ...]] | None:
    """Return (descr, fortran_order, shape), or None where the header is not such a dict."""
    try:
        header = ast.literal_eval(raw.decode("utf-8").strip()) if b"\\" not in raw else None
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
    if not isinstance(header, dict) or header.keys() != {"descr", "fortran_order", "shape"}:
        return None
    descr, is_fortran, shape = header["descr"], header["fortran_order"], header["shape"]
    if not isinstance(is_fortran, bool) or not isinstance(shape, tuple):
        return None
    if not all(type(n) is int and n >= 0 for n in shape):
        return None
    return descr, is_fortran, shape


def _format_of(path: str, what: str, descr: object) -> tuple[str, int]:
    """Return the number format and the bytes of one element."""
    spelled = descr if isinstance(descr, str) else "records"
    if spelled[1:2] == "O":
        raise FormatError(
            path,
            found=f"{what} holds Python objects",
            expected="numbers: object arrays are pickles and are never executed",
            cure="save each array by itself",
        )
    if spelled in ("<V2", "|V2"):  # the only two-byte format that NumPy has no name for
        return "bfloat16", 2
    width = spelled[2:]
    if spelled[1:2] in ("U", "S") and width.isdecimal() and len(width) < 10:
        return TEXT, int(width) * (4 if spelled[1] == "U" else 1)
    name = descr_name(spelled)
    item = item_bytes(name) if name else None
    if name is None or item is None:
        is_void = spelled[1:2] == "V"
        raise FormatError(
            path,
            found=f"{what} holds {printable(spelled, 40)}",
            expected="a plain number format such as '<f4'",
            cure="NumPy saves fp8 and 4-bit formats as nameless bytes: save as safetensors"
            if is_void
            else "save each field by itself",
        )
    return name, item
