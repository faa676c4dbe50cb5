"""What is announced of quantization: by config.json, by a file itself, and what holds it."""

import json
from collections.abc import Iterator, Mapping, Sequence

from explorer.dtypes import find
from explorer.identify.packing.one_layer import TORCH
from explorer.paths import Key, name_of

__all__ = ["config_in", "sentences"]


def config_in(metadata: Mapping[str, str]) -> object:
    """Return the quantization config that a file carries itself: nunchaku's, ComfyUI's.

    >>> config_in({"quantization_config": '{"method": "svdquant"}'})
    {'method': 'svdquant'}
    """
    for name in ("quantization_config", "_quantization_metadata"):
        try:
            return json.loads(metadata[name])
        except (KeyError, ValueError, TypeError, RecursionError):
            continue
    return None


def sentences(
    unread: Sequence[Key], method: str, dtypes: set[str], read: bool
) -> Iterator[str]:
    """Yield what a reader of the parameter figure must know of quantization.

    Args:
        unread: keys of packed weights that are not understood.
        method: the scheme that config.json announces, or "".
        dtypes: what the tensors are stored in.
        read: whether any packed weights are understood.

    >>> next(sentences(["up.trellis"], "exl3", {"int16"}, False))
    'config.json announces exl3: up/trellis is packed in an unknown way and not counted'
    """
    announced = f"config.json announces {method}" if method else ""
    if unread:
        others = len(unread) - 1
        are = f"and {others:,} more are" if others else "is"
        yield (
            f"{announced}{': ' if announced else ''}{name_of(unread[0])} {are} packed in an "
            "unknown way and not counted"
        )
    elif announced and not read and not any(map(_is_small_float, dtypes)):
        yield f"{announced}, and no tensor is stored so"


def _is_small_float(dtype: str) -> bool:
    found = find(dtype)
    return dtype in TORCH or (found.kind == "float" and found.bits < 16)
