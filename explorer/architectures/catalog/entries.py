"""The catalogue's records, and who is meant by a name."""

import difflib
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from explorer.storage.local import LOCAL, read_whole

__all__ = [
    "CONVENTIONS",
    "Entry",
    "Undisclosed",
    "entries",
    "find",
    "nearest",
    "undisclosed",
]

# which parameters a publisher may mean by "active"; the keys of Entry.active
CONVENTIONS = (
    "with_embedding_and_head",
    "without_input_embedding",
    "without_embedding_and_head",
)
_HERE = Path(__file__).parent
_MAX_BYTES = 10_000_000
_NUMBERS = re.compile("[0-9]+")
_LONGEST_NAME = 100  # a typing error is not longer, and the comparison is quadratic


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One published architecture. Its config is shared by all who ask: copy, then change.

    `parameters` counts every trainable scalar once, tied ones too. `active` counts those
    that one token passes through in a mixture of experts, by convention; None stands
    where a tied head leaves the convention without meaning. `tensors` are those of the
    published checkpoint, where that is known. `advertised` is the publisher's own figure.
    """

    id: str
    names: tuple[str, ...]
    config: dict[str, Any]
    advertised: str
    parameters: int
    tensors: int | None
    active: dict[str, int | None] | None
    advertised_active: str = ""
    publisher_convention: str | None = None
    source: str
    note: str = ""


class Undisclosed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model whose publisher gives no counts; at most somebody else's estimate."""

    names: tuple[str, ...]
    publisher: str
    estimate: str
    source: str


@cache
def entries() -> tuple[Entry, ...]:
    """Return every catalogued architecture, by publisher."""
    read = msgspec.json.Decoder(tuple[Entry, ...]).decode
    folder = str(_HERE / "data")
    files = [os.path.join(folder, name) for name in LOCAL.names(folder)]
    return tuple(entry for file in files for entry in read(read_whole(file, _MAX_BYTES)))


@cache
def undisclosed() -> tuple[Undisclosed, ...]:
    """Return the models that everybody asks about and nobody outside can count."""
    data = read_whole(str(_HERE / "undisclosed.json"), _MAX_BYTES)
    return msgspec.json.decode(data, type=tuple[Undisclosed, ...])


def find(name: str) -> Entry | Undisclosed | None:
    """Return the model of a name; None where it is not catalogued.

    Args:
        name: a short name, a Hugging Face id or the last part of one, in any case.

    >>> find("Llama-2-70b-hf").parameters
    68976648192
    """
    return _by_name().get(name.lower())


def nearest(name: str) -> str | None:
    """Return the catalogued name that a mistyped one is closest to, if one is close.

    >>> nearest("lama-2-70b"), nearest("./model.safetensors")
    ('llama-2-70b', None)
    """
    if len(name) > _LONGEST_NAME:
        return None
    typed = name.lower().replace("_", "-").replace(" ", "-")
    # another number is another model, not a slip of the pen
    alike = [
        name for name in _by_name() if _NUMBERS.findall(name) == _NUMBERS.findall(typed)
    ]
    close = difflib.get_close_matches(typed, alike, n=1, cutoff=0.75)
    return _by_name()[close[0]].names[0] if close else None


@cache
def _by_name() -> dict[str, Entry | Undisclosed]:
    found: dict[str, Entry | Undisclosed] = {}
    for entry in entries():
        for name in (*entry.names, entry.id, entry.id.rpartition("/")[2]):
            found[name.lower()] = entry
    for model in undisclosed():
        found |= dict.fromkeys(model.names, model)
    return found
