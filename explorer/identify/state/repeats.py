"""Arrays that a tree holds twice, as an optimizer's moments repeat its parameters."""

from collections.abc import Iterable

from explorer.identify.state.tree import Node

__all__ = ["Repeats"]

_MOST = 64  # places compared for the arrays of one node: bounds the time


class Repeats:
    """Where in a tree the arrays of a node are found again, by their names and shapes.

    >>> from explorer.identify.state.tree import NamedArray, tree_of
    >>> paths = ["net/dense/kernel", "opt/mu/dense/kernel"]
    >>> root = tree_of([NamedArray(tuple(path.split("/")), (4, 3)) for path in paths])
    >>> state = root.children["opt"]
    >>> Repeats(root.nodes()).has(state.children["mu"], state)
    True
    """

    def __init__(self, nodes: Iterable[Node]):
        self._by_digest: dict[int, list[Node]] = {}
        self._by_child: dict[str, list[Node]] = {}
        for node in nodes:
            if node.arrays:
                self._by_digest.setdefault(node.digest, []).append(node)
            for child in node.holding():
                self._by_child.setdefault(child.name, []).append(node)

    def has(self, child: Node, node: Node) -> bool:
        """Return whether something outside a node holds what a child of it holds.

        An optimizer of some parameters has only theirs: then they are a part of what is
        outside, if modules and not single arrays.
        """
        modules = [inner for inner in child.holding() if inner.children]
        if not child.children or not child.arrays:
            return False
        others = self._by_digest[child.digest][:_MOST]
        if modules and len(modules) == len(list(child.holding())):
            rarest = min((self._by_child[inner.name] for inner in modules), key=len)
            others = [*others, *rarest[:_MOST]]
        return any(
            other.name != child.name
            and _are_separate(other, node)
            and child.is_within(other)
            for other in others
        )


def _are_separate(a: Node, b: Node) -> bool:
    return not _is_inside(a, b) and not _is_inside(b, a)


def _is_inside(node: Node | None, around: Node) -> bool:
    while node is not None and node is not around:
        node = node.parent
    return node is around
