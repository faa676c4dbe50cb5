"""The arrays of a file or folder as a nested dict, packed weights decoded."""

import os
from typing import TYPE_CHECKING, Any

from explorer import dtypes
from explorer.formats.composites import find_parts
from explorer.formats.files import list_path, load_path
from explorer.formats.nested import load_tree
from explorer.identify.config import read_config
from explorer.identify.packing.companions import config_in
from explorer.inventory.selection import check_glob, nothing_matches
from explorer.packed.missing import check_companions
from explorer.paths import matches, name_of
from explorer.tree.nest import nest

if TYPE_CHECKING:
    from explorer.inventory.listing import Listing
    from explorer.packed.reading import PackedTensor

__all__ = ["load_dequantised"]

_FORMATS = ("safetensors", "pytorch")  # whose names have companions


def load_dequantised(path: str, select: str | None = None) -> dict[str, Any]:
    """Return the selected arrays, packed weights as float32; see `explorer.load`.

    Raises:
        InputError: nothing is selected, a tensor's path runs through another tensor, or the
            parts of a packed weight are missing or do not fit together.
    """
    if select is not None:
        check_glob(select)
    if find_parts(path) is not None:  # of several models
        return load_tree(path, select)
    listing = list_path(path)
    config = _config(path, listing)
    packed = _packed(listing, config)
    keys = [str(key) for key in listing.keys]
    chosen = {key for key in keys if select is None or matches(key, select)}
    if _may_be_packed(listing):
        decoded = {name for each in packed for name in each.parts.values()}
        check_companions(keys, listing.dtypes, config, path, chosen - decoded)
    if not packed:
        return load_tree(path, select)
    packed = [
        each
        for each in packed
        if keys[each.layer.weight] in chosen
        or (select is not None and matches(each.name, select))
    ]
    parts = {name for each in packed for name in each.parts.values()}
    if not chosen | parts:
        raise nothing_matches(path, select or "", map(name_of, keys))
    arrays = {
        str(key): array
        for key, array in load_path(path, (chosen | parts).__contains__).items()
    }
    pieces = {each.name: each for each in packed}
    found: dict[str, Any] = {key: arrays[key] for key in keys if key in chosen - parts}
    for name, each in pieces.items():
        found[name] = each.pieces(arrays, config, path).whole()
    return nest(found, path, "load one of them with select=")


def _packed(listing: "Listing", config: object) -> "list[PackedTensor]":
    """Return the packed weights of a file; none where nothing could be one."""
    if not _may_be_packed(listing):
        return []
    from explorer.packed.reading import packed_tensors

    keys = [str(key) for key in listing.keys]
    return packed_tensors(keys, listing.shapes, listing.dtypes, config)


def _may_be_packed(listing: "Listing") -> bool:
    """Return whether a file has names of the kind that packed weights have, and small numbers."""
    if not listing.format.startswith(_FORMATS):
        return False
    if not all(isinstance(key, str) for key in listing.keys):
        return False
    kinds = {name: dtypes.find(name) for name in set(listing.dtypes)}
    return any(k.bits <= 8 or k.kind in ("int", "uint") for k in kinds.values())


def _config(path: str, listing: "Listing") -> object:
    if not _may_be_packed(listing):
        return None
    config = read_config(path if os.path.isdir(path) else os.path.dirname(path) or ".")
    return (config.quantization if config else None) or config_in(listing.metadata or {})
