"""The folded tree of `show`, made row by row: what is below a row is made when it is opened.

`collapse` and `compact` make every row of a tree. Here a row is made of the distinct
subtrees that it stands for, and only their sums are known of what is below. Both give the
same rows, which a test compares.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from explorer.analyses.collapse import MAX_PARTS, Row, folded_names, leaf_row
from explorer.analyses.names import nested
from explorer.analyses.shapes import Shapes
from explorer.inventory.gc_pause import paused_gc
from explorer.inventory.inventory import Inventory
from explorer.inventory.tensor import PARAMS
from explorer.inventory.totals import ZERO, Totals, sum_totals

__all__ = ["Branch", "FoldedTree", "Pattern", "subset"]

# the names of each level from the root: of a folded row, several on one level
Pattern = tuple[tuple[str, ...], ...]
_QUANTISATION = frozenset(["quantization"])


class _Below(NamedTuple):
    """What a row below stands for: its label, the names on its level, distinct subtrees."""

    label: str
    names: tuple[str, ...]
    nodes: dict[int, int]


class Branch(msgspec.Struct, frozen=True, eq=False):
    """One row of a folded tree, without those below it.

    Attributes:
        row: as `compact(collapse(inventory))` has it, its children left out.
        tree: that made it.
        pattern: the names that lead to it, level by level.
        own: how many of those levels are its own: more than one where names were joined.
        groups: what is below, not yet rows.
        nodes: the distinct subtrees that it stands for, each with how often.
    """

    row: Row
    tree: "FoldedTree"
    pattern: Pattern
    own: int
    groups: tuple[_Below, ...]
    nodes: dict[int, int]

    @property
    def is_open_to(self) -> bool:
        """Whether there are rows below it to show: more than its one tensor."""
        return len(self.groups) > 1 or bool(self.groups and not self.row.parts)

    @property
    def is_folded(self) -> bool:
        """Whether its own names stand for several."""
        return any(len(names) > 1 for names in self.pattern[-self.own :]) and self.own > 0


class FoldedTree:
    """The rows of an inventory, each made when it is asked for; `made` says how many were.

    >>> import explorer as ex
    >>> tree = FoldedTree(ex.explore("gpt2"))
    >>> [branch.row.name for branch in tree.below(tree.root)], tree.made
    (['embed', 'position_embed', 'layers_[0-11]', 'final_norm'], 9)
    """

    def __init__(self, inventory: Inventory):
        self.inventory = inventory
        self.made = 0
        self._totals: dict[int, Totals] = {}
        self._collections: dict[int, frozenset[str]] = {}
        self._components: dict[int, Counter[str]] = {}
        self._digests: dict[int, int] = {}
        with paused_gc():
            self._shapes = Shapes(inventory.columns)
            node = self._shapes.add(nested(inventory.columns.keys, self._shapes))
        self.nodes = {node: 1}
        self.root = self._root(inventory.target)

    def _root(self, name: str) -> Branch:
        self.made += 1
        row = Row(**msgspec.structs.asdict(self._sum(self.nodes)), name=name, copies=1)
        return Branch(row, self, (), 0, self._groups(self.nodes), self.nodes)

    def below(self, branch: Branch) -> tuple[Branch, ...]:
        """Return the rows below a row; the parts of a module that is one row."""
        with paused_gc():
            made = [self._branch(group, branch.pattern) for group in branch.groups]
        return tuple(_in_order(made) if branch.row.parts else made)

    def one_below(self, branch: Branch, number: int) -> Branch:
        """Return one of the rows below a row, and make no other; not of parts, which are few."""
        return self._branch(branch.groups[number], branch.pattern)

    def is_whole(self, branch: Branch, number: int) -> bool:
        """Return whether one of the rows below a row is of tensors, or shows all of its own."""
        first = next(iter(branch.groups[number].nodes))
        if self._shapes.is_leaf(first):
            return True
        below = self._shapes.children(first).values()
        return len(below) <= MAX_PARTS and all(map(self._shapes.is_leaf, below))

    def at_depth(self, depth: int, own: int) -> Branch:
        """Return the only row so many levels below the root.

        Args:
            depth: levels; on each above it there is one name, or names that fold.
            own: how many of the last ones make its name.
        """
        nodes, names = self.nodes, ()
        above: Pattern = ()
        pattern: Pattern = ()
        labels: list[str] = []
        for _ in range(depth):
            (group,) = self._groups(nodes)
            nodes, names, above = group.nodes, group.names, pattern
            pattern = (*above, names)
            labels.append(group.label)
        name = "/".join(filter(None, labels[depth - own :]))
        made = self._branch(_Below(name, names, nodes), above)
        return Branch(made.row, self, made.pattern, own, made.groups, made.nodes)

    def _branch(self, group: _Below, above: Pattern) -> Branch:
        """Return the row of a group; of what is below only the names are read."""
        self.made += 1
        name, names, nodes = group
        first, copies = next(iter(nodes)), sum(nodes.values())
        pattern = (*above, names)
        if self._shapes.is_leaf(first):
            leaves = [(self._shapes.leaf(node), count) for node, count in nodes.items()]
            return Branch(leaf_row(name, copies, leaves), self, pattern, 1, (), nodes)
        totals = msgspec.structs.asdict(self._sum(nodes))
        row = Row(**totals, name=name, copies=copies)
        collections = self._collections_of(first)
        if len(collections) == 1 and PARAMS not in collections:
            (collection,) = collections
            row = msgspec.structs.replace(row, collection=collection)
            return Branch(row, self, pattern, 1, (), nodes)
        groups = self._groups(nodes)
        if len(groups) <= MAX_PARTS and not any(map(self._is_module, groups)):
            parts = _in_order([self._branch(each, pattern) for each in groups])
            row = msgspec.structs.replace(row, parts=tuple(part.row for part in parts))
            return Branch(row, self, pattern, 1, groups, nodes)
        if len(groups) == 1 and self._is_above(groups[0]):
            only = self._branch(groups[0], pattern)
            joined = f"{name}/{only.row.name}" if name else only.row.name
            copies = max(copies, only.row.copies)
            row = msgspec.structs.replace(only.row, name=joined, copies=copies)
            return Branch(row, self, only.pattern, only.own + 1, only.groups, only.nodes)
        return Branch(row, self, pattern, 1, groups, nodes)

    def _groups(self, nodes: dict[int, int]) -> tuple[_Below, ...]:
        """Return what is below subtrees that fold, by the names of the first of them."""
        found = []
        for label, names in folded_names(self._shapes, next(iter(nodes))):
            below: Counter[int] = Counter()
            for node, count in nodes.items():
                child_of = self._shapes.children(node)
                for name in names:
                    below[child_of[name]] += count
            found.append(_Below(label, tuple(names), dict(below)))
        return tuple(found)

    def _is_above(self, group: _Below) -> bool:
        return not self._shapes.is_leaf(next(iter(group.nodes)))

    def _is_module(self, group: _Below) -> bool:
        first = next(iter(group.nodes))
        return self._is_above(group) and self._collections_of(first) != _QUANTISATION

    def _sum(self, nodes: dict[int, int]) -> Totals:
        return sum_totals(self._totals_of(node) * count for node, count in nodes.items())

    def _totals_of(self, node: int) -> Totals:
        """Return what a subtree adds up to; each distinct one is added up once."""
        if self._shapes.is_leaf(node):
            return self._shapes.leaf(node).totals
        if node not in self._totals:
            below = Counter(self._shapes.children(node).values())
            self._totals[node] = self._sum(below) if below else ZERO
        return self._totals[node]

    def _collections_of(self, node: int) -> frozenset[str]:
        if self._shapes.is_leaf(node):
            return frozenset([self._shapes.leaf(node).kind.collection])
        if node not in self._collections:
            below = set(self._shapes.children(node).values())
            found = frozenset().union(*map(self._collections_of, below))
            self._collections[node] = found
        return self._collections[node]

    def components(self, branch: Branch) -> Counter[str]:
        """Return the parameters of each component in a row."""
        found: Counter[str] = Counter()
        for node, count in branch.nodes.items():
            for name, number in self._components_of(node).items():
                found[name] += number * count
        return found

    def _components_of(self, node: int) -> Counter[str]:
        if self._shapes.is_leaf(node):
            leaf = self._shapes.leaf(node)
            number = leaf.totals.parameters
            return Counter({leaf.kind.component: number} if number else {})
        if node not in self._components:
            found: Counter[str] = Counter()
            for below, count in Counter(self._shapes.children(node).values()).items():
                for name, number in self._components_of(below).items():
                    found[name] += number * count
            self._components[node] = found
        return self._components[node]

    def contents(self, branch: Branch) -> Counter[int]:
        """Return what a row holds as numbers that are equal where contents are, of any tree."""
        found: Counter[int] = Counter()
        for node, count in branch.nodes.items():
            found[self._digest(node)] += count
        return found

    def _digest(self, node: int) -> int:
        if node not in self._digests:
            self._digests[node] = hash(self._content(node))
        return self._digests[node]

    def _content(self, node: int) -> tuple:
        if self._shapes.is_leaf(node):
            kind, alias, _, _ = self._shapes.leaf(node)
            return kind.shape, kind.dtype, kind.nbytes, kind.collection, alias
        children = self._shapes.children(node)
        return tuple((name, self._digest(below)) for name, below in children.items())


def _in_order(parts: Sequence[Branch]) -> list[Branch]:
    """Return parts in the order of `compact`: a kernel before its bias, scales last."""
    return sorted(parts, key=lambda part: (not part.row.parameters, part.row.biases > 0))


def subset(inventory: Inventory, indices: Iterable[int]) -> Inventory:
    """Return the inventory of some tensors, second names still second: parts add up."""
    from explorer.inventory.columns import Columns

    kept, old = list(indices), inventory.columns
    columns = Columns(
        [old.keys[index] for index in kept],
        old.kinds,
        [old.numbers[index] for index in kept],
        (new for new, index in enumerate(kept) if index in old.aliases),
        {new: old.shardings[i] for new, i in enumerate(kept) if i in old.shardings},
    )
    return msgspec.structs.replace(inventory, columns=columns)
