"""The folded tree as nodes of a map: the largest ones, and what the rest adds up to."""

import heapq
from collections.abc import Sequence
from typing import Any

import msgspec

from explorer.analyses.collapse import Row
from explorer.errors import printable
from explorer.inventory.own_names import component_word
from explorer.views import units

__all__ = ["MIXED", "map_of"]

MIXED = "mixed"


class _Node(msgspec.Struct):
    """A row of the tree that is kept, its parent's place, and how many children it lost."""

    row: Row
    parent: int
    lost: list[Row]


def map_of(root: Row, most: int, name_length: int) -> dict[str, Any]:
    """Return what draws the map of a folded tree: words, and a list for each node.

    A node is [name, parent, parameters, bytes, tensors, component, role, dtype, shape];
    parents come first, words are indices into "words". The nodes below each parent add up
    to it: what is left out is one node of its own.

    Args:
        root: of the tree.
        most: nodes that are kept; the largest by bytes.
        name_length: characters of a name.
    """
    children = tuple(map(_joined, root.children))
    nodes = _kept(msgspec.structs.replace(root, children=children), most)
    words: dict[str, int] = {}
    rows = [_record(node, words, name_length) for node in nodes]
    for number, node in enumerate(nodes):
        if node.lost:
            rows.append(_rest(node.lost, number, words))
    return {"words": list(words), "nodes": rows}


def _joined(row: Row, above: tuple[str, ...] = ()) -> Row:
    """Return a row in which a module with one child is one part with it: "query/kernel".

    A tensor of no known component has its module's own name: `above` are the names that the
    row is below.
    """
    names = [row.name or '""']
    while len(row.children) == 1:
        (row,) = row.children
        names.append(row.name or '""')
    path = (*above, *names)
    word = row.component if row.children else component_word(row.component, row.role, path)
    return msgspec.structs.replace(
        row,
        name="/".join(names),
        children=tuple(_joined(child, path) for child in row.children),
        component=word,
    )


def _kept(root: Row, most: int) -> list[_Node]:
    """Return the root and its largest descendants, parents first, in the source's order."""
    chosen: dict[int, Row] = {id(root): root}
    queue = [(-child.nbytes, n, child) for n, child in enumerate(root.children)]
    number = len(queue)
    heapq.heapify(queue)
    while queue and len(chosen) < most:
        _, _, row = heapq.heappop(queue)
        chosen[id(row)] = row
        for child in row.children:
            heapq.heappush(queue, (-child.nbytes, number, child))
            number += 1
    nodes = [_Node(root, -1, [])]
    for at, node in enumerate(nodes):  # grows as it is walked
        for child in node.row.children:
            if id(child) in chosen:
                nodes.append(_Node(child, at, []))
            else:
                nodes[at].lost.append(child)
    return nodes


def _record(node: _Node, words: dict[str, int], name_length: int) -> list[Any]:
    row = node.row
    shape = units.shape(row.shape, row.stack)
    return [
        printable(row.name or '""', name_length),
        node.parent,
        row.parameters,
        row.nbytes,
        row.tensors,
        *(_word(words, _words(row, field)) for field in ("component", "role", "dtype")),
        shape,
    ]


def _rest(lost: Sequence[Row], parent: int, words: dict[str, int]) -> list[Any]:
    mixed = _word(words, {MIXED})
    tensors = sum(row.tensors for row in lost)
    sums = [sum(row.parameters for row in lost), sum(row.nbytes for row in lost), tensors]
    return [f"{tensors:,} smaller tensors", parent, *sums, mixed, mixed, mixed, ""]


def _word(words: dict[str, int], found: set[str]) -> int:
    word = found.pop() if len(found) == 1 else MIXED
    return words.setdefault(word, len(words))


def _words(row: Row, field: str) -> set[str]:
    """Return the words of a row's parameters; those of its state where it has none."""
    leaves = [leaf for leaf in _leaves(row) if leaf.parameters] or [*_leaves(row)]
    if field == "dtype":
        return {name for leaf in leaves for name in leaf.dtypes}
    if field == "role":
        return {
            leaf.role if leaf.collection == "params" else leaf.collection for leaf in leaves
        }
    return {leaf.component for leaf in leaves}


def _leaves(row: Row) -> Sequence[Row]:
    if not row.children:
        return [row]
    return [leaf for child in row.children for leaf in _leaves(child)]
