"""The header in the one spelling that writers write, read as columns of text.

A file of 10^5 tensors has some hundred kinds. Here its JSON is checked and cut as a whole,
a layout is interpreted once for all tensors that have it, and no record of a single tensor
is made. Any other spelling, and any rule broken, is left to the decoders of records.
"""

import re
from functools import lru_cache
from itertools import accumulate
from math import prod

import msgspec

from explorer import dtypes
from explorer.formats.bounds import shape_fault
from explorer.formats.safetensors.text import split_metadata
from explorer.inventory.listing import Listing, Numbered, firsts_of, number
from explorer.paths import templates_of_text

__all__ = ["read_columns"]

# a header is {"a":{"dtype":"F32","shape":[4,4],"data_offsets":[0,64]},"b":{...}}
_layout_of = re.compile(rb'"dtype":"(\w+)","shape":\[([0-9,]{0,200})').fullmatch
_OFFSETS = b',"data_offsets":['


class _Object(msgspec.Struct, gc=False):
    """An object of whatever fields: only the names of a header are decoded."""


_decode_names = msgspec.json.Decoder(dict[str, _Object]).decode


def read_columns(raw: bytes, data_bytes: int) -> Listing | None:
    """Return what a header lists; None where a decoder of records must look.

    Args:
        raw: the JSON of the header.
        data_bytes: of the file, after the header.
    """
    text = raw.rstrip(b" ")  # the padding that the format allows
    if b"\\" in text:
        return None
    try:
        split = split_metadata(text)
        if split is None:
            return None
        keys = list(_decode_names(split[0]))
        # in valid JSON a brace opens and a bracket closes in places of their own
        names, layouts, offsets = _cut(split[0].replace(b"{", b"]").split(b"]"))
        rows = number(_templates(keys, names), layouts)
        of_rows = [_read_layout(layouts[first]) for first in firsts_of(rows)]
        shapes, formats, sizes = map(list, zip(*of_rows, strict=True))
        _check_offsets(offsets, sizes, rows, data_bytes)
    except (ValueError, msgspec.DecodeError, RecursionError):
        return None
    return Listing(
        format="safetensors",
        keys=list(keys),
        shapes=Numbered(shapes, rows),
        dtypes=Numbered(formats, rows),
        nbytes=Numbered(sizes, rows),
        rows=rows,
        file_bytes=8 + len(raw) + data_bytes,
        files=1,
        metadata=split[1],
    )


def _require(usual: bool) -> None:
    if not usual:
        raise ValueError


def _cut(pieces: list[bytes]) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """Return names, layouts and offsets, cut where a brace opens or a bracket closes."""
    _require(len(pieces) % 3 == 2 and len(pieces) > 2 and pieces[-1] == b"}}")
    return pieces[1:-1:3], pieces[2::3], pieces[3::3]


def _templates(keys: list[str], pieces: list[bytes]) -> list[bytes]:
    """Return the template of each key; a key given twice is in the pieces alone."""
    _require(len(keys) == len(pieces) and "__metadata__" not in keys)
    text = '":\n},"'.join(keys).encode()
    _require(b"\n".join(pieces) == b'"%b":' % text)
    return templates_of_text(text)


@lru_cache(maxsize=1024)  # most rows have the layout of others
def _read_layout(text: bytes) -> tuple[tuple[int, ...], str, int]:
    """Return the shape, the dtype and the bytes of a tensor."""
    match = _layout_of(text)
    dtype = dtypes.find_safetensors(match[1].decode()) if match else None
    if match is None or dtype is None:
        raise ValueError
    shape = tuple(map(int, match[2].split(b","))) if match[2] else ()
    _require(not shape_fault(shape, dtype.nbytes(1)))
    size = prod(shape)
    _require(size % dtype.block == 0)
    return shape, dtype.name, dtype.nbytes(size)


def _check_offsets(
    pieces: list[bytes], sizes: list[int], rows: list[int], data_bytes: int
) -> None:
    """Check that each tensor has two offsets, and begins where the one before it ends."""
    text = b";".join(pieces).replace(_OFFSETS, b"")
    _require(text.translate(None, b"0123456789") == b",;" * (len(pieces) - 1) + b",")
    ends = list(accumulate(map(sizes.__getitem__, rows)))
    _require(ends[-1] == data_bytes)
    expected = [0] * (2 * len(ends))
    expected[1::2], expected[2::2] = ends, ends[:-1]
    _require(text.replace(b";", b",") == msgspec.json.encode(expected)[1:-1])
