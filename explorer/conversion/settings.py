"""How a target is to be written."""

import difflib
import os
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from explorer.errors import InputError, printable

__all__ = ["FORMATS", "NAMES", "SaveSettings", "format_of"]

FORMATS = ("safetensors", "gguf", "npz", "msgpack", "orbax")
NAMES = ("hf", "gguf", "flax", "source")
_SUFFIXES = {f".{name}": name for name in FORMATS}


class SaveSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a target is to be written.

    Attributes:
        format: one of FORMATS; None for what the suffix says, or a folder of safetensors.
        like: a checkpoint whose config and tokenizer are taken; empty for none.
        config: the content of a config.json; None for that of `like` or of the target.
        names: of NAMES; None for those of the format's own users.
        dtype: of the parameters, of float formats alone; None for those of the target.
        shard_bytes: of a folder's files; None for 5 GB.
        select: a glob over paths; None for all.
        done: called with the number of bytes that were written.
        total: called once with the number of bytes there will be.
        record: what was done, for the file's own metadata.
    """

    format: str | None = None
    like: str = ""
    config: Mapping[str, Any] | None = None
    names: str | None = None
    dtype: str | None = None
    shard_bytes: int | None = None
    select: str | None = None
    done: Callable[[int], object] | None = None
    total: Callable[[int], object] | None = None
    record: str = ""


def format_of(path: str, word: str | None) -> tuple[str, bool]:
    """Return the format of a new file or folder, and whether it is a folder.

    Args:
        path: to write.
        word: the format by its name; None for what the suffix says.

    Raises:
        InputError: no such format, or a suffix of none; the error suggests the nearest.

    >>> format_of("model.gguf", None), format_of("model", None), format_of("model", "orbax")
    (('gguf', False), ('safetensors', True), ('orbax', True))
    """
    suffix = os.path.splitext(os.path.basename(path.rstrip("/")))[1].lower()
    by_suffix = _SUFFIXES.get(suffix)
    if word is not None and word not in FORMATS:
        raise _unknown("format", f"no format is called {printable(word, 40)!r}", word)
    if word is None and by_suffix is None and _is_suffix(suffix):
        raise _unknown(path, f"no format ends in {printable(suffix, 40)}", suffix[1:])
    found = word or by_suffix or "safetensors"
    is_folder = found == "orbax" or (found == "safetensors" and by_suffix is None)
    return found, is_folder


def _is_suffix(suffix: str) -> bool:
    """Return whether it is one of a file, and not the rest of a name such as llama-3.1-8b."""
    return suffix[1:].isalpha() and len(suffix) > 1


def _unknown(place: str, found: str, word: str) -> InputError:
    near = difflib.get_close_matches(word, FORMATS, 1, 0.4)
    return InputError(
        place,
        found=found,
        expected=f"{', '.join(FORMATS)}, or a folder of safetensors",
        cure=f"did you mean {near[0]}?" if near else "",
    )
