"""The arrays of a file or folder as a nested dict, by their paths."""

from typing import TYPE_CHECKING, Any

from explorer.errors import InputError, printable
from explorer.formats.files import load_path
from explorer.inventory.selection import check_glob, nothing_matches
from explorer.paths import Key, matches, name_of, path_of

if TYPE_CHECKING:
    import numpy as np

__all__ = ["load_tree"]


def load_tree(path: str, select: str | None = None) -> dict[str, Any]:
    """Return the selected arrays; see `explorer.load`.

    Raises:
        InputError: nothing is selected, or a tensor's path runs through another tensor.
    """

    if select is not None:
        check_glob(select)
    seen: list[Key] = []

    def wanted(key: Key) -> bool:
        seen.append(key)
        return select is None or matches(key, select)

    arrays = load_path(path, wanted)
    if not arrays and select is not None:
        raise nothing_matches(path, select, map(name_of, seen))
    return _nest(path, arrays)


def _nest(place: str, arrays: "dict[Key, np.ndarray]") -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, array in arrays.items():
        *parents, last = path_of(key)
        node = tree
        for name in parents:
            node = node.setdefault(name, {})
            if not isinstance(node, dict):
                break
        if not isinstance(node, dict) or last in node:
            raise InputError(
                place,
                found=f"{printable(key)} runs through another tensor's path",
                cure="load one of them with select=",
            )
        node[last] = array
    return tree
