"""Flax msgpack files written as `flax.serialization.msgpack_serialize` does, tensor by tensor."""

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any, BinaryIO

from explorer import dtypes
from explorer.errors import InputError, printable
from explorer.formats.writing import OutgoingTensor, write_parts
from explorer.tree.nest import nest

__all__ = ["nested", "write"]

_EXT_NDARRAY = 1


def write(
    out: BinaryIO,
    place: str,
    tensors: Sequence[OutgoingTensor],
    done: Callable[[int], object] | None = None,
) -> None:
    """Write a file; `flax.serialization.msgpack_restore` opens it.

    Args:
        out: the file.
        place: what errors call it.
        tensors: nested by the names of their paths.
        done: called with the bytes of each part that was written.

    Raises:
        InputError: a dtype that NumPy does not have, a tensor of 4 GiB or more, or a path that runs
            through another tensor.
        OSError: the file cannot be written.

    >>> import io, numpy as np
    >>> file, zeros = io.BytesIO(), np.zeros(3, "float32")
    >>> write(file, "a", [OutgoingTensor("a/b", "float32", (3,), lambda: iter([zeros]))])
    >>> file.getvalue()[:4]
    b'\\x81\\xa1a\\x81'
    """
    for each in tensors:
        _check(place, each)
    _write_map(out, place, nested(place, tensors), done)


def nested(place: str, tensors: Iterable[OutgoingTensor]) -> dict[str, Any]:
    """Return tensors as a nested dict, by the names of their paths.

    Raises:
        InputError: one's path runs through another tensor.
    """
    named = ((each.name, each) for each in tensors)
    return nest(named, place, "write safetensors, whose names are flat")


def _check(place: str, tensor: OutgoingTensor) -> None:
    found = dtypes.find(tensor.dtype)
    fault = ""
    if found.block > 1 or found.kind in ("key", "text"):
        fault = f"Flax's format has no {tensor.dtype} ({printable(tensor.name, 80)})"
    elif tensor.nbytes >= (1 << 32) - 1024:
        fault = f"{printable(tensor.name, 80)} has {tensor.nbytes:,} bytes"
    if fault:
        raise InputError(
            place,
            found=fault,
            expected="plain number formats, and tensors below 4 GiB",
            cure="write safetensors",
        )


def _write_map(
    out: BinaryIO,
    place: str,
    tree: dict[str, Any],
    done: Callable[[int], object] | None,
) -> None:
    out.write(_count(0x80, 0xDE, len(tree)))
    for name, value in tree.items():
        out.write(_text(name))
        if isinstance(value, dict):
            _write_map(out, place, value, done)
        else:
            _write_array(out, place, value, done)


def _write_array(
    out: BinaryIO,
    place: str,
    tensor: OutgoingTensor,
    done: Callable[[int], object] | None,
) -> None:
    """Write an array: an extension that holds its shape, its dtype and its bytes."""
    head = b"\x93" + _count(0x90, 0xDC, len(tensor.shape))
    head += b"".join(map(_whole, tensor.shape)) + _text(tensor.dtype)
    head += _sized(0xC4, tensor.nbytes)
    out.write(_extension(len(head) + tensor.nbytes) + head)
    write_parts(out, place, tensor, done)


def _count(short: int, long: int, count: int) -> bytes:
    """Return the head of an array or a map."""
    if count < 16:
        return bytes([short | count])
    if count < 1 << 16:
        return struct.pack(">BH", long, count)
    return struct.pack(">BI", long + 1, count)


def _text(text: str) -> bytes:
    raw = text.encode()
    return (bytes([0xA0 | len(raw)]) if len(raw) < 32 else _sized(0xD9, len(raw))) + raw


def _sized(code: int, size: int) -> bytes:
    """Return the head of a payload, with as few bytes of length as hold it."""
    if size < 1 << 8:
        return struct.pack(">BB", code, size)
    if size < 1 << 16:
        return struct.pack(">BH", code + 1, size)
    return struct.pack(">BI", code + 2, size)


def _extension(size: int) -> bytes:
    power = {1: 0, 2: 1, 4: 2, 8: 3, 16: 4}.get(size)
    head = bytes([0xD4 + power]) if power is not None else _sized(0xC7, size)
    return head + bytes([_EXT_NDARRAY])


def _whole(number: int) -> bytes:
    if number < 128:
        return bytes([number])
    for power, code in enumerate((0xCC, 0xCD, 0xCE, 0xCF)):
        if number < 1 << (8 << power):
            return bytes([code]) + number.to_bytes(1 << power, "big")
    raise AssertionError
