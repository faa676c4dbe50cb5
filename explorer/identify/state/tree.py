"""The distinct tensors of a listing as a tree, for what a single name does not show.

`mean` beside `scale` is a running statistic, `mu` beside `nu` an optimizer's moment, and a
tree that repeats another's shapes under the name `ema` is a copy of it.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from explorer.dtypes import is_trainable

__all__ = ["NamedArray", "Node", "Shape", "tree_of"]


Shape = tuple[int, ...]
_NUMBERS = ((), (1,))  # shapes of single numbers


class NamedArray(NamedTuple):
    """What equal tensors have in common.

    Attributes:
        path: the names of the first of them, as `split_names` cuts them.
        shape: its shape.
        dtype: its dtype, by explorer's name.
        collection: the source's own word, or "".
        typed: whether that word is a type or a declaration, not the name of an item.
    """

    path: tuple[str, ...]
    shape: Shape
    dtype: str = "float32"
    collection: str = ""
    typed: bool = False


class Node:
    """One name of the tree.

    Attributes:
        name: the name; "" of the root.
        parent: the node around it; None of the root.
        children: the nodes inside, by name.
        rows: the numbers of the rows that end here.
        shapes: the shapes of the arrays that end here.
        arrays: how many arrays of floats, of more than one number, are here and below.
        digest: equal for two nodes that hold arrays of the same names and shapes.
    """

    __slots__ = ("arrays", "children", "digest", "name", "own", "parent", "rows", "shapes")

    def __init__(self, name: str, parent: "Node | None"):
        self.name = name
        self.parent = parent
        self.children: dict[str, Node] = {}
        self.rows: list[int] = []
        self.shapes: set[Shape] = set()
        self.own: set[Shape] = set()  # of those, the shapes of arrays of floats
        self.arrays = self.digest = 0

    @property
    def is_leaf(self) -> bool:
        """Whether an array ends here."""
        return bool(self.rows)

    def inside(self) -> Iterator[int]:
        """Yield the rows of this node and of all below it."""
        for node in self.nodes():
            yield from node.rows

    def nodes(self) -> Iterator["Node"]:
        """Yield this node and all below it, parents before their children."""
        stack: list[Node] = [self]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(node.children.values())

    def holding(self) -> Iterator["Node"]:
        """Yield the children that hold arrays of floats."""
        return (child for child in self.children.values() if child.arrays)

    def is_within(self, other: "Node") -> bool:
        """Return whether the other one has every array of this one, by name and shape."""
        pairs: list[tuple[Node, Node]] = [(self, other)]
        while pairs:
            mine, theirs = pairs.pop()
            if mine.digest == theirs.digest:
                continue
            if not mine.own <= theirs.own:
                return False
            for child in mine.holding():
                if child.name not in theirs.children:
                    return False
                pairs.append((child, theirs.children[child.name]))
        return True


def tree_of(rows: Sequence[NamedArray]) -> Node:
    """Return the root of the tree that the paths of rows make.

    >>> rows = [NamedArray(("bn", "mean"), (8,)), NamedArray(("bn", "scale"), (8,))]
    >>> tree_of(rows).children["bn"].children["scale"].rows
    [1]
    """
    root = Node("", None)
    for index, row in enumerate(rows):
        node = root
        for name in row.path:
            below = node.children.get(name)
            if below is None:
                below = node.children[name] = Node(name, node)
            node = below
        node.rows.append(index)
        node.shapes.add(row.shape)
        if is_trainable(row.dtype) and row.shape not in _NUMBERS:
            node.own.add(row.shape)
    for node in reversed(list(root.nodes())):  # children before their parents
        node.arrays = len(node.own) + sum(child.arrays for child in node.children.values())
        inside = frozenset((child.name, child.digest) for child in node.holding())
        node.digest = hash((inside, frozenset(node.own)))
    return root
