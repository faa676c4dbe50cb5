"""The tree of names of an inventory, each distinct subtree kept once.

Of 60 equal layers the tree holds one, by number, so that folding and adding up take as many
steps as there are distinct subtrees, not tensors.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from explorer.inventory.columns import Columns
from explorer.inventory.tensor import Kind
from explorer.inventory.totals import Totals

__all__ = ["Leaf", "Shapes", "Tree"]

# the names below a name, or the number of a subtree; of a leaf where nothing is below
Tree = dict[str, Any]  # of Tree | int, which a checker cannot narrow to one of both


class Leaf(NamedTuple):
    """What a tensor of the tree is, whatever its name."""

    kind: Kind
    alias: bool
    sharding: str
    totals: Totals


class Shapes:
    """Numbers for distinct subtrees: leaves are below zero, others count from zero.

    Equal numbers mean equal subtrees. Equal signatures mean equal up to dtypes:
    those fold into one row, as in mixed quantisation.
    """

    def __init__(self, columns: Columns):
        self._leaves: list[Leaf] = []
        self._children: list[dict[str, int]] = []
        self._signatures: list[int] = []
        self._leaf_signatures: list[int] = []
        self._numbers: dict[tuple[tuple[str, ...], tuple[int, ...]], int] = {}
        self._signature_numbers: dict[object, int] = {}
        self.leaves = self._leaves_of(columns)

    def _leaves_of(self, columns: Columns) -> list[int]:
        """Return the leaf number of every tensor."""
        for kind in columns.kinds:
            self._add_leaf(Leaf(kind, False, "", Totals.of(kind)))
        leaves = [-1 - number for number in columns.numbers]
        known: dict[tuple, int] = {}
        for index in columns.aliases | columns.shardings.keys():
            kind, alias = columns.kind(index), index in columns.aliases
            sharding = columns.shardings.get(index)
            axes, held = (sharding.axes, sharding.device_nbytes) if sharding else ("", None)
            number = known.get((columns.numbers[index], alias, axes, held))
            if number is None:
                totals = Totals.of(kind, 1, int(not alias), held)
                number = self._add_leaf(Leaf(kind, alias, axes, totals))
                known[columns.numbers[index], alias, axes, held] = number
            leaves[index] = number
        return leaves

    def _add_leaf(self, leaf: Leaf) -> int:
        kind = leaf.kind
        job = (kind.shape, kind.role, kind.component, kind.collection)
        self._leaves.append(leaf)
        self._leaf_signatures.append(self._signed((job, leaf.alias, leaf.sharding)))
        return -len(self._leaves)

    def _signed(self, content: object) -> int:
        return self._signature_numbers.setdefault(content, len(self._signature_numbers))

    def add(self, tree: Tree) -> int:
        """Return the number of a tree, the same for every equal one."""
        children = tuple([c if type(c) is int else self.add(c) for c in tree.values()])
        content = tuple(tree), children
        number = self._numbers.get(content)
        if number is None:
            self._numbers[content] = number = len(self._children)
            self._children.append(dict(zip(*content, strict=True)))
            below = tuple(map(self.signature, children))
            self._signatures.append(self._signed((content[0], below)))
        return number

    def is_leaf(self, number: int) -> bool:
        """Return whether that number is of a tensor."""
        return number < 0

    def leaf(self, number: int) -> Leaf:
        """Return the tensor of that number."""
        return self._leaves[-1 - number]

    def children(self, number: int) -> dict[str, int]:
        """Return the names below a subtree and their numbers."""
        return self._children[number]

    def names(self, number: int) -> Iterable[str]:
        """Return the names below a subtree."""
        return self._children[number]

    def signature(self, number: int) -> int:
        """Return a number that is equal for subtrees that fold."""
        if number < 0:
            return self._leaf_signatures[-1 - number]
        return self._signatures[number]
