"""Trees whose containers are shared: what they unfold into is bounded by what they are.

A dict that holds one dict twice, which holds one twice, and so on, is small and unfolds into
2^depth nodes. A tree may be of any size, and may hold its parts in several places, not that.
"""

from collections.abc import Callable
from typing import Any

from explorer.errors import TreeError

__all__ = ["NodeCount"]

_FREE = 250_000  # nodes that any tree may unfold into
_TIMES = 16  # as many more for each node that is its own
_PLAIN = (dict, list, tuple)


class NodeCount:
    """Counts the nodes that a walk meets.

    Args:
        tree: the root.
        children: returns the children of a node by name, or None for a leaf.
    """

    def __init__(self, tree: Any, children: Callable[[Any], Any]):
        self._tree, self._children = tree, children
        self._met, self._most, self._distinct = 0, _FREE, 0

    def add(self, nodes: int) -> None:
        """Count nodes that were met.

        Raises:
            TreeError: they are far more than the tree has.
        """
        self._met += nodes
        if self._met <= self._most:
            return
        if not self._distinct:
            self._distinct = self._count()
            self._most += _TIMES * self._distinct
        if self._met > self._most:
            raise TreeError(
                "the tree",
                found=f"unfolds into more than {self._met - 1:,} nodes, of which "
                f"{self._distinct:,} are its own: containers are shared again and again",
                expected="a tree",
                cure="hold each container in one place",
            )

    def _count(self) -> int:
        """Return the children of all containers, each container once."""
        seen: dict[int, Any] = {}
        stack, count = [self._tree], 1
        while stack and count <= self._met:
            node = stack.pop()
            if id(node) in seen:
                continue
            seen[id(node)] = node  # kept, so that no other object gets its id
            if type(node) in _PLAIN:
                found = list(node.values()) if type(node) is dict else node
            else:
                found = [child for _, child in self._children(node) or ()]
            count += len(found)
            stack += found
        return count
