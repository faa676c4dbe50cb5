"""The tree of an inventory with repeated blocks folded: 61 layers become one row.

Siblings fold when their names differ in one number alone and their subtrees hold the
same names, shapes and jobs; dtypes may differ, as in mixed quantisation.
"""

import re
from collections.abc import Iterator

import msgspec

from explorer.analyses.names import nested
from explorer.analyses.shapes import Leaf, Shapes
from explorer.inventory.gc_pause import paused_gc
from explorer.inventory.inventory import Inventory
from explorer.inventory.tensor import PARAMS
from explorer.inventory.totals import Totals, sum_totals
from explorer.paths import runs_of

__all__ = ["MAX_PARTS", "Row", "collapse", "compact", "folded_names", "leaf_row", "walk"]

MAX_PARTS = 6  # tensors that one row can name
_NUMBERED = re.compile(r"(.*?)([0-9]+)([^0-9]*)", re.DOTALL)


class Row(Totals, frozen=True, kw_only=True):
    """One row of the tree: a module, or a tensor when it has no children.

    Its totals are those of all the tensors that it stands for. `copies` is how many siblings
    were folded into it; `shape`, `stack` and the words are those of one tensor. `parts` are
    the tensors of a module that is shown as one row.
    """

    name: str
    copies: int
    shape: tuple[int, ...] | None = None
    stack: tuple[int, ...] = ()
    dtypes: tuple[str, ...] = ()
    role: str = ""
    component: str = ""
    collection: str = ""
    sharding: str = ""
    alias: bool = False
    children: tuple["Row", ...] = ()
    parts: tuple["Row", ...] = ()


def collapse(inventory: Inventory, *, fold: bool = True) -> Row:
    """Return the root row of an inventory's tree.

    Args:
        inventory: whose tensors to arrange by path.
        fold: whether to fold repeated blocks.
    """
    with paused_gc():
        shapes = Shapes(inventory.columns)
        root = shapes.add(nested(inventory.columns.keys, shapes))
        return _merge(inventory.target, {root: 1}, shapes, fold)


def compact(row: Row) -> Row:
    """Return the tree with its simplest modules in one row each.

    A module of a few tensors (a kernel and its bias) becomes a row that names them as
    parts; one without parameters becomes a row; one with one child joins its name:
    "encoder/layer/[0-5]".
    """
    return msgspec.structs.replace(row, children=tuple(map(_compacted, row.children)))


def _compacted(row: Row) -> Row:
    if not row.children:
        return row
    if collection := _state_of(row):  # of state its size is asked
        return msgspec.structs.replace(row, children=(), collection=collection)
    children = tuple(map(_compacted, row.children))
    modules = [c for c in children if c.shape is None and c.collection != "quantization"]
    if not modules and len(children) <= MAX_PARTS:
        # a kernel before its bias, parameters before their scales, whatever the file's order
        parts = sorted(children, key=lambda part: (not part.parameters, part.biases > 0))
        return msgspec.structs.replace(row, children=(), parts=tuple(parts))
    if len(children) == 1 and (only := children[0]).shape is None:
        name = f"{row.name}/{only.name}" if row.name else only.name
        copies = max(row.copies, only.copies)
        return msgspec.structs.replace(only, name=name, copies=copies)
    return msgspec.structs.replace(row, children=children)


def _state_of(row: Row) -> str:
    """Return the one collection that all tensors in a row are of; "" if any is a parameter."""
    found = ""
    for leaf, _ in walk(row):
        if leaf.shape is not None:
            if leaf.collection == PARAMS or (found and leaf.collection != found):
                return ""
            found = leaf.collection
    return found


def walk(row: Row, depth: int = 0) -> Iterator[tuple[Row, int]]:
    """Yield every row below the root with its depth, in order."""
    for child in row.children:
        yield child, depth
        yield from walk(child, depth + 1)


def _merge(name: str, nodes: dict[int, int], shapes: Shapes, fold: bool) -> Row:
    """Return the row that stands for equal nodes, each given with its number of copies."""
    first = next(iter(nodes))
    copies = sum(nodes.values())
    if shapes.is_leaf(first):
        return leaf_row(
            name, copies, [(shapes.leaf(n), count) for n, count in nodes.items()]
        )
    groups = (
        folded_names(shapes, first) if fold else [(n, [n]) for n in shapes.names(first)]
    )
    children = []
    for label, names in groups:
        below: dict[int, int] = {}
        for node, count in nodes.items():
            child_of = shapes.children(node)
            for each in names:
                child = child_of[each]
                below[child] = below.get(child, 0) + count
        children.append(_merge(label, below, shapes, fold))
    totals = msgspec.structs.asdict(sum_totals(children))
    return Row(**totals, name=name, copies=copies, children=tuple(children))


def leaf_row(name: str, copies: int, leaves: list[tuple[Leaf, int]]) -> Row:
    """Return the row of equal tensors, each given with its number of copies."""
    (one, count), *others = leaves
    totals = one.totals if count == 1 else one.totals * count
    if others:
        totals = sum_totals((totals, *(leaf.totals * number for leaf, number in others)))
    first, kind = leaves[0][0], leaves[0][0].kind
    return Row(
        **msgspec.structs.asdict(totals),
        name=name,
        copies=copies,
        shape=kind.shape,
        stack=kind.stack,
        dtypes=tuple(dict.fromkeys(leaf.kind.dtype for leaf, _ in leaves)),
        role=kind.role,
        component=kind.component,
        collection=kind.collection,
        sharding=first.sharding,
        alias=first.alias,
    )


def folded_names(shapes: Shapes, node: int) -> list[tuple[str, list[str]]]:
    """Return the labels of a subtree's rows, in order, and the children that each stands for."""
    groups: dict[object, list[tuple[str, str, int, str]]] = {}
    for name, child in shapes.children(node).items():
        match = None if name.isalpha() else _NUMBERED.fullmatch(name)
        if match is None or len(match[2]) > 9:
            groups[name] = [(name, "", 0, "")]
        else:
            key = (match[1], match[3], shapes.signature(child))
            groups.setdefault(key, []).append((name, match[1], int(match[2]), match[3]))
    return [
        (_label(members), [member[0] for member in members]) for members in groups.values()
    ]


def _label(members: list[tuple[str, str, int, str]]) -> str:
    name, before, _, after = members[0]
    if len(members) == 1:
        return name
    return f"{before}[{runs_of(member[2] for member in members)}]{after}"
