"""The tree of an inventory with repeated blocks folded: 61 layers become one row.

Siblings fold when their names differ in one number alone and their subtrees hold the
same names, shapes and jobs; number formats may differ, as in mixed quantisation.
"""

import re
from collections.abc import Iterable, Iterator

import msgspec

from explorer.inventory.gc_pause import paused_gc
from explorer.inventory.inventory import Inventory
from explorer.inventory.tensor import PARAMS, TensorSpec
from explorer.paths import path_of

__all__ = ["Row", "collapse", "compact", "walk"]

_MAX_DEPTH = 40  # a name may have 10,000 parts: the rest of it stays one name
_OWN = "."  # a tensor below its own name, where that is also a path
_MAX_PARTS = 6  # tensors that one row can name
_NUMBERED = re.compile(r"(.*?)([0-9]+)([^0-9]*)", re.DOTALL)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the tree: a module, or a tensor when it has no children.

    Sums are over all the tensors it stands for; `device_nbytes` is what the fullest device
    holds of them. `copies` says how many siblings were
    folded into it; `shape`, `stack` and the words are those of one tensor. `parts` are the tensors
    of a module that is shown as one row.
    """

    name: str
    copies: int
    tensors: int
    parameters: int
    weights: int
    biases: int
    elements: int
    nbytes: int
    device_nbytes: int
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
        root: _Node = {}
        for tensor in inventory.tensors:
            _insert(root, tensor)
        return _merge(inventory.target, [root], _signatures(root) if fold else None)


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
    collections = {leaf.collection for leaf, _ in walk(row) if leaf.shape is not None}
    if len(collections) == 1 and PARAMS not in collections:  # of state its size is asked
        return msgspec.structs.replace(row, children=(), collection=collections.pop())
    children = tuple(map(_compacted, row.children))
    modules = [c for c in children if c.shape is None and c.collection != "quantization"]
    if not modules and len(children) <= _MAX_PARTS:
        # a kernel before its bias, parameters before their scales, whatever the file's order
        parts = sorted(children, key=lambda part: (not part.parameters, part.biases > 0))
        return msgspec.structs.replace(row, children=(), parts=tuple(parts))
    if len(children) == 1 and (only := children[0]).shape is None:
        name = f"{row.name}/{only.name}" if row.name else only.name
        copies = max(row.copies, only.copies)
        return msgspec.structs.replace(only, name=name, copies=copies)
    return msgspec.structs.replace(row, children=children)


def walk(row: Row, depth: int = 0) -> Iterator[tuple[Row, int]]:
    """Yield every row below the root with its depth, in order."""
    for child in row.children:
        yield child, depth
        yield from walk(child, depth + 1)


# the names below a name; a tensor where nothing is below
_Node = dict[str, "_Node | TensorSpec"]
_Signatures = dict[int, int]


def _insert(root: _Node, tensor: TensorSpec) -> None:
    path = path_of(tensor.key)
    if len(path) > _MAX_DEPTH:
        path = (*path[:_MAX_DEPTH], "/".join(path[_MAX_DEPTH:]))
    node = root
    for name in path[:-1]:
        child = node.get(name)
        if type(child) is not dict:
            # a tensor whose key is another one's path stands below its own name
            node[name] = child = {} if child is None else {_OWN: child}
        node = child
    last = path[-1] if path else _OWN
    if last in node:
        child = node[last]
        if type(child) is not dict:
            node[last] = child = {_OWN: child}
        node, last = child, _OWN
        while last in node:  # "a.b" and "a/b" are two keys of one path
            last += _OWN
    node[last] = tensor


def _signatures(root: _Node) -> _Signatures:
    """Return a number for every node and kind; equal subtrees have equal numbers.

    Kinds that differ in number format alone count as equal.
    """
    seen: dict[object, int] = {}
    signatures: _Signatures = {}

    def of_tensor(tensor: TensorSpec) -> int:
        kind = tensor.kind
        number = signatures.get(id(kind))
        if number is None:
            job = (kind.shape, kind.role, kind.component, kind.collection)
            signatures[id(kind)] = number = seen.setdefault(job, len(seen))
        if tensor.alias or tensor.sharding:
            number = seen.setdefault((number, tensor.alias, tensor.sharding), len(seen))
        return number

    def of_node(node: _Node) -> int:
        below = [
            of_node(child) if type(child) is dict else of_tensor(child)  # pyright: ignore
            for child in node.values()
        ]
        number = seen.setdefault((tuple(node), tuple(below)), len(seen))
        signatures[id(node)] = number
        return number

    of_node(root)
    return signatures


def _merge(name: str, nodes: list, signatures: _Signatures | None) -> Row:
    """Return the row that stands for nodes, or for tensors, of equal signature."""
    first = nodes[0]
    if type(first) is not dict:
        return _tensor_row(name, nodes)
    children = [
        _merge(label, [node[child] for node in nodes for child in names], signatures)
        for label, names in _groups(first, signatures)
    ]
    return _sum(name, len(nodes), children)


def _sum(name: str, copies: int, children: list[Row]) -> Row:
    return Row(
        name=name,
        copies=copies,
        tensors=sum(row.tensors for row in children),
        parameters=sum(row.parameters for row in children),
        weights=sum(row.weights for row in children),
        biases=sum(row.biases for row in children),
        elements=sum(row.elements for row in children),
        nbytes=sum(row.nbytes for row in children),
        device_nbytes=sum(row.device_nbytes for row in children),
        children=tuple(children),
    )


def _tensor_row(name: str, leaves: list[TensorSpec]) -> Row:
    unique = [leaf for leaf in leaves if not leaf.alias]
    counted = [leaf.kind for leaf in unique]
    first = leaves[0].kind
    elements = first.size * len(counted)
    parameters = elements if first.is_parameter else 0
    biases = parameters if first.role == "bias" else 0
    return Row(
        name=name,
        copies=len(leaves),
        tensors=len(leaves),
        parameters=parameters,
        weights=parameters - biases,
        biases=biases,
        elements=elements,
        nbytes=sum([kind.nbytes for kind in counted]),
        device_nbytes=sum([leaf.on_device for leaf in unique]),
        shape=first.shape,
        stack=first.stack,
        dtypes=tuple(dict.fromkeys([leaf.kind.dtype for leaf in leaves])),
        role=first.role,
        component=first.component,
        collection=first.collection,
        sharding=leaves[0].sharding,
        alias=leaves[0].alias,
    )


def _groups(node: _Node, signatures: _Signatures | None) -> list[tuple[str, list[str]]]:
    """Return labels and the children's names that each stands for, in order."""
    if signatures is None:
        return [(name, [name]) for name in node]
    groups: dict[object, list[tuple[str, str, int, str]]] = {}
    for name, child in node.items():
        match = _NUMBERED.fullmatch(name)
        if match is None or len(match[2]) > 9:
            groups[name] = [(name, "", 0, "")]
        else:
            key = (match[1], match[3], _signature_of(child, signatures))
            groups.setdefault(key, []).append((name, match[1], int(match[2]), match[3]))
    return [
        (_label(members), [member[0] for member in members]) for members in groups.values()
    ]


def _signature_of(child: "_Node | TensorSpec", signatures: _Signatures) -> object:
    if isinstance(child, TensorSpec):
        return signatures[id(child.kind)], child.alias, child.sharding
    return signatures[id(child)]


def _label(members: list[tuple[str, str, int, str]]) -> str:
    name, before, _, after = members[0]
    if len(members) == 1:
        return name
    return f"{before}[{_runs(member[2] for member in members)}]{after}"


def _runs(numbers: Iterable[int]) -> str:
    """Return numbers as runs: "0-2,5"; a long list keeps its ends."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    words = [str(low) if low == high else f"{low}-{high}" for low, high in runs]
    return ",".join(words if len(words) <= 6 else [*words[:3], "…", words[-1]])
