"""The names of an inventory as a tree, equal blocks of neighbours numbered as a whole.

In a checkpoint of 10^5 tensors most names are those of experts: `experts.7.up.weight` and
its neighbours differ from the next expert's in one number. Such a block is looked up, not
built again name by name.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import compress, count, pairwise, repeat
from operator import ne
from typing import Protocol

from explorer.analyses.shapes import Tree
from explorer.inventory.listing import number
from explorer.paths import Key, path_of

__all__ = ["BlockNumbers", "nested"]

_MAX_DEPTH = 40  # a name may have 10,000 parts: the rest of it stays one name
_OWN = "."  # a tensor below its own name, where that is also a path


class BlockNumbers(Protocol):
    """Numbers for tensors and for blocks of them: those of `Shapes`, or one for each."""

    @property
    def leaves(self) -> list[int]:
        """The number of every tensor, below zero."""
        ...

    def add(self, tree: Tree) -> int:
        """Return the number of a block."""
        ...


def nested(keys: Sequence[Key], shapes: BlockNumbers) -> Tree:
    """Return the tree of names, each tensor given by its leaf number.

    Args:
        keys: of the tensors of `shapes`, in order.
        shapes: to which repeated blocks are added; a block is given by its number.
    """
    root: Tree = {}
    modules: dict[str, Tree] = {}
    for key, child in _numbered(keys, shapes):
        if type(key) is str and "/" not in key:
            parent, dot, last = key.rpartition(".")
            node = modules.get(parent) if dot else root
            if node is None:
                node = _module(root, parent, modules)
            if node is not None and last not in node:
                node[last] = child
                continue
        _insert(root, path_of(key), child)
    return root


def _numbered(keys: Sequence[Key], shapes: BlockNumbers) -> Iterator[tuple[Key, int]]:
    """Yield names in order: of a block of neighbours, or of one tensor."""
    if set(map(type, keys)) != {str} or "/" in "".join(keys):  # pyright: ignore
        return zip(keys, shapes.leaves, strict=True)
    return _blocks(keys, shapes)  # pyright: ignore


def _blocks(keys: Sequence[str], shapes: BlockNumbers) -> Iterator[tuple[str, int]]:
    """Yield each block, the tensors two levels below one name, and all other tensors."""
    heads = [key.rpartition(".")[0].rpartition(".")[0] for key in keys]
    tails = [key[len(head) :] for key, head in zip(keys, heads, strict=True)]
    leaves = shapes.leaves
    ids = number(tails, leaves)
    starts = [0, *compress(count(1), map(ne, heads[1:], heads))]
    runs = list(
        zip(map(heads.__getitem__, starts), pairwise([*starts, len(keys)]), strict=True)
    )
    closed = _closed(keys, runs)
    known: dict[tuple[int, ...], int] = {}
    for head, (start, end) in runs:
        if head not in closed:
            yield from zip(keys[start:end], leaves[start:end], strict=True)
            continue
        content = tuple(ids[start:end])
        node = known.get(content)
        if node is None:
            block: Tree = {}
            for tail, leaf in zip(tails[start:end], leaves[start:end], strict=True):
                _, name, last = tail.split(".")
                block.setdefault(name, {})[last] = leaf
            node = known[content] = shapes.add(block)
        yield head, node


def _closed(keys: Sequence[str], runs: list[tuple[str, tuple[int, int]]]) -> set[str]:
    """Return the heads below which one run of neighbours has everything there is."""
    times = Counter(head for head, _ in runs)
    if max(map(str.count, times, repeat("."))) > _MAX_DEPTH - 4:
        return set()
    closed = {head for head, once in times.items() if once == 1} - _around(times) - {""}
    others: set[str] = set()
    for head, (start, end) in runs:
        if head not in closed:
            others.update(keys[start:end])
    return closed - others - _around(others)


def _around(names: Iterable[str]) -> set[str]:
    """Return all names above these."""
    above: set[str] = set()
    while names := {name.rpartition(".")[0] for name in names} - above:
        above |= names
    return above


def _module(root: Tree, name: str, modules: dict[str, Tree]) -> Tree | None:
    """Return the node of a dotted module name, kept in `modules`; None if it is too deep.

    The module around it is mostly known, so that its path is not walked from the root.
    """
    if name.count(".") >= _MAX_DEPTH - 1:
        return None
    above, dot, last = name.rpartition(".")
    node = modules.get(above) if dot else root
    if node is None:
        node = _module(root, above, modules)
        assert node is not None  # it is less deep
    child = node.get(last)
    if not isinstance(child, dict):
        # a tensor whose key is another one's path stands below its own name
        node[last] = child = {} if child is None else {_OWN: child}
    modules[name] = child
    return child


def _insert(root: Tree, path: tuple[str, ...], leaf: int) -> None:
    """Put a leaf into the tree, whatever is there already."""
    if len(path) > _MAX_DEPTH:
        path = (*path[:_MAX_DEPTH], "/".join(path[_MAX_DEPTH:]))
    node = root
    for name in path[:-1]:
        child = node.get(name)
        if not isinstance(child, dict):
            # a tensor whose key is another one's path stands below its own name
            node[name] = child = {} if child is None else {_OWN: child}
        node = child
    last = path[-1] if path else _OWN
    if last in node:
        child = node[last]
        if not isinstance(child, dict):
            node[last] = child = {_OWN: child}
        node, last = child, _OWN
        while last in node:  # "a.b" and "a/b" are two keys of one path
            last += _OWN
    node[last] = leaf
