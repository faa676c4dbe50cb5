"""Leaves by their paths -> a nested dict."""

from collections.abc import Mapping
from typing import Any

__all__ = ["nest"]


def nest(leaves: Mapping[tuple[str, ...], Any]) -> dict[str, Any]:
    """Return a nested dict of leaves by path.

    >>> nest({("a", "b"): 1, ("a", "c"): 2})
    {'a': {'b': 1, 'c': 2}}
    """
    tree: dict[str, Any] = {}
    for path, leaf in leaves.items():
        node = tree
        for name in path[:-1]:
            node = node.setdefault(name, {})
        node[path[-1]] = leaf
    return tree
