"""The distinct tensors of a listing as a tree, for what a single name does not show.

`mean` beside `scale` is a running statistic, `mu` beside `nu` an optimizer's moment, and a
tree that repeats another's shapes under the name `ema` is a copy of it.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

from explorer.dtypes import is_trainable

__all__ = ["NamedArray", "Node", "tree_of"]


Shape = tuple[int, ...]


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
        all_rows: every row of the tree.
    """

    __slots__ = ("__dict__", "all_rows", "children", "name", "parent", "rows")

    def __init__(self, name: str, parent: "Node | None", all_rows: Sequence[NamedArray]):
        self.name = name
        self.parent = parent
        self.all_rows = all_rows
        self.children: dict[str, Node] = {}
        self.rows: list[int] = []

    @property
    def is_leaf(self) -> bool:
        """Whether an array ends here."""
        return bool(self.rows)

    @cached_property
    def shapes(self) -> frozenset[Shape]:
        """The shapes of the arrays that end here."""
        return frozenset(self.all_rows[row].shape for row in self.rows)

    @property
    def holds_arrays(self) -> bool:
        """Whether arrays of floats end here."""
        return any(map(self.is_array, self.rows))

    def is_array(self, row: int) -> bool:
        """Return whether a row is an array of floats of more than one element."""
        found = self.all_rows[row]
        return is_trainable(found.dtype) and found.shape not in ((), (1,))

    def inside(self) -> Iterator[int]:
        """Yield the rows of this node and of all below it."""
        stack: list[Node] = [self]
        while stack:
            node = stack.pop()
            yield from node.rows
            stack.extend(node.children.values())

    def nodes(self) -> Iterator["Node"]:
        """Yield this node and all below it, parents before their children."""
        stack: list[Node] = [self]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(node.children.values())

    @cached_property
    def form(self) -> frozenset[tuple[tuple[str, ...], Shape]]:
        """The names and shapes below this node, of arrays of floats."""
        found = set()
        stack: list[tuple[Node, tuple[str, ...]]] = [(self, ())]
        while stack:
            node, path = stack.pop()
            for row in node.rows:
                if self.is_array(row):
                    found.add((path, self.all_rows[row].shape))
            stack += [(child, (*path, child.name)) for child in node.children.values()]
        return frozenset(found)


def tree_of(rows: Sequence[NamedArray]) -> Node:
    """Return the root of the tree that the paths of rows make.

    >>> rows = [NamedArray(("bn", "mean"), (8,)), NamedArray(("bn", "scale"), (8,))]
    >>> tree_of(rows).children["bn"].children["scale"].rows
    [1]
    """
    root = Node("", None, rows)
    for index, row in enumerate(rows):
        node = root
        for name in row.path:
            below = node.children.get(name)
            if below is None:
                below = node.children[name] = Node(name, node, rows)
            node = below
        node.rows.append(index)
    return root
