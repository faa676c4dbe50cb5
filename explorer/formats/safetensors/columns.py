"""The header in the one spelling that writers write, read as columns of text.

A file of 10^5 tensors has some hundred kinds. Here its JSON is cut block by block, each
distinct name pattern and layout is checked once for all tensors that have it, and no record
of a single tensor is made. Any other spelling, and any rule broken, is left to the decoders
of records.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, count
from math import prod

import msgspec

from explorer import dtypes
from explorer.formats.bounds import shape_fault
from explorer.formats.safetensors.text import split_metadata
from explorer.inventory.listing import Listing, Numbered, compact
from explorer.paths import Key, templates_of_text

__all__ = ["read_columns"]

# a header is {"a":{"dtype":"F32","shape":[4,4],"data_offsets":[0,64]},"b":{...}}
_NATURAL = rb"(?:0|[1-9][0-9]{0,18})"
_layout_of = re.compile(
    rb'\n"dtype":"(\w+)","shape":\[((?:%b(?:,%b)*)?)' % (_NATURAL, _NATURAL)
).fullmatch
_name_of = re.compile(rb'\},"([^"\x00-\x1f]*)":').fullmatch
_OFFSETS = b'],"data_offsets":['
_LONGEST_LAYOUT = 250
# A block and its pieces stay in the cache of a core.
_BLOCK = 1 << 17


class _Rows:
    """The distinct rows met so far: their number, and what their layouts mean."""

    def __init__(self):
        self._numbers = defaultdict(count().__next__)
        self.shapes: list[tuple[int, ...]] = []
        self.dtypes: list[str] = []
        self.sizes: list[int] = []

    def number(self, templates: list[bytes], layouts: list[bytes]) -> list[int]:
        """Return the number of each row; rows met for the first time are checked."""
        numbers = self._numbers
        rows = list(map(numbers.__getitem__, zip(templates, layouts, strict=True)))
        at = 0
        for new in range(len(self.sizes), len(numbers)):
            at = rows.index(new, at)
            name = _name_of(templates[at])
            _require(name is not None and name[1].decode() != "__metadata__")
            shape, dtype, size = _read_layout(layouts[at])
            self.shapes.append(shape)
            self.dtypes.append(dtype)
            self.sizes.append(size)
        return rows


def read_columns(
    raw: bytes, data_bytes: int, promised: Sequence[str] = ()
) -> Listing | None:
    """Return what a header lists; None where a decoder of records must look.

    Args:
        raw: the JSON of the header.
        data_bytes: of the file, after the header.
        promised: distinct names that an index gives for the file, perhaps in its order.
    """
    text = raw.rstrip(b" ")  # the padding that the format allows
    if b"\\" in text or b"\n" in text:
        return None
    split = split_metadata(text)
    if split is None:
        return None
    known, rows, names, end = _Rows(), [], [], 0
    try:
        for block in _blocks(split[0]):
            joined, layouts, offsets = _cut(block)
            of_block = known.number(templates_of_text(joined), layouts)
            end = _check_offsets(offsets, map(known.sizes.__getitem__, of_block), end)
            rows += of_block
            names.append(joined)
        _require(end == data_bytes)
        keys = _keys(b"\n".join(names), promised)
    except ValueError:
        return None
    rows = compact(rows)
    return Listing(
        format="safetensors",
        keys=keys,
        shapes=Numbered(known.shapes, rows),
        dtypes=Numbered(known.dtypes, rows),
        nbytes=Numbered(known.sizes, rows),
        rows=rows,
        file_bytes=8 + len(raw) + data_bytes,
        files=1,
        metadata=split[1],
    )


def _require(usual: bool) -> None:
    if not usual:
        raise ValueError


def _blocks(text: bytes) -> Iterator[bytes]:
    """Yield whole entries, some thousand at once, without the comma between two blocks."""
    _require(text.startswith(b'{"') and text.endswith(b"]}}"))
    begin, last = 1, len(text) - 2
    while begin < last:
        end = text.find(b']},"', begin + _BLOCK) + 1 or last
        yield text[begin:end]
        begin = end + 2


def _cut(block: bytes) -> tuple[bytes, list[bytes], list[bytes]]:
    r"""Return names, a line each as `},"name":`, layouts and offsets."""
    # no text has a line feed: a layout begins with one where there was a brace
    pieces = block.replace(b"{", b"]\n").split(b"]")
    _require(len(pieces) % 3 == 1 and not pieces[-1])
    pieces[0] = b"}," + pieces[0]
    return b"\n".join(pieces[:-1:3]), pieces[1::3], pieces[2::3]


def _keys(names: bytes, promised: Sequence[str]) -> list[Key]:
    """Return the names; they are distinct."""
    if promised and names == b'},"%b":' % '":\n},"'.join(promised).encode():
        return list(promised)
    keys: list[Key] = [*names.decode()[3:-2].split('":\n},"')]
    _require(len(set(keys)) == len(keys))
    return keys


@lru_cache(maxsize=1024)  # most rows have the layout of others
def _read_layout(text: bytes) -> tuple[tuple[int, ...], str, int]:
    """Return the shape, the dtype and the bytes of a tensor."""
    match = _layout_of(text) if len(text) < _LONGEST_LAYOUT else None
    dtype = dtypes.find_safetensors(match[1].decode()) if match else None
    if match is None or dtype is None:
        raise ValueError
    shape = tuple(map(int, match[2].split(b","))) if match[2] else ()
    _require(not shape_fault(shape, dtype.nbytes(1)))
    size = prod(shape)
    _require(size % dtype.block == 0)
    return shape, dtype.name, dtype.nbytes(size)


def _check_offsets(pieces: list[bytes], sizes: Iterator[int], begin: int) -> int:
    """Return where the last tensor ends; each begins where the one before it ends."""
    text = b"]" + b"]".join(pieces)
    numbers = text.translate(None, _OFFSETS.replace(b",", b""))
    # so often, and nothing else is taken away
    _require(text.count(_OFFSETS) == len(pieces))
    _require(len(text) - len(numbers) == (len(_OFFSETS) - 1) * len(pieces))
    ends = list(accumulate(sizes, initial=begin))
    expected = [0] * (2 * len(pieces))
    expected[::2], expected[1::2] = ends[:-1], ends[1:]
    _require(numbers[1:] == msgspec.json.encode(expected)[1:-1])
    return ends[-1]
