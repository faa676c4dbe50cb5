"""Multi-token-prediction layers: trained with the model, left out when it runs.

DeepSeek-V3's checkpoint stores a 62nd layer that predicts a second token ahead
(arXiv:2412.19437, section 2.2). The published 671B leave it out, so it is a collection
of its own.
"""

from collections.abc import Iterable

from explorer.paths import Key, name_of

__all__ = ["COLLECTION", "RULE", "mark", "suspects"]

COLLECTION = "mtp"
RULE = "multi-token-prediction layers"

# names that only such a layer has: its input projection and the norms before it
_MARKERS = ("eh_proj", "enorm", "hnorm")
_ROOTS = ("mtp", "mtp_block", "mtp_layers", "nextn_predict_layers")
_BYTES = tuple(name.encode() for name in (*_MARKERS, *_ROOTS))


def suspects(templates: Iterable[bytes]) -> bool:
    """Return whether any name pattern looks like a multi-token-prediction layer's."""
    return any(word in template for template in templates for word in _BYTES)


def mark(keys: list[Key], collections: list[str] | None) -> list[str]:
    """Return the collections with those of multi-token-prediction layers set to "mtp".

    >>> mark(["layers.4.eh_proj.weight", "layers.4.mlp.up.weight", "layers.3.up"], None)
    ['mtp', 'mtp', '']
    """
    names = list(map(name_of, keys))
    layers = tuple({prefix for name in names if (prefix := _layer_of(name))})
    return [
        COLLECTION if name.startswith(layers) else collection
        for name, collection in zip(names, collections or [""] * len(names), strict=True)
    ]


def _layer_of(name: str) -> str:
    """Return the part of a name up to its multi-token-prediction layer, or ""."""
    path = name.split("/")
    for depth, part in enumerate(path):
        if part in _MARKERS:
            # blk.61.nextn.eh_proj: the layer is the number before
            numbers = [i for i in range(depth) if path[i].isdigit()]
            return "/".join(path[: numbers[-1] + 1]) + "/" if numbers else ""
        if part in _ROOTS:
            return "/".join(path[: depth + 1]) + "/"
    return ""
