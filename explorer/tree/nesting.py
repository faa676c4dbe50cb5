"""Trees that JAX can flatten, which is found out before it does.

JAX flattens a tree by recursion. One that contains itself or is very deep ends that in a
RecursionError after which the interpreter may not recurse again, so JAX must not see it.
"""

from typing import Any

from jax import tree_util

from explorer.errors import TreeError
from explorer.tree.sharing import NodeCount
from explorer.tree.types import PyTree
from explorer.tree.walk import children_of, walk

__all__ = ["check_tree"]

_MOST = 200  # levels: far from Python's limit of 1000 calls, and from any model
_PLAIN = (dict, list, tuple)


def check_tree(*trees: PyTree) -> None:
    """Refuse trees that JAX cannot flatten.

    They contain themselves, are too deep, unfold without end, or have dict keys without an order.

    Raises:
        TreeError: one is such a tree; the place is in it.

    >>> check_tree({"kernel": 1.0, "bias": [2.0]})
    >>> check_tree({"layers": {1: 2.0, "a": 3.0}})
    Traceback (most recent call last):
    explorer.errors.TreeError: layers: dict whose keys cannot be sorted (int, str); \
expected sortable keys, which JAX requires; make them all strings
    """
    for tree in trees:
        if not _is_flattened(tree):
            walk(tree, levels=_MOST)  # finds where and why


def _is_flattened(tree: PyTree) -> bool:
    """Return whether JAX can flatten a tree, without a look at where its nodes are."""
    leaf_types: set[type] = {type(None)}
    count = NodeCount(tree, lambda node: children_of((), node))
    stack: list[tuple[Any, int]] = [(tree, 0)]
    while stack:
        node, depth = stack.pop()
        try:
            children = _children(node, leaf_types)
        except TreeError:
            return False
        if depth >= _MOST and children:
            return False
        count.add(len(children))
        stack += [(child, depth + 1) for child in children if type(child) not in leaf_types]
    return True


def _children(node: Any, leaf_types: set[type]) -> Any:
    """Return what JAX walks inside a node; the type of a leaf is remembered as such."""
    kind = type(node)
    if kind is dict:
        if {*map(type, node)} - {str}:
            return [child for _, child in children_of((), node) or ()]  # sorts the keys
        return node.values()
    if kind in _PLAIN:
        return node
    if tree_util.all_leaves([node]):
        leaf_types.add(kind)
        return ()
    try:
        return [child for _, child in children_of((), node) or ()]
    except TreeError:
        raise
    except Exception:  # of the class's own flattening, which JAX reports as it is
        return ()
