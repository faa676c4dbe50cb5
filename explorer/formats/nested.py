"""The arrays of a file or folder as a nested dict, by their paths."""

from typing import Any

from explorer.formats.files import load_path
from explorer.inventory.selection import check_glob, nothing_matches
from explorer.paths import Key, matches, name_of
from explorer.tree.nest import nest

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
    return nest(arrays, path, "load one of them with select=")
