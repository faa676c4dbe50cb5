"""The catalogue's records and the lookup of a model by name."""

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
    "CatalogEntry",
    "UndisclosedModel",
    "entries",
    "find",
    "nearest",
    "undisclosed",
]

# which parameters a publisher may count as "active"; the keys of CatalogEntry.active
CONVENTIONS = (
    "with_embedding_and_head",
    "without_input_embedding",
    "without_embedding_and_head",
)
_HERE = Path(__file__).parent
_MAX_BYTES = 10_000_000
_NUMBERS = re.compile("[0-9]+")
_LONGEST_NAME = 100  # longer than any mistyped name; the comparison is quadratic


class CatalogEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One published architecture. Its config is shared between callers: copy before changing.

    `parameters` counts every trainable scalar once, tied ones included. `active` counts
    those that one token uses in a mixture of experts, by convention; None where a tied head
    makes the convention meaningless. `tensors` is the number in the published file, if known,
    and `beside` how many of them are not tensors of a checkpoint of the architecture, by kind:
    buffers, scales, second_names, extra_layers. `file_bytes` are those of its tensors where
    weights are published quantised, in `file_format`. `advertised` is the publisher's figure.
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
    beside: dict[str, int] = {}
    file_bytes: int | None = None
    file_format: str = ""


class UndisclosedModel(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """A model whose publisher discloses no counts; at most a third party's estimate."""

    names: tuple[str, ...]
    publisher: str
    estimate: str
    source: str


@cache
def entries() -> tuple[CatalogEntry, ...]:
    """Return every catalogued architecture, by publisher."""
    read = msgspec.json.Decoder(tuple[CatalogEntry, ...]).decode
    folder = str(_HERE / "data")
    files = [os.path.join(folder, name) for name in LOCAL.names(folder)]
    return tuple(entry for file in files for entry in read(read_whole(file, _MAX_BYTES)))


@cache
def undisclosed() -> tuple[UndisclosedModel, ...]:
    """Return the well-known models whose parameters are not public."""
    data = read_whole(str(_HERE / "undisclosed.json"), _MAX_BYTES)
    return msgspec.json.decode(data, type=tuple[UndisclosedModel, ...])


def find(name: str) -> CatalogEntry | UndisclosedModel | None:
    """Return the model of that name; None if it is not catalogued.

    Args:
        name: a short name, a Hugging Face id or the last part of one, in any case.

    >>> find("Llama-2-70b-hf").parameters
    68976648192
    """
    return _by_name().get(name.lower())


def nearest(name: str) -> str | None:
    """Return the catalogued name closest to a mistyped one, if any is close.

    >>> nearest("lama-2-70b"), nearest("./model.safetensors")
    ('llama-2-70b', None)
    """
    if len(name) > _LONGEST_NAME:
        return None
    typed = name.lower().replace("_", "-").replace(" ", "-")
    # a different number means a different model, not a typing error
    candidates = [
        name for name in _by_name() if _NUMBERS.findall(name) == _NUMBERS.findall(typed)
    ]
    close = difflib.get_close_matches(typed, candidates, n=1, cutoff=0.75)
    return _by_name()[close[0]].names[0] if close else None


@cache
def _by_name() -> dict[str, CatalogEntry | UndisclosedModel]:
    found: dict[str, CatalogEntry | UndisclosedModel] = {}
    for entry in entries():
        for name in (*entry.names, entry.id, entry.id.rpartition("/")[2]):
            found[name.lower()] = entry
    for model in undisclosed():
        found |= dict.fromkeys(model.names, model)
    return found
