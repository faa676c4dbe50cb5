"""The rows of one target, or of two side by side, each under a path of positions.

A path says where a row is: `(2, 0)` is the first row below the third. A folded row that is
split has its copies below it: `(2, -4)` is the fourth of them.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property

import msgspec

from explorer.analyses.side_by_side import name_of_both, paired_rows
from explorer.browsing.branches import Branch, FoldedTree, subset
from explorer.browsing.places import Places
from explorer.inventory.inventory import Inventory
from explorer.paths import name_of

__all__ = ["ItemPath", "Outline", "OutlineItem", "plain_name"]

ItemPath = tuple[int, ...]


class OutlineItem(msgspec.Struct, frozen=True, eq=False):
    """A row: one branch for each target, None where that lacks it."""

    sides: tuple[Branch | None, ...]

    @property
    def first(self) -> Branch:
        """The branch of the first target that has it."""
        return next(side for side in self.sides if side is not None)

    @property
    def name(self) -> str:
        """The name as `show` prints it, or as `compare` does for two."""
        if len(self.sides) == 1:
            return self.first.row.name
        return name_of_both(*(side and side.row for side in self.sides))

    @property
    def is_open_to(self) -> bool:
        """Whether there are rows below it."""
        return any(side is not None and side.is_open_to for side in self.sides)

    @property
    def is_folded(self) -> bool:
        """Whether it can be split into copies: that of one target alone."""
        return len(self.sides) == 1 and self.first.is_folded

    def parameters(self, side: int = 0) -> int:
        """Return the parameters that it has in a target."""
        branch = self.sides[side]
        return 0 if branch is None else branch.row.parameters

    def nbytes(self, side: int = 0) -> int:
        """Return the bytes that it takes in a target."""
        branch = self.sides[side]
        return 0 if branch is None else branch.row.nbytes

    @property
    def differs(self) -> bool:
        """Whether two targets hold something else here: names, shapes, formats or numbers of."""
        before, after = self.sides[0], self.sides[-1]
        if before is None or after is None:
            return before is not after
        if before is after:
            return False
        return before.tree.contents(before) != after.tree.contents(after)


class Outline:
    """The rows of one or two inventories, made when they are asked for and then kept.

    >>> import explorer as ex
    >>> outline = Outline([ex.explore("gpt2")])
    >>> outline.item((2,)).name, len(outline.below((2,))), outline.copies((2,))[11]
    ('layers_[0-11]', 4, (2, -12))
    """

    def __init__(self, inventories: Sequence[Inventory], is_part: bool = False):
        self.inventories = tuple(inventories)
        self.is_part = is_part  # of the tensors of a target, some
        self.trees = [FoldedTree(inventory) for inventory in inventories]
        root = OutlineItem(tuple(tree.root for tree in self.trees))
        self._items: dict[ItemPath, OutlineItem] = {(): root}
        self._below: dict[ItemPath, tuple[ItemPath, ...]] = {}
        self._copies: dict[ItemPath, tuple[ItemPath, ...]] = {}
        self._firsts: dict[ItemPath, tuple[dict[str, ItemPath], ...]] = {}
        self._differs: dict[ItemPath, bool] = {}

    @property
    def is_pair(self) -> bool:
        """Whether there are two targets."""
        return len(self.trees) == 2

    @property
    def root(self) -> OutlineItem:
        """Everything."""
        return self._items[()]

    @property
    def made(self) -> int:
        """How many rows were made so far."""
        return len(self._items)

    def item(self, path: ItemPath) -> OutlineItem:
        """Return the row of a path; those above it are made too."""
        if path not in self._items:
            above, number = path[:-1], path[-1]
            if number < 0:
                self.copies(above)
            elif (branch := self._lazy(above)) is not None:
                made = branch.tree.one_below(branch, number)
                self._items[path] = OutlineItem((made,))
            else:
                self.below(above)
        return self._items[path]

    def _lazy(self, path: ItemPath) -> Branch | None:
        """Return the branch whose rows below are made one by one; None where all are made."""
        first, *others = self.item(path).sides
        return None if others or first is None or first.row.parts else first

    def below(self, path: ItemPath) -> tuple[ItemPath, ...]:
        """Return the paths of the rows below a row, in the order of the source.

        Of one target the rows themselves are not made.
        """
        if path not in self._below:
            if (branch := self._lazy(path)) is not None:
                number = len(branch.groups)
            else:
                items = self._paired(self.item(path))
                number = len(items)
                self._items.update({(*path, n): item for n, item in enumerate(items)})
            self._below[path] = tuple((*path, n) for n in range(number))
        return self._below[path]

    def _paired(self, item: OutlineItem) -> list[OutlineItem]:
        rows = [() if side is None else side.tree.below(side) for side in item.sides]
        if len(rows) == 1:
            return [OutlineItem((branch,)) for branch in rows[0]]
        old, new = rows
        return [
            OutlineItem((None if i is None else old[i], None if j is None else new[j]))
            for i, j in paired_rows([b.row for b in old], [b.row for b in new])
        ]

    def copies(self, path: ItemPath) -> tuple[ItemPath, ...]:
        """Return the paths of the rows that a folded row stands for."""
        if path not in self._copies:
            item = self.item(path)
            branches = self._split(item.first) if item.is_folded else []
            paths = tuple((*path, -1 - number) for number in range(len(branches)))
            items = (OutlineItem((branch,)) for branch in branches)
            self._items.update(zip(paths, items, strict=True))
            self._copies[path] = paths
        return self._copies[path]

    def differs(self, path: ItemPath) -> bool:
        """Return whether a row is another one in the second target."""
        if path not in self._differs:
            self._differs[path] = self.item(path).differs
        return self._differs[path]

    @cached_property
    def places(self) -> tuple[Places, ...]:
        """Where the tensors of each target are."""
        return tuple(Places(inventory.columns.keys) for inventory in self.inventories)

    @cached_property
    def names(self) -> tuple[list[str], ...]:
        """The names of the tensors of each target, as they are compared in a search."""
        return tuple(
            [plain_name(name_of(key)) for key in each.columns.keys]
            for each in self.inventories
        )

    def tensors(self, path: ItemPath, side: int = 0) -> list[int]:
        """Return the numbers of the tensors that a row stands for in a target."""
        branch = self.item(path).sides[side]
        return [] if branch is None else self.places[side].tensors(branch.pattern)

    def rows_by_name(self, path: ItemPath, side: int) -> dict[str, ItemPath]:
        """Return the rows below a row by each of the names on the next level in a target."""
        if path not in self._firsts:
            self._firsts[path] = tuple({} for _ in self.inventories)
            for which, number, names in self._names_below(path):
                below = (*path, number)
                self._firsts[path][which].update(dict.fromkeys(names, below))
        return self._firsts[path][side]

    def copies_by_name(self, path: ItemPath) -> tuple[int, dict[str, ItemPath]]:
        """Return the level on which the copies of a folded row have different names, and those."""
        copies = self.copies(path)
        level = self._level(self.item(path).first)
        return level, {self.item(p).first.pattern[level][0]: p for p in copies}

    def is_whole(self, path: ItemPath) -> bool:
        """Return whether a row is of tensors, or shows all of its own: a kernel and its bias."""
        if path not in self._items and (branch := self._lazy(path[:-1])) is not None:
            return path[-1] >= 0 and branch.tree.is_whole(branch, path[-1])
        sides = self.item(path).sides
        return all(side is None or side.row.parts or not side.groups for side in sides)

    def _names_below(self, path: ItemPath) -> Iterator[tuple[int, int, tuple[str, ...]]]:
        """Yield a target, the position of a row below, and its names on the next level."""
        if (branch := self._lazy(path)) is not None:
            for number, group in enumerate(branch.groups):
                yield 0, number, group.names
            return
        depths = [0 if b is None else len(b.pattern) for b in self.item(path).sides]
        for number, below in enumerate(self.below(path)):
            for which, branch in enumerate(self.item(below).sides):
                if branch is not None:
                    yield which, number, branch.pattern[depths[which]]

    def _split(self, branch: Branch) -> list[Branch]:
        """Return the rows that a folded row stands for, each of its own tensors alone."""
        pattern, (places,) = branch.pattern, self.places
        level = self._level(branch)
        found = []
        for name in pattern[level]:
            one = (*pattern[:level], (name,), *pattern[level + 1 :])
            tree = FoldedTree(subset(self.inventories[0], places.tensors(one)))
            found.append(tree.at_depth(len(pattern), branch.own))
        return found

    def _level(self, branch: Branch) -> int:
        """Return the first of a row's own levels that has several names."""
        start = len(branch.pattern) - branch.own
        return next(
            n for n in range(start, len(branch.pattern)) if len(branch.pattern[n]) > 1
        )


def plain_name(text: str) -> str:
    """Return a name, or a part of one, in lower case and with "/" between its names.

    >>> plain_name("Encoder.layer")
    'encoder/layer'
    """
    return text.casefold().replace(".", "/")
