"""Leaves by their paths -> a nested dict."""

from collections.abc import Iterable, Mapping
from typing import Any

from explorer.errors import InputError, printable
from explorer.paths import name_of, path_of

__all__ = ["nest"]


def nest(
    leaves: Mapping[Any, Any] | Iterable[tuple[Any, Any]],
    place: str = "tree",
    cure: str = "",
) -> dict[str, Any]:
    """Return a nested dict of leaves by path.

    Args:
        leaves: by key or path, or as pairs, as `dict` takes them.
        place: what errors call it.
        cure: what to do where paths do not nest.

    Raises:
        InputError: a path runs through another leaf.

    >>> nest({("a", "b"): 1, ("a", "c"): 2})
    {'a': {'b': 1, 'c': 2}}
    >>> nest({("a",): 1, ("a", "b"): 2})
    Traceback (most recent call last):
    explorer.errors.InputError: tree: a/b runs through another tensor's path; expected names that nest
    """
    tree: dict[str, Any] = {}
    inner = {id(tree)}  # a leaf may itself be a dict
    for key, leaf in leaves.items() if isinstance(leaves, Mapping) else leaves:
        path, node = path_of(key), tree
        for name in path[:-1]:
            if name not in node:
                node[name] = {}
                inner.add(id(node[name]))
            node = node[name]
            if id(node) not in inner:
                break
        if id(node) not in inner or path[-1] in node:
            spelt = key if isinstance(key, str) else name_of(key)
            raise InputError(
                place,
                found=f"{printable(spelt)} runs through another tensor's path",
                expected="names that nest",
                cure=cure,
            )
        node[path[-1]] = leaf
    return tree
