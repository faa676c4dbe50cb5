"""Split a tree by a predicate and combine it again, keeping the same leaf objects.

Both parts have the structure of the tree, with None where the other part has the leaf.
A Flax metadata box or an NNX Variable is one leaf.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jax import tree_util

from explorer.errors import ExplorerError, TreeError, first_line
from explorer.tree.nesting import check_tree
from explorer.tree.types import PyTree
from explorer.tree.walk import Path, atom_types, names_of, place_of

__all__ = ["combine", "map_leaves", "partition"]


def partition(
    tree: PyTree, predicate: Callable[[Path, Any], bool] | PyTree
) -> tuple[PyTree, PyTree]:
    """Return the leaves that satisfy a predicate, and the other leaves, as two trees.

    Args:
        tree: any pytree; it is not modified.
        predicate: `predicate(path, leaf) -> bool`, where path is a tuple of names; or a
            tree of bools with the structure of `tree` or a prefix of it.

    Returns:
        Two trees with the structure of `tree` and the same leaf objects, None where the
        other tree has the leaf. `combine` is the inverse.

    Raises:
        TreeError: the tree of bools has another structure, or a leaf that is not a bool.

    >>> partition({"w": 1.0, "b": 2.0}, lambda path, leaf: path[-1] == "w")
    ({'b': None, 'w': 1.0}, {'b': 2.0, 'w': None})
    >>> partition({"w": 1.0, "b": [2.0, 3.0]}, {"w": True, "b": False})
    ({'b': [None, None], 'w': 1.0}, {'b': [2.0, 3.0], 'w': None})
    """
    paths, leaves, treedef = _flatten(tree)
    # a module of bools may be callable too, but is a node
    if callable(predicate) and tree_util.all_leaves([predicate]):
        chosen = _chosen_by_function(predicate, paths, leaves)
    else:
        chosen = _chosen_by_tree(predicate, tree)
    both = list(zip(leaves, chosen, strict=True))
    yes = [leaf if wanted else None for leaf, wanted in both]
    no = [None if wanted else leaf for leaf, wanted in both]
    return treedef.unflatten(yes), treedef.unflatten(no)


def combine(*trees: PyTree) -> PyTree:
    """Return one tree from the parts of `partition`: each leaf from the part that has it.

    Args:
        trees: trees with one structure, None where another has the leaf.

    Returns:
        A tree of the same leaf objects, None where no part has a leaf.

    Raises:
        TreeError: two parts have a leaf at one path, or their structures differ.

    >>> combine({"w": 1.0, "b": None}, {"w": None, "b": 2.0})
    {'b': 2.0, 'w': 1.0}
    """
    if not trees:
        raise TreeError("combine()", found="no arguments", expected="the parts of one tree")
    paths, first, treedef = _flatten(trees[0], none_is_leaf=True)
    columns = [first]
    for number, tree in enumerate(trees[1:], start=2):
        other_paths, leaves, other = _flatten(tree, none_is_leaf=True)
        if other != treedef:
            raise _different(paths, other_paths, number)
        columns.append(leaves)
    merged = []
    for path, *column in zip(paths, *columns, strict=True):
        present = [leaf for leaf in column if leaf is not None]
        if len(present) > 1:
            raise TreeError(
                place_of(path),
                found=f"a leaf in {len(present)} of the trees",
                expected="a leaf in one of them and None in the others",
                cure="combine the parts of one partition",
            )
        merged.append(present[0] if present else None)
    return treedef.unflatten(merged)


def map_leaves(fn: Callable[[Path, Any], Any], tree: PyTree) -> PyTree:
    """Return a tree with the same structure and `fn(path, leaf)` in place of each leaf.

    >>> map_leaves(lambda path, leaf: "/".join(path), {"a": [1, None]})
    {'a': ['a/0', None]}
    """
    paths, leaves, treedef = _flatten(tree)
    return treedef.unflatten(map(fn, paths, leaves))


def _flatten(tree: PyTree, none_is_leaf: bool = False) -> tuple[list[Path], list[Any], Any]:
    check_tree(tree)
    atoms = (*atom_types(), type(None)) if none_is_leaf else atom_types()
    found, treedef = tree_util.tree_flatten_with_path(
        tree, is_leaf=lambda node: isinstance(node, atoms)
    )
    return [names_of(keys) for keys, _ in found], [leaf for _, leaf in found], treedef


def _chosen_by_function(
    predicate: Callable[[Path, Any], Any], paths: list[Path], leaves: list[Any]
) -> list[bool]:
    try:
        return [bool(predicate(p, leaf)) for p, leaf in zip(paths, leaves, strict=True)]
    except ExplorerError:
        raise
    except Exception as error:  # the user's function may raise anything
        raise TreeError(
            "predicate",
            found=f"cannot be called with a path and a leaf: {first_line(error)}",
            expected="predicate(path, leaf) -> bool, or a tree of bools",
        ) from error


def _chosen_by_tree(mask: PyTree, tree: PyTree) -> list[bool]:
    """Return one bool per leaf of a tree, from a tree of bools that is a prefix of it."""
    check_tree(mask)
    bools, structure = tree_util.tree_flatten_with_path(mask)
    for keys, chosen in bools:
        if not isinstance(chosen, bool | np.bool_):
            raise TreeError(
                place_of(names_of(keys)),
                found=f"{type(chosen).__name__} in the tree of bools",
                expected="True or False",
            )
    try:
        subtrees = structure.flatten_up_to(tree)
    except ValueError as error:
        raise TreeError(
            "the tree of bools",
            found=f"does not fit the tree ({first_line(error)})",
            expected="its structure, or a prefix of it",
        ) from error
    chosen = [bool(chosen) for _, chosen in bools]
    counts = [len(_flatten(subtree)[1]) for subtree in subtrees]
    return [
        wanted for wanted, count in zip(chosen, counts, strict=True) for _ in range(count)
    ]


def _different(paths: Sequence[Path], others: Sequence[Path], number: int) -> TreeError:
    """Return the error for two trees with different structures."""
    expected, cure = "trees with one structure", "combine the parts of one partition"
    seen, other = set(paths), set(others)
    for path in (*paths, *others):
        if path not in seen or path not in other:
            here, there = (1, number) if path in seen else (number, 1)
            found = f"in tree {here} and not in tree {there}"
            return TreeError(place_of(path), found=found, expected=expected, cure=cure)
    found = f"other container types in tree {number} than in tree 1"
    return TreeError("the trees", found=found, expected=expected, cure=cure)
