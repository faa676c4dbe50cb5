"""NumPy's files: .npy (a header, then one array) and .npz (a zip of them).

Several arrays one after another are a file of Equinox's leaves (.eqx): their keys are numbers,
in the order of the tree. A line of text may come first, for the hyperparameters.
"""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from explorer.errors import FormatError, printable
from explorer.formats.ndarrays import numpy_dtype, view
from explorer.formats.numpy_files.header import TEXT, NpyHeader, parse
from explorer.formats.numpy_files.members import Member, content, head, members
from explorer.inventory.listing import Listing
from explorer.paths import Key, path_of
from explorer.storage.local import LOCAL
from explorer.storage.store import Blob, Store
from explorer.storage.window import Bytes, indexed
from explorer.tree.collections import collection_of

if TYPE_CHECKING:
    import numpy as np

__all__ = ["read", "values"]

_ENDING, _LEAVES, _WIDE = ".npy", ".eqx", "float64"
_MAGIC = b"\x93NUMPY"
_MAX_LINE = 1 << 20  # of hyperparameters
_MAX_HEADERS = 1_000_000  # bytes of all of a small .npz, which are deflated


class _Array(NamedTuple):
    """One array of a file, at `start`; `member` is None outside of a .npz file."""

    key: str
    header: NpyHeader
    member: Member | None
    start: int = 0


def read(path: str, store: Store = LOCAL) -> Listing:
    """Return what the headers of a .npy or .npz file list; no array is read.

    A .npy file's one key is its name without the ending; the keys of a .npz are its
    members' names without ".npy", those of Equinox's leaves their numbers. Arrays of text are
    left out, and a remark says so.

    Raises:
        FormatError: the file breaks its format, or holds objects or records.
    """
    with store.blob(path) as blob:
        data = indexed(blob)
        is_zip = _is_zip(data)
        arrays, remarks = _arrays(blob, data)
        file_bytes = blob.size()
    voids = sum(array.header.descr[1] == "V" for array in arrays)
    if voids:
        remarks.append(
            f"arrays of two-byte void are bfloat16, which NumPy cannot name: {voids:,}"
        )
    kind = "npz" if is_zip else "npy"
    words = [collection_of(path_of(array.key)) for array in arrays] if is_zip else []
    if not is_zip and _are_leaves(path, arrays):
        kind, words = "equinox leaves", _words_of_leaves(arrays)
    return Listing(
        format=kind,
        keys=[array.key for array in arrays],
        shapes=[array.header.shape for array in arrays],
        dtypes=[array.header.dtype for array in arrays],
        nbytes=[array.header.nbytes for array in arrays],
        collections=words if any(words) else None,
        remarks=remarks,
        file_bytes=file_bytes,
        files=1,
    )


def values(
    path: str, wanted: Callable[[Key], bool], store: Store = LOCAL
) -> "dict[Key, np.ndarray]":
    """Return the wanted arrays: read-only views of the file where it is not compressed.

    Raises:
        FormatError: as `read`; also a compressed array that does not unpack to its bytes.
    """
    with store.blob(path) as blob:
        data = indexed(blob)
        return {
            array.key: _value(blob, data, array)
            for array in _arrays(blob, data)[0]
            if wanted(array.key)
        }


def _value(blob: Blob, data: Bytes, array: _Array) -> "np.ndarray":
    header, member = array.header, array.member
    dtype = numpy_dtype(blob.name, header.dtype)
    if header.descr[0] == ">":
        dtype = dtype.newbyteorder(">")
    held, begin = content(blob, data, member) if member else (data, array.start)
    begin += header.begin
    if not isinstance(held, bytearray):
        return view(held, begin, header.shape, dtype, header.is_fortran)
    array_of = view(held, begin, header.shape, dtype.newbyteorder("="), header.is_fortran)
    return array_of if dtype.isnative else array_of.byteswap(inplace=True)


def _is_zip(data: Bytes) -> bool:
    return data[:2] == b"PK"


def _arrays(blob: Blob, data: Bytes) -> tuple[list[_Array], list[str]]:
    """Return a file's arrays of numbers, and remarks on what else is in it."""
    is_zip = _is_zip(data)
    if is_zip:
        arrays, others = _zipped_arrays(blob, data)
    else:
        arrays, others = _in_a_row(blob.name, data), []
    texts = [array.key for array in arrays if array.header.dtype == TEXT]
    remarks = []
    if texts:
        arrays = [array for array in arrays if array.header.dtype != TEXT]
        remarks.append(f"arrays of text are left out: {_shown(texts)}")
    if not is_zip and _are_leaves(blob.name, arrays):
        remarks.append(
            "the format keeps no names: leaves are numbered in the order of the tree"
        )
    if others:
        remarks.append(f"members that are not arrays are left out: {_shown(others)}")
    return arrays, remarks


def _are_leaves(path: str, arrays: list[_Array]) -> bool:
    return len(arrays) > 1 or path.endswith(_LEAVES)


def _words_of_leaves(arrays: list[_Array]) -> list[str]:
    """Return "state" for numbers of Python, such as a dropout's rate, "" for arrays.

    They have 64 bits; so have parameters where all arrays do.
    """
    is_wide = any(a.header.dtype == _WIDE and a.header.shape for a in arrays)
    return [
        "state" if a.header.dtype == _WIDE and not a.header.shape and not is_wide else ""
        for a in arrays
    ]


def _in_a_row(path: str, data: Bytes) -> list[_Array]:
    """Return the arrays of a file that is not a zip: one, or leaves one after another."""
    at = 0
    if path.endswith(_LEAVES) and data[:6] != _MAGIC:
        at = data.find(b"\n", 0, _MAX_LINE) + 1
        if at == 0 or data[at : at + 6] != _MAGIC:
            raise FormatError(
                path,
                found=f"starts with {data[:8].hex(' ')}",
                expected="arrays, as equinox.tree_serialise_leaves writes them",
            )
    arrays: list[_Array] = []
    while at < len(data) or not arrays:
        begin = at

        def start(count: int, begin: int = begin) -> bytes:
            return data[begin : begin + count]

        what = f"array {len(arrays)}" if arrays else "the array"
        follows = _follows(path, what, start, data, begin)
        header = parse(path, what, start, len(data) - begin, is_last=not follows)
        arrays.append(_Array(str(len(arrays)), header, None, begin))
        at = begin + header.begin + header.nbytes
    if _are_leaves(path, arrays):
        return arrays
    stem = os.path.basename(path).removesuffix(_ENDING)
    return [arrays[0]._replace(key=stem)]


def _follows(
    path: str, what: str, start: Callable[[int], bytes], data: Bytes, begin: int
) -> bool:
    """Return whether another array comes after the one that begins here."""
    size = len(data) - begin
    try:
        header = parse(path, what, start, size, is_last=False)
    except FormatError:  # `parse` says it again, of the last array
        return False
    end = begin + header.begin + header.nbytes
    return data[end : end + 6] == _MAGIC


def _zipped_arrays(blob: Blob, data: Bytes) -> tuple[list[_Array], list[str]]:
    """Return the arrays of a zip, and the names of its other members."""
    path, arrays, others = blob.name, [], []
    described, most = 0, _MAX_HEADERS + 2 * blob.size()
    for member in members(blob, data):
        if not member.name.endswith(_ENDING):
            others.append(member.name)
            continue

        def start(count: int, member: Member = member) -> bytes:
            return head(path, data, member, count)

        header = parse(path, member.what, start, member.size)
        described += header.begin
        if described > most:
            raise FormatError(path, found=f"has headers of more than {most:,} bytes")
        arrays.append(_Array(member.name.removesuffix(_ENDING), header, member))
    if others and not arrays:
        raise FormatError(
            path,
            found=f"holds no .npy array, only {_shown(others)}",
            expected="a .npz file",
        )
    return arrays, others


def _shown(names: list[str]) -> str:
    more = f" and {len(names) - 5:,} more" if len(names) > 5 else ""
    return ", ".join(printable(name, 60) for name in names[:5]) + more
