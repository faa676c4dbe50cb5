"""MessagePack (github.com/msgpack/msgpack/blob/master/spec.md), one item at a time.

An item is a head byte, perhaps a length or a number, and perhaps a payload. Only heads
are decoded here; a payload's length is checked against the bytes left before it is used.
"""

import struct
from typing import Literal, NamedTuple

from explorer.errors import FormatError
from explorer.storage.window import Bytes

__all__ = ["Item", "next_item", "text"]

Kind = Literal["uint", "int", "float", "bool", "nil", "str", "bin", "array", "map", "ext"]

_SIZED = ("str", "bin", "ext")


class Item(NamedTuple):
    """One item's head.

    `number` is the value of a number, the bytes of a payload, the items of an array or
    the pairs of a map. `begin` is the offset of the payload, or of the next
    item. An extension's type byte is part of its payload.
    """

    kind: Kind
    number: int | float
    begin: int


def _heads() -> list[tuple[Kind, int, int] | None]:
    """Return for every first byte: the kind, the bytes of its number, and the number."""
    heads: list[tuple[Kind, int, int] | None] = [None] * 256
    for code in range(0x80):
        heads[code] = ("uint", 0, code)
    for code in range(16):
        heads[0x80 + code] = ("map", 0, code)
        heads[0x90 + code] = ("array", 0, code)
    for code in range(32):
        heads[0xA0 + code] = ("str", 0, code)
        heads[0xE0 + code] = ("int", 0, code - 32)
    heads[0xC0] = ("nil", 0, 0)
    heads[0xC2], heads[0xC3] = ("bool", 0, 0), ("bool", 0, 1)
    heads[0xCA], heads[0xCB] = ("float", 4, 0), ("float", 8, 0)
    for power, width in enumerate((1, 2, 4, 8)):
        heads[0xCC + power], heads[0xD0 + power] = ("uint", width, 0), ("int", width, 0)
    for power, width in enumerate((1, 2, 4)):
        heads[0xC4 + power], heads[0xC7 + power] = ("bin", width, 0), ("ext", width, 1)
        heads[0xD9 + power] = ("str", width, 0)
    for power, width in enumerate((2, 4)):
        heads[0xDC + power], heads[0xDE + power] = ("array", width, 0), ("map", width, 0)
    for power in range(5):
        heads[0xD4 + power] = ("ext", 0, 2**power + 1)
    return heads


_HEADS = _heads()


def next_item(path: str, data: Bytes, at: int, end: int) -> Item:
    """Return the item whose head is at byte `at`.

    Args:
        path: the file, for errors.
        data: the bytes of the file.
        at: offset of the head.
        end: end of the bytes that the item must stay inside.

    Raises:
        FormatError: the head or its payload reaches beyond `end`.
    """
    head = _HEADS[data[at]] if at < end else None
    if head is None:
        found = f"byte {data[at]:#x} at {at:,}" if at < end else f"the data ends at {at:,}"
        raise FormatError(path, found=found, expected="a MessagePack item", cure=_CURE)
    kind, width, number = head
    begin = at + 1
    if width:
        begin += width
        raw = data[at + 1 : begin]
        if begin > end:
            raise FormatError(
                path, found=f"the data ends inside the item at {at:,}", cure=_CURE
            )
        if kind == "float":
            return Item(kind, struct.unpack(">f" if width == 4 else ">d", raw)[0], begin)
        number += int.from_bytes(raw, "big", signed=kind == "int")
    if kind in _SIZED or kind == "array" or kind == "map":
        least = 2 * number if kind == "map" else number  # an item is at least one byte
        if least > end - begin:
            unit = "bytes" if kind in _SIZED else "items" if kind == "array" else "pairs"
            raise FormatError(
                path,
                found=f"the {kind} at {at:,} claims {number:,} {unit} "
                f"and {end - begin:,} bytes are left",
                cure=_CURE,
            )
    return Item(kind, number, begin)


_CURE = "the file is truncated or not a Flax msgpack file: fetch or write it again"


def text(path: str, data: Bytes, item: Item) -> str:
    """Return a str item's text.

    Raises:
        FormatError: it is not UTF-8.
    """
    try:
        return data[item.begin : item.begin + int(item.number)].decode()
    except UnicodeDecodeError as error:
        raise FormatError(
            path, found=f"the name at {item.begin:,} is not UTF-8 ({error.reason})"
        ) from None
