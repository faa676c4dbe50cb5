"""safetensors: eight bytes of length, a JSON header, then the tensors back to back.

The rules of the format (github.com/huggingface/safetensors, "Format") are all checked:
offsets start at 0, leave no hole, do not overlap and end where the file ends. The usual
header is decoded by a typed decoder; anything unusual is decoded again, slowly, by a
strict reader whose errors name the tensor.
"""

import json
import os
from collections import Counter
from collections.abc import Callable
from operator import attrgetter, sub
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from explorer import dtypes
from explorer.errors import FormatError, printable
from explorer.paths import Key
from explorer.sources.listing import Listing
from explorer.sources.opening import open_regular

if TYPE_CHECKING:
    import numpy as np

__all__ = ["MAX_HEADER", "read", "values"]

MAX_HEADER = 100_000_000  # the limit that the reference implementation sets
_MAX_DIGITS = 100


_Natural = Annotated[int, msgspec.Meta(ge=0)]


class _Entry(msgspec.Struct, gc=False):
    # defaults, so that "__metadata__" passes as an entry and is told apart afterwards
    dtype: str = ""
    shape: tuple[_Natural, ...] = ()
    data_offsets: tuple[_Natural, _Natural] = (0, 0)


class _Metadata(msgspec.Struct):
    text: dict[str, str] = msgspec.field(name="__metadata__", default_factory=dict)


class _Header(msgspec.Struct):
    entries: dict[str, _Entry]
    metadata: dict[str, str]
    data_start: int
    file_bytes: int


_decode_entries = msgspec.json.Decoder(dict[str, _Entry]).decode
_decode_metadata = msgspec.json.Decoder(_Metadata).decode


def read(path: str) -> Listing:
    """Return what the header of a safetensors file lists; no tensor byte is read.

    Raises:
        FormatError: the header or the offsets break a rule of the format.
    """
    header = _read_header(path)
    entries = header.entries.values()
    shapes = list(map(attrgetter("shape"), entries))
    spelled = list(map(attrgetter("dtype"), entries))
    nbytes = _check_offsets(path, header)
    names = {}
    for dtype, shape, size in set(zip(spelled, shapes, nbytes, strict=True)):
        if not _fits(dtype, shape, size):
            _refuse_entry(path, header)
        names[dtype] = dtypes.find_safetensors(dtype).name  # pyright: ignore
    return Listing(
        format="safetensors",
        keys=list(header.entries),
        shapes=shapes,
        dtypes=list(map(names.__getitem__, spelled)),
        nbytes=nbytes,
        file_bytes=header.file_bytes,
        files=1,
        metadata=header.metadata,
    )


def values(path: str, wanted: Callable[[Key], bool]) -> "dict[Key, np.ndarray]":
    """Return the wanted tensors as arrays that map the file (copy on write).

    Raises:
        FormatError: as `read`; also for six-bit formats, which no array type holds.
    """
    import numpy as np

    read(path)  # every rule is checked before a byte is mapped
    header = _read_header(path)
    data = np.memmap(path, np.uint8, mode="c", offset=0)
    arrays: dict[Key, np.ndarray] = {}
    for name, entry in header.entries.items():
        if wanted(name):
            begin, end = (header.data_start + offset for offset in entry.data_offsets)
            arrays[name] = _as_array(path, name, entry, data[begin:end])
    return arrays


def _as_array(path: str, name: str, entry: _Entry, raw: "np.ndarray") -> "np.ndarray":
    import ml_dtypes
    import numpy as np

    dtype = dtypes.find_safetensors(entry.dtype)
    assert dtype is not None  # `read` has checked it
    if dtype.name.startswith("float6_"):
        raise FormatError(
            path,
            found=f"tensor {printable(name)!r} is {entry.dtype}",
            expected="a format that an array can hold",
            cure="select other tensors",
        )
    numpy_type = np.dtype(getattr(ml_dtypes, dtype.name, dtype.name))
    if dtype.block > 1:  # two four-bit values a byte, the first in the low half
        raw = np.stack([raw & 15, raw >> 4], axis=-1).reshape(-1)
    return raw.view(numpy_type).reshape(entry.shape)


def _read_header(path: str) -> _Header:
    file_bytes = os.path.getsize(path)
    with open_regular(path) as file:
        length = int.from_bytes(file.read(8), "little")
        if file_bytes < 8 or length > file_bytes - 8:
            raise FormatError(
                path,
                found=f"header length {length:,} in a file of {file_bytes:,} bytes",
                expected="a header inside the file",
                cure="the file is truncated or no safetensors file: fetch it again",
            )
        if length > MAX_HEADER:
            raise FormatError(
                path, found=f"header length {length:,}", expected=f"at most {MAX_HEADER:,}"
            )
        raw = file.read(length)
    fast = _decode_fast(raw)
    entries, metadata = fast if fast is not None else _decode_strictly(path, raw)
    return _Header(entries, metadata, 8 + length, file_bytes)


def _decode_fast(raw: bytes) -> tuple[dict[str, _Entry], dict[str, str]] | None:
    """Decode a header that has nothing unusual; None where the strict reader must look.

    A key given twice would vanish in a dict. Without escapes and white space every key is
    followed by `":` and nothing else is, so that a vanished key shows in their number.
    """
    raw = raw.rstrip(b" ")  # the padding that the format allows
    if not raw.startswith(b"{") or any(
        byte in raw for byte in (b"\\", b" ", b"\n", b"\r", b"\t")
    ):
        return None
    try:
        entries = _decode_entries(raw)
        metadata = _decode_metadata(raw).text if "__metadata__" in entries else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    metadata_keys = len(metadata) + 1 if entries.pop("__metadata__", None) else 0
    if raw.count(b'":') != 4 * len(entries) + metadata_keys:
        return None
    return entries, metadata


def _decode_strictly(path: str, raw: bytes) -> tuple[dict[str, _Entry], dict[str, str]]:
    """Decode a header field by field, so that an error can say what is wrong where."""
    header = _strict_object(path, raw)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(
        isinstance(text, str) for text in metadata.values()
    ):
        raise FormatError(path, found="__metadata__ is no map of strings to strings")
    try:
        "".join([*header, *metadata, *metadata.values()]).encode()
    except UnicodeEncodeError:
        raise FormatError(
            path, found="the header is no UTF-8 (it has half a surrogate pair)"
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

    def bounded(digits: str) -> int:
        if len(digits) > _MAX_DIGITS:
            raise FormatError(path, found=f"has a number of {len(digits):,} digits")
        return int(digits)

    try:
        header = json.loads(
            raw.decode(), object_pairs_hook=without_duplicates, parse_int=bounded
        )
    except UnicodeDecodeError as error:
        raise FormatError(
            path, found=f"the header is no UTF-8 ({error.reason} at byte {error.start})"
        ) from None
    except RecursionError:
        raise FormatError(
            path, found="the header nests too deeply", expected="three levels"
        ) from None
    except json.JSONDecodeError as error:
        raise FormatError(
            path, found=f"the header is no JSON ({error.msg} at character {error.pos})"
        ) from None
    if not isinstance(header, dict):
        raise FormatError(path, found="the header is no JSON object")
    return header


def _strict_entry(path: str, name: str, entry: object) -> _Entry:
    def refuse(found: str, expected: str) -> FormatError:
        return FormatError(
            path, found=f"tensor {printable(name)!r} {found}", expected=expected
        )

    if not isinstance(entry, dict):
        raise refuse("is no JSON object", "dtype, shape and data_offsets")
    missing = [field for field in ("dtype", "shape", "data_offsets") if field not in entry]
    if missing:
        raise refuse(f"has no {missing[0]}", "dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str):
        raise refuse(f"has dtype {printable(dtype, 40)}", "a name such as F32")
    for field, numbers in (("shape", shape), ("data_offsets", offsets)):
        if not isinstance(numbers, list) or not all(
            type(number) is int and number >= 0 for number in numbers
        ):
            raise refuse(
                f"has {field} {printable(json.dumps(numbers), 60)}",
                "a list of non-negative integers",
            )
    if len(offsets) != 2:
        raise refuse(f"has {len(offsets)} data_offsets", "two")
    return _Entry(dtype, tuple(shape), (offsets[0], offsets[1]))


def _check_offsets(path: str, header: _Header) -> list[int]:
    """Return each tensor's bytes, having checked that together they fill the file."""
    offsets = map(attrgetter("data_offsets"), header.entries.values())
    begins, ends = zip(*offsets, strict=True) if header.entries else ((), ())
    data_bytes = header.file_bytes - header.data_start
    if (*begins, data_bytes) != (0, *ends):
        _refuse_offsets(path, header, data_bytes)
    return list(map(sub, ends, begins))


def _refuse_offsets(path: str, header: _Header, data_bytes: int) -> None:
    """Raise for the first rule broken; tensors in another order than listed break none."""
    ordered = sorted(header.entries.items(), key=lambda item: item[1].data_offsets)
    reached = 0
    for name, entry in ordered:
        begin, end = entry.data_offsets
        place = f"tensor {printable(name)!r} at bytes {begin:,} to {end:,}"
        if end < begin:
            raise FormatError(path, found=f"{place} ends before it begins")
        if end > data_bytes:
            raise FormatError(
                path,
                found=f"{place} lies beyond the {data_bytes:,} bytes of data",
                cure="the file is truncated: fetch it again",
            )
        if begin != reached:
            fault = "overlaps the tensor before it" if begin < reached else "leaves a hole"
            raise FormatError(
                path, found=f"{place} {fault}", expected=f"begin at {reached:,}"
            )
        reached = end
    if reached != data_bytes:
        raise FormatError(
            path,
            found=f"{data_bytes - reached:,} bytes after the last tensor",
            expected=f"{reached:,} bytes of data",
        )


def _fits(dtype: str, shape: tuple[int, ...], nbytes: int) -> bool:
    known = dtypes.find_safetensors(dtype)
    if known is None:
        return False
    size = _bounded_product(shape)
    return known.nbytes(size) == nbytes and size % known.block == 0


def _bounded_product(shape: tuple[int, ...]) -> int:
    """Return the product of a shape; a million 64-bit sizes must not become one number."""
    product = 0 if 0 in shape else 1
    for size in shape:
        product *= size
        if product >= 1 << 64:
            return 1 << 64
    return product


def _refuse_entry(path: str, header: _Header) -> None:
    """Raise for the first tensor whose format is unknown or whose size is not its bytes."""
    for name, entry in header.entries.items():
        begin, end = entry.data_offsets
        if _fits(entry.dtype, entry.shape, end - begin):
            continue
        tensor = f"tensor {printable(name)!r}"
        dtype = dtypes.find_safetensors(entry.dtype)
        if dtype is None:
            raise FormatError(
                path,
                found=f"{tensor} has dtype {printable(entry.dtype, 40)!r}",
                expected="a dtype of the format, such as F32, BF16 or F8_E4M3",
            )
        shape, size = printable(list(entry.shape), 60), _bounded_product(entry.shape)
        if size % dtype.block:
            raise FormatError(
                path,
                found=f"{tensor} of shape {shape} and dtype {entry.dtype} ends inside a byte",
                expected=f"a multiple of {dtype.block} elements",
            )
        raise FormatError(
            path,
            found=f"{tensor} of shape {shape} and dtype {entry.dtype} has {end - begin:,} bytes",
            expected=f"{dtype.nbytes(size):,}",
        )
