"""GGUF files written, version 3: key-value pairs and tensor infos, then each tensor in its turn.

References:
    GGUF specification, github.com/ggml-org/ggml, docs/gguf.md (2023).
"""

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import BinaryIO

from explorer import dtypes
from explorer.errors import InputError, printable
from explorer.formats.gguf.cursor import MAX_RANK, NUMBERS
from explorer.formats.gguf.key_values import ARRAY, STRING, GgufValue
from explorer.formats.writing import OutgoingTensor, write_parts

__all__ = ["write"]

_VERSION = 3
_ALIGNMENT = 32
_TYPES = {name: number for number, (name, _) in NUMBERS.items()} | {STRING: 8, ARRAY: 9}
_LETTERS = dict(NUMBERS.values())


def write(
    out: BinaryIO,
    place: str,
    tensors: Sequence[OutgoingTensor],
    metadata: Mapping[str, GgufValue],
    done: Callable[[int], object] | None = None,
) -> None:
    """Write a file.

    Args:
        out: the file.
        place: what errors call it.
        tensors: in the order of the file.
        metadata: the key-value pairs, in order.
        done: called with the bytes of each part that was written.

    Raises:
        InputError: a dtype, a name or a value that the format cannot hold.
        OSError: the file cannot be written.

    >>> import io, numpy as np
    >>> file, zeros = io.BytesIO(), np.zeros(3, "float32")
    >>> pairs = {"general.architecture": GgufValue("string", "llama")}
    >>> write(file, "a.gguf", [OutgoingTensor("b", "float32", (3,), lambda: iter([zeros]))], pairs)
    >>> file.getvalue()[:8], len(file.getvalue())
    (b'GGUF\\x03\\x00\\x00\\x00', 160)
    """
    pairs = {k: v for k, v in metadata.items() if k != "general.alignment"}
    head = [
        b"GGUF" + struct.pack("<IQQ", _VERSION, len(tensors), len(pairs)),
        *(_text(key) + _value(place, key, value) for key, value in pairs.items()),
        *_infos(place, tensors),
    ]
    _write_padded(out, head)
    for each in tensors:
        write_parts(out, place, each, done)
        out.write(bytes(-each.nbytes % _ALIGNMENT))


def _write_padded(out: BinaryIO, pieces: Iterable[bytes]) -> None:
    raw = b"".join(pieces)
    out.write(raw + bytes(-len(raw) % _ALIGNMENT))


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _value(place: str, key: str, value: GgufValue) -> bytes:
    try:
        return struct.pack("<I", _TYPES[value.kind]) + _content(value)
    except (struct.error, KeyError, TypeError, OverflowError, AttributeError) as error:
        raise InputError(
            place,
            found=f"{printable(key, 80)} is no {value.kind} ({error})",
            expected="a value of its type",
        ) from None


def _content(value: GgufValue) -> bytes:
    if value.kind == STRING:
        return _text(value.value)
    if value.kind != ARRAY:
        return struct.pack(f"<{_LETTERS[value.kind]}", value.value)
    items = value.value
    head = struct.pack("<IQ", _TYPES[value.items], len(items))
    if value.items == STRING:
        return head + b"".join(map(_text, items))
    if value.items == ARRAY:
        return head + b"".join(map(_content, items))
    return head + struct.pack(f"<{len(items)}{_LETTERS[value.items]}", *items)


def _infos(place: str, tensors: Sequence[OutgoingTensor]) -> Iterable[bytes]:
    offset = 0
    names = set()
    for each in tensors:
        number = dtypes.ggml_number(each.dtype)
        fault = ""
        if number is None:
            fault = f"GGUF has no {each.dtype}"
        elif len(each.shape) > MAX_RANK or 0 in each.shape:
            fault = f"GGUF has no tensors of shape {list(each.shape)}"
        elif (each.shape[-1] if each.shape else 1) % dtypes.find(each.dtype).block:
            fault = f"rows of {each.shape[-1]:,} are not whole blocks of {each.dtype}"
        elif each.name in names:
            fault = "the name is given twice"
        if fault or number is None:
            raise InputError(
                place,
                found=f"{fault} ({printable(each.name, 80)})",
                expected="a type, a shape and a name that the format can hold",
            )
        names.add(each.name)
        shape = each.shape[::-1]
        places = struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, number, offset)
        yield _text(each.name) + places
        offset += each.nbytes + -each.nbytes % _ALIGNMENT
