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


def mark(
    keys: list[Key], collections: list[str] | None, *, are_rest: bool = False
) -> list[str]:
    """Return the collections with those of multi-token-prediction layers set to "mtp".

    Such a layer comes after those of the model: where there is none before it, it is one,
    unless the keys `are_rest`, what the layers of the model leave.

    >>> mark(["layers.4.eh_proj.weight", "layers.4.mlp.up.weight", "layers.3.up"], None)
    ['mtp', 'mtp', '']
    >>> mark(["blk.0.nextn.eh_proj.weight", "blk.0.ffn_up.weight"], None)
    ['', '']
    """
    names = list(map(name_of, keys))
    found = {prefix for name in names if (prefix := _layer_of(name))}
    layers = tuple(
        prefix for prefix in found if are_rest or _follows_others(prefix, names, found)
    )
    return [
        COLLECTION if name.startswith(layers) else collection
        for name, collection in zip(names, collections or [""] * len(names), strict=True)
    ]


def _follows_others(layer: str, names: list[str], extra: set[str]) -> bool:
    """Return whether a numbered layer has one of the model's before it."""
    stem, _, last = layer.rstrip("/").rpartition("/")
    if not last.isdigit():
        return True
    stem = f"{stem}/" if stem else ""
    return any(
        name.startswith(stem)
        and (number := name[len(stem) :].partition("/")[0]).isdigit()
        and int(number) < int(last)
        and f"{stem}{number}/" not in extra
        for name in names
    )


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
