"""The names of an inventory as a tree in which every tensor has its own place."""

from collections.abc import Iterator, Sequence
from typing import Any

from explorer.analyses.names import nested
from explorer.inventory.gc_pause import paused_gc
from explorer.paths import Key

__all__ = ["Places"]

Pattern = Sequence[Sequence[str]]


class Places:
    """Which tensors are below names, by the same rules as the rows of the folded tree.

    >>> places = Places(["a.0.w", "a.1.w", "b"])
    >>> places.tensors([["a"], ["0", "1"]]), places.trails()[1]
    ([0, 1], ('a', '1', 'w'))
    """

    def __init__(self, keys: Sequence[Key]):
        # `nested` takes what it nests from here: a leaf of its own for every tensor
        self.leaves = [-1 - index for index in range(len(keys))]
        self._blocks: list[dict[str, Any]] = []
        self._trails: list[tuple[str, ...]] = []
        with paused_gc():
            self._root = nested(keys, self)

    def add(self, tree: dict[str, Any]) -> int:
        """Return a number for a block of names."""
        self._blocks.append(tree)
        return len(self._blocks) - 1

    def tensors(self, pattern: Pattern) -> list[int]:
        """Return the numbers of the tensors below names, in the order of their source."""
        nodes: list[Any] = [self._root]
        for names in pattern:
            nodes = [
                below[name]
                for below in map(self._below, nodes)
                for name in names
                if name in below
            ]
        found: list[int] = []
        for node in nodes:
            found += self._leaves_of(node)
        return sorted(found)

    def trails(self) -> list[tuple[str, ...]]:
        """Return the names that lead to every tensor."""
        if not self._trails:
            self._trails = [()] * len(self.leaves)
            todo: list[tuple[Any, tuple[str, ...]]] = [(self._root, ())]
            while todo:
                node, names = todo.pop()
                if type(node) is int and node < 0:
                    self._trails[-1 - node] = names
                else:
                    todo += [(c, (*names, name)) for name, c in self._below(node).items()]
        return self._trails

    def _below(self, node: Any) -> dict[str, Any]:
        if type(node) is int:
            return {} if node < 0 else self._blocks[node]
        return node

    def _leaves_of(self, node: Any) -> Iterator[int]:
        if type(node) is int and node < 0:
            yield -1 - node
            return
        for below in self._below(node).values():
            yield from self._leaves_of(below)
