"""The key-value pairs of a GGUF file with all that arrays hold, to be written into another one."""

from typing import Any, NamedTuple

from explorer.formats.gguf.cursor import NUMBERS, Cursor
from explorer.storage.local import LOCAL
from explorer.storage.store import Store

__all__ = ["ARRAY", "STRING", "GgufValue", "key_values"]

STRING, ARRAY = "string", "array"
_BOOL, _TEXT, _ARRAY = 7, 8, 9
_KINDS = {number: name for number, (name, _) in NUMBERS.items()} | {
    _TEXT: STRING,
    _ARRAY: ARRAY,
}


class GgufValue(NamedTuple):
    """A value and its type in the file.

    Attributes:
        kind: "uint32", "float32", "bool", "string", "array", ...
        value: a number, a text, or a list; arrays in arrays are GgufValues.
        items: the type of an array's items.

    >>> GgufValue("array", ["a", "b"], "string").value[1]
    'b'
    """

    kind: str
    value: Any
    items: str = ""


def key_values(path: str, store: Store = LOCAL) -> dict[str, GgufValue]:
    """Return the key-value pairs of one file, whose header `read_header` accepted.

    Raises:
        TargetError: the file cannot be read.
        FormatError: its header breaks a rule of the format.
    """
    from explorer.formats.gguf.header import read_header

    with store.blob(path) as blob:
        read_header(blob)  # which checks every rule
        cursor = Cursor(blob)
        cursor.length()
        pairs = {}
        for _ in range(cursor.length()):
            key = cursor.name()
            cursor.inside = "its key-value pairs"
            pairs[key] = _value(cursor, cursor.word())
        return pairs


def _value(cursor: Cursor, kind: int) -> GgufValue:
    if kind != _ARRAY:
        return GgufValue(_KINDS[kind], _scalar(cursor, kind))
    items, count = cursor.word(), cursor.length()
    if items == _ARRAY:
        values: list[Any] = [_value(cursor, _ARRAY) for _ in range(count)]
    elif items == _TEXT:
        values = [cursor.text(cursor.length()) for _ in range(count)]
    else:
        values = cursor.numbers(items, count)
        values = [value == 1 for value in values] if items == _BOOL else values
    return GgufValue(ARRAY, values, _KINDS[items])


def _scalar(cursor: Cursor, kind: int) -> Any:
    if kind == _TEXT:
        return cursor.text(cursor.length())
    value = cursor.take(cursor.number(kind))[0]
    return value == 1 if kind == _BOOL else value
