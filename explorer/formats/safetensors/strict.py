"""The strict decoder of a header: field by field, so that an error names the tensor."""

import json
import re
from collections import Counter
from itertools import accumulate
from math import isinf
from typing import Any

from explorer.errors import FormatError, printable
from explorer.formats.safetensors.entries import Entry

__all__ = ["decode_strictly"]

_MAX_DIGITS = 100
_MAX_DEPTH = 127  # the reference's parser stops there
_NATURALS = 1 << 64


def decode_strictly(path: str, raw: bytes) -> tuple[dict[str, Entry], dict[str, str]]:
    """Decode a header, or raise a FormatError that says what is wrong where."""
    header = _strict_object(path, raw)
    metadata = header.pop("__metadata__", None)
    metadata = {} if metadata is None else metadata
    if not isinstance(metadata, dict) or not all(
        isinstance(text, str) for text in metadata.values()
    ):
        raise FormatError(path, found="__metadata__ is not a map of strings to strings")
    try:
        "".join([*header, *metadata, *metadata.values()]).encode()
    except UnicodeEncodeError:
        raise FormatError(
            path, found="the header is not UTF-8 (it has half a surrogate pair)"
        ) from None
    return {
        name: _strict_entry(path, name, entry) for name, entry in header.items()
    }, metadata


def _strict_object(path: str, raw: bytes) -> dict[str, Any]:
    def without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) < len(pairs):
            [(twice, _)] = Counter(name for name, _ in pairs).most_common(1)
            raise FormatError(path, found=f"key {printable(twice)!r} is given twice")
        return fields

    def bounded(digits: str) -> float:
        if len(digits) > _MAX_DIGITS:
            raise FormatError(path, found=f"has a number of {len(digits):,} digits")
        return -0.0 if digits == "-0" else int(digits)  # no natural number, as in Rust

    def finite(digits: str) -> float:
        if isinf(number := float(digits)):
            raise FormatError(path, found=f"has the number {printable(digits, 40)}")
        return number

    def no_number(word: str) -> float:
        raise FormatError(path, found=f"the header is not JSON (it has {word})")

    try:
        header = json.loads(
            raw.decode(),
            object_pairs_hook=without_duplicates,
            parse_int=bounded,
            parse_float=finite,
            parse_constant=no_number,
        )
        if _depth(raw) > _MAX_DEPTH:
            raise RecursionError
    except UnicodeDecodeError as error:
        raise FormatError(
            path, found=f"the header is not UTF-8 ({error.reason} at byte {error.start})"
        ) from None
    except RecursionError:
        raise FormatError(
            path, found="the header nests too deeply", expected="three levels"
        ) from None
    except json.JSONDecodeError as error:
        raise FormatError(
            path, found=f"the header is not JSON ({error.msg} at character {error.pos})"
        ) from None
    if not isinstance(header, dict):
        raise FormatError(path, found="the header is not a JSON object")
    return header


def _depth(raw: bytes) -> int:
    """Return how deeply the objects and lists of a JSON text are nested."""
    outside = re.sub(rb'"(?:[^"\\\\]|\\\\.)*"', b"", raw)
    steps = ((byte in b"{[") - (byte in b"}]") for byte in outside)
    return max(accumulate(steps), default=0)


def _strict_entry(path: str, name: str, entry: object) -> Entry:
    def refuse(found: str, expected: str) -> FormatError:
        return FormatError(
            path, found=f"tensor {printable(name)!r} {found}", expected=expected
        )

    if not isinstance(entry, dict):
        raise refuse("is not a JSON object", "dtype, shape and data_offsets")
    missing = [field for field in ("dtype", "shape", "data_offsets") if field not in entry]
    if missing:
        raise refuse(f"has no {missing[0]}", "dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str):
        raise refuse(f"has dtype {printable(dtype, 40)}", "a name such as F32")
    for field, numbers in (("shape", shape), ("data_offsets", offsets)):
        if not isinstance(numbers, list) or not all(
            type(number) is int and 0 <= number < _NATURALS for number in numbers
        ):
            raise refuse(
                f"has {field} {printable(json.dumps(numbers), 60)}",
                "a list of non-negative integers below 2^64",
            )
    if len(offsets) != 2:
        raise refuse(f"has {len(offsets)} data_offsets", "two")
    return Entry(dtype, tuple(shape), (offsets[0], offsets[1]))
