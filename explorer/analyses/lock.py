"""A readable lock of a model's structure: one line a tensor, made to be kept in git.

    # explorer lock 1
    float32[30522,384] embeddings/word_embeddings/weight

A name with anything but visible ASCII in it is written as a JSON string.
"""

import json
import re
from typing import Any

from explorer.errors import FormatError, printable, shown
from explorer.inventory.columns import Columns
from explorer.inventory.inventory import Inventory
from explorer.inventory.tensor import Kind, TensorSpec
from explorer.paths import name_of

__all__ = ["LOCK_HEADER", "lock_records", "lock_text", "parse_lock"]

LOCK_HEADER = "# explorer lock 1"
_LINE = re.compile(r"([\w<>]+)\[([0-9,]*)\] (.+)", re.ASCII)
_PLAIN = re.compile(r"[!#-~][!-~]*", re.ASCII)  # visible ASCII, no leading quote


def lock_text(inventory: Inventory) -> str:
    """Return the lock of an inventory: paths, shapes and dtypes, in order."""
    columns = inventory.columns
    formats = [f"{kind.dtype}[{','.join(map(str, kind.shape))}]" for kind in columns.kinds]
    lines = [LOCK_HEADER]
    for key, number in zip(columns.keys, columns.numbers, strict=True):
        name = name_of(key)
        shown = name if _PLAIN.fullmatch(name) else json.dumps(name)
        lines.append(f"{formats[number]} {shown}")
    return "\n".join(lines) + "\n"


def lock_records(inventory: Inventory) -> list[dict[str, Any]]:
    """Return the lock of an inventory for other programs: a record for each line."""
    columns = inventory.columns
    return [
        {
            "path": name_of(key),
            "dtype": columns.kinds[number].dtype,
            "shape": [*columns.kinds[number].shape],
        }
        for key, number in zip(columns.keys, columns.numbers, strict=True)
    ]


def parse_lock(text: str, place: str) -> Inventory:
    """Return the inventory that a lock describes; what it does not say is left empty.

    Raises:
        FormatError: a line that is not a line of a lock.
    """
    first, _, rest = text.partition("\n")
    if first.strip() != LOCK_HEADER:
        raise FormatError(
            place,
            found=f"starts with '{printable(first, 40)}'",
            expected=f"{LOCK_HEADER!r}",
            cure="write it with `explorer lock TARGET`",
        )
    tensors = [
        _parse_line(line.rstrip("\r"), f"{place}:{number}")
        for number, line in enumerate(rest.split("\n"), 2)
        if line.strip() and not line.startswith("#")
    ]
    return Inventory(Columns.of(tensors), target=place, source="lock")


def _parse_line(line: str, place: str) -> TensorSpec:
    match = _LINE.fullmatch(line)
    if match is None:
        raise FormatError(
            place,
            found=shown(line, 80),
            expected="a line such as 'float32[30522,384] embeddings/weight'",
        )
    dtype, sizes, name = match.groups()
    try:
        shape = tuple(map(int, sizes.split(","))) if sizes else ()
        name = json.loads(name) if name.startswith('"') else name
    except ValueError:
        raise FormatError(place, found=shown(line, 80), expected="a lock line") from None
    kind = Kind(
        shape=shape,
        dtype=dtype,
        size=0,
        nbytes=0,
        role="other",
        component="other",
        collection="",
    )
    return TensorSpec(tuple(name.split("/")), kind)
