"""The header of one GGUF file: its key-value pairs, and the offset of each tensor.

    "GGUF", version, number of tensors, number of key-value pairs
    each pair:    key, type number, value (a number, a text or an array)
    each tensor:  name, number of dimensions, dimensions, ggml type number, offset
    padding to a multiple of general.alignment, then the tensors one after another

The items of arrays (a vocabulary) are skipped.

References:
    GGUF specification, github.com/ggml-org/ggml, docs/gguf.md (2023).
"""

from math import prod
from typing import NamedTuple

import msgspec

from explorer import dtypes
from explorer.errors import printable
from explorer.formats.gguf.cursor import MAX_RANK, NUMBERS, Cursor, quoted
from explorer.formats.gguf.fork_types import fitting, is_fork_type
from explorer.storage.store import Blob

__all__ = ["GGUFHeader", "Layout", "Scalar", "find_repeated", "read_header"]

_MAX_TEXT = 65_536  # of a longer value, its length is kept
_MAX_DEPTH = 4  # arrays in arrays
_MAX_NESTED = 100_000
_MAX_TENSORS = _MAX_KEYS = 1_000_000

_BOOL, _TEXT, _ARRAY = 7, 8, 9

Scalar = str | int | float | bool


class Layout(NamedTuple):
    """What tensors of one shape and format have in common; `number` is ggml's."""

    shape: tuple[int, ...]
    dtype: dtypes.DType
    number: int
    nbytes: int


class GGUFHeader(msgspec.Struct):
    """One file's header; keys, layouts and offsets are parallel columns.

    Offsets are from the start of the file. The value of an array is a text with its length.
    """

    path: str
    version: int
    order: str
    metadata: dict[str, Scalar]
    keys: list[str]
    layouts: list[Layout]
    offsets: list[int]
    file_bytes: int


def read_header(blob: Blob) -> GGUFHeader:
    """Return the header of one GGUF file, every rule of the format checked.

    Raises:
        TargetError: the file cannot be read.
        FormatError: it breaks a rule of the format.
    """
    cursor = Cursor(blob)
    num_tensors, num_keys = cursor.length(), cursor.length()
    metadata = _read_metadata(cursor, num_keys)
    keys, layouts, offsets = _read_tensors(cursor, num_tensors)
    alignment = _alignment(cursor, metadata)
    start = _pad(cursor.at, alignment)
    header = GGUFHeader(
        path=blob.name,
        version=cursor.version,
        order=cursor.order,
        metadata=metadata,
        keys=keys,
        layouts=layouts,
        offsets=[start + offset for offset in offsets],
        file_bytes=cursor.size,
    )
    _check_places(cursor, header, start, alignment)
    return header


def _read_metadata(cursor: Cursor, count: int) -> dict[str, Scalar]:
    cursor.check_count(count, "keys", cursor.length_bytes + 5, _MAX_KEYS)
    metadata: dict[str, Scalar] = {}
    for index in range(count):
        cursor.inside = f"key {index + 1:,} of {count:,}"
        key = cursor.name()
        if key in metadata:
            raise cursor.refuse(f"key {quoted(key)} is given twice", "each key once")
        cursor.inside = f"the value of {quoted(key)}"
        metadata[key] = _read_value(cursor)
    return metadata


def _read_value(cursor: Cursor) -> Scalar:
    kind = cursor.word()
    if kind == _TEXT:
        length = cursor.length()
        if length <= _MAX_TEXT:
            return cursor.text(length)
        cursor.skip(length)
        return f"string of {length:,} bytes"
    if kind == _ARRAY:
        return _skip_array(cursor, depth=1)
    value = cursor.take(cursor.number(kind))[0]
    if kind != _BOOL:
        return value
    if value > 1:
        raise cursor.refuse(f"{cursor.inside} is a bool of {value}", "0 or 1")
    return value == 1


def _skip_array(cursor: Cursor, depth: int) -> str:
    """Skip an array and return a text with its length."""
    if depth > _MAX_DEPTH:
        raise cursor.refuse(
            f"{cursor.inside} nests arrays too deeply", f"at most {_MAX_DEPTH} levels"
        )
    kind, count = cursor.word(), cursor.length()
    items = f"items in {cursor.inside}"
    if kind == _TEXT:
        cursor.check_count(count, items, cursor.length_bytes)
        cursor.skip_texts(count)
        return f"array of {count:,} strings"
    if kind == _ARRAY:
        left = _MAX_NESTED - cursor.nested
        cursor.check_count(count, items, cursor.length_bytes + 4, left)
        cursor.nested += count
        for _ in range(count):
            _skip_array(cursor, depth + 1)
        return f"array of {count:,} arrays"
    size = cursor.number(kind).size
    cursor.check_count(count, items, size)
    cursor.skip(count * size)
    return f"array of {count:,} {NUMBERS[kind][0]}"


def _read_tensors(cursor: Cursor, count: int) -> tuple[list[str], list[Layout], list[int]]:
    """Return the columns of names, layouts and offsets into the data."""
    cursor.check_count(count, "tensors", cursor.length_bytes + 16, _MAX_TENSORS)
    keys, layouts, offsets = [], [], []
    known: dict[tuple[int, ...], Layout] = {}
    for index in range(count):
        cursor.inside = f"tensor {index + 1:,} of {count:,}"
        key = cursor.name()
        rank = cursor.word()
        if rank > MAX_RANK:
            raise cursor.refuse(
                f"tensor {quoted(key)} has {rank:,} dimensions", f"at most {MAX_RANK}"
            )
        *described, offset = cursor.take(cursor.places[rank])
        layout = known.get(description := tuple(described))
        if layout is None:
            layout = known[description] = _layout(cursor, key, description)
        keys.append(key)
        layouts.append(layout)
        offsets.append(offset)
    if len(set(keys)) < count:
        raise cursor.refuse(
            f"tensor {quoted(find_repeated(keys))} is listed twice", "each name once"
        )
    return keys, layouts, offsets


def find_repeated(keys: list[str]) -> str:
    """Return the first key that is a repetition.

    >>> find_repeated(["a", "b", "a", "b"])
    'a'
    """
    seen: set[str] = set()
    return next(key for key in keys if key in seen or seen.add(key))


def _layout(cursor: Cursor, key: str, description: tuple[int, ...]) -> Layout:
    """Return the layout of dimensions, ggml's first varying fastest, and a type number."""
    shape, number = description[-2::-1], description[-1]
    dtype = dtypes.find_ggml(number)
    tensor = f"tensor {quoted(key)} has"
    if dtype is None:
        raise cursor.refuse(
            f"{tensor} ggml type {number:,}",
            "a type of llama.cpp, ik_llama.cpp or bitnet.cpp, such as 12 (q4_k)",
        )
    if 0 in shape:
        raise cursor.refuse(f"{tensor} shape {list(shape)}", "dimensions of 1 or more")
    size = prod(shape)
    if size >= 1 << 63:
        raise cursor.refuse(f"{tensor} shape {list(shape)}", "fewer than 2^63 elements")
    row = shape[-1] if shape else 1
    if row % dtype.block and not is_fork_type(number):
        raise cursor.refuse(
            f"{tensor} format {dtype.name} and rows of {row:,} elements",
            f"rows of whole blocks of {dtype.block}",
        )
    return Layout(shape, dtype, number, dtype.nbytes(size))


def _alignment(cursor: Cursor, metadata: dict[str, Scalar]) -> int:
    alignment = metadata.get("general.alignment", 32)
    if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
        shown = printable(alignment, 40)
        raise cursor.refuse(f"general.alignment is {shown}", "a power of two")
    return alignment


def _pad(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment


def _by_room(layout: Layout, room: int, alignment: int) -> Layout:
    """Return the layout of a fork's type that fills the bytes a tensor has in the file."""
    found = fitting(layout.number, layout.shape, room, alignment)
    return layout._replace(dtype=found[0], nbytes=found[1]) if found else layout


def _check_places(cursor: Cursor, header: GGUFHeader, start: int, alignment: int) -> None:
    """Refuse tensors that are not one after another, each padded, inside the file.

    The order in the data may differ from that in the header.
    """
    offsets, layouts = header.offsets, header.layouts
    order = sorted(range(len(offsets)), key=offsets.__getitem__)
    end = reached = start
    cut = None
    for place, index in enumerate(order):
        if is_fork_type(layouts[index].number):
            after = order[place + 1 : place + 2]
            room = (offsets[after[0]] if after else cursor.size) - offsets[index]
            layouts[index] = _by_room(layouts[index], room, alignment)
        if offsets[index] != reached:
            at = offsets[index] - start
            fault = "overlaps another" if at < reached - start else "leaves a hole"
            if at % alignment:
                fault = f"is not aligned to {alignment}"
            raise cursor.refuse(
                f"tensor {quoted(header.keys[index])} at byte {at:,} of the data {fault}",
                f"byte {reached - start:,}",
            )
        end = reached + layouts[index].nbytes
        reached = _pad(end, alignment)
        if end > cursor.size and cut is None:
            cut = f"tensor {quoted(header.keys[index])} ends at byte {end:,}"
    if cut is not None:
        raise cursor.refuse(
            f"is cut short at byte {cursor.size:,}, and {cut}", f"{end:,} bytes"
        )
