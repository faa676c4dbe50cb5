"""The header as every writer spells it, decoded by columns: 10^5 tensors at once.

    {"name":{"dtype":"F32","shape":[4,4],"data_offsets":[0,64]},"name":...}

Anything else, an error too, is left to the typed decoder and its messages: None is returned
unless every byte fits this spelling, every tensor its bytes, and the tensors the file.
"""

import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING

from explorer import dtypes
from explorer.formats.safetensors.layout import fits
from explorer.inventory.listing import Listing
from explorer.paths import Key, template_of

if TYPE_CHECKING:
    import numpy as np

__all__ = ["NUMPY_FROM", "decode_compact"]

# Header bytes from which NumPy is loaded for its sake: loading takes about as long as it
# saves on 12 MB. Where a program has loaded it already, small headers gain too.
NUMPY_FROM = 32_000_000
_LOADED_FROM = 100_000
_MAX_DIGITS = 18  # of an offset: fits 64 bits
_NUMBER = r"(?:0|[1-9][0-9]{0,18})"
_SPELLED = re.compile(rf'([A-Z0-9_]+)","shape":\[((?:{_NUMBER}(?:,{_NUMBER})*)?)')


def decode_compact(raw: bytes, data_bytes: int) -> Listing | None:
    """Return the columns of a header's entries; None where the typed decoder must look.

    Args:
        raw: the header without metadata and padding.
        data_bytes: the bytes of the file behind the header.
    """
    if len(raw) < (_LOADED_FROM if "numpy" in sys.modules else NUMPY_FROM):
        return None
    if not raw.isascii() or b"\\" in raw or not raw.startswith(b'{"'):
        return None
    import numpy as np

    text = np.frombuffer(raw, np.uint8)
    quotes = np.flatnonzero(text == ord('"'))
    if text.min() <= ord(" ") or quotes.size % 10:
        return None
    # of a tensor: its name, dtype, the dtype's name, shape, data_offsets, each in two quotes
    at = quotes.reshape(-1, 10).T
    ends = np.append(at[0][1:], len(raw)) - 4  # of the offsets: at the last digit
    if not (
        raw.endswith(b"]}}")
        and _stands(text, at[1], b'":{"dtype":"')
        and _stands(text, at[5], b'","shape":[')
        and _stands(text, at[8] - 2, b'],"data_offsets":[')
        and _stands(text, ends[:-1] + 1, b"]},")
    ):
        return None
    nbytes = _sizes(text, ends, data_bytes)
    if nbytes is None:
        return None
    return _listing(raw, at, nbytes)


def _stands(text: "np.ndarray", starts: "np.ndarray", word: bytes) -> bool:
    """Return whether a word stands at every start."""
    import numpy as np

    found = text.take(starts[:, None] + np.arange(len(word)), mode="clip")
    return bool((found == np.frombuffer(word, np.uint8)).all())


def _sizes(text: "np.ndarray", ends: "np.ndarray", data_bytes: int) -> list[int] | None:
    """Return the bytes of every tensor; None unless each begins where the last one ended."""
    to, comma = _number_before(text, ends, ord(","))
    start, _ = _number_before(text, comma - 1, ord("["))
    chained = (to[:-1] == start[1:]).all() and (start[0], to[-1]) == (0, data_bytes)
    if not chained or (to < start).any() or start.min() < 0:
        return None
    return (to - start).tolist()


def _number_before(
    text: "np.ndarray", last: "np.ndarray", before: int
) -> "tuple[np.ndarray, np.ndarray]":
    """Return the numbers whose last digits are given and where the byte before them is.

    A number that is not spelled so is -1.
    """
    import numpy as np

    value, power, at = np.zeros_like(last), 1, last.copy()
    inside = np.ones(len(last), bool)
    leading = np.zeros(len(last), np.uint8)
    for _ in range(_MAX_DIGITS):
        byte = text.take(at, mode="clip")
        inside &= (byte >= ord("0")) & (byte <= ord("9"))
        if not inside.any():
            break
        value += np.where(inside, (byte - np.uint8(48)).astype(np.int64) * power, 0)
        leading = np.where(inside, byte, leading)
        at -= inside
        power *= 10
    digits = last - at
    wrong = (text.take(at, mode="clip") != before) | (digits == 0)
    wrong |= (leading == ord("0")) & (digits > 1)
    return np.where(wrong, -1, value), at


def _listing(raw: bytes, at: "np.ndarray", nbytes: list[int]) -> Listing | None:
    """Return the listing; None for a name given twice or a tensor that is not its bytes."""
    text, names = raw.decode("ascii"), list(_spans(at[0] + 1, at[1]))
    keys: list[Key] = list(map(text.__getitem__, names))
    if len(set(keys)) < len(keys) or "__metadata__" in keys:
        return None
    templates = map(template_of(text).__getitem__, names)
    spelled = map(text.__getitem__, _spans(at[4] + 1, at[8] - 2))
    numbers: defaultdict[tuple[bytes, str, int], int] = defaultdict(count().__next__)
    rows = list(map(numbers.__getitem__, zip(templates, spelled, nbytes, strict=True)))
    fields = [_read(spelling, size) for _, spelling, size in numbers]
    shapes, formats = [], []
    for field in fields:
        if field is None:
            return None
        shapes.append(field[0])
        formats.append(field[1])
    return Listing(
        format="safetensors",
        keys=keys,
        shapes=list(map(shapes.__getitem__, rows)),
        dtypes=list(map(formats.__getitem__, rows)),
        nbytes=nbytes,
        rows=rows,
    )


def _spans(starts: "np.ndarray", ends: "np.ndarray") -> Iterator[slice]:
    return map(slice, starts.tolist(), ends.tolist())


def _read(spelled: str, nbytes: int) -> tuple[tuple[int, ...], str] | None:
    """Return shape and number format of one spelling; None if they do not agree."""
    match = _SPELLED.fullmatch(spelled)
    dtype = dtypes.find_safetensors(match[1]) if match else None
    if match is None or dtype is None:
        return None
    shape = tuple(map(int, match[2].split(","))) if match[2] else ()
    return (shape, dtype.name) if fits(match[1], shape, nbytes) else None
