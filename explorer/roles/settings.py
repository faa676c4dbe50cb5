"""Modules that are pytrees: their arrays apart from their settings.

Equinox, penzai and classes of one's own keep activation functions, strings, numbers and None
beside their arrays. Inside such a module everything that is not an array is a setting; in a
plain container it is a mistake.
"""

import sys
from collections.abc import Callable
from typing import Any

import jax
from jax.tree_util import Partial, all_leaves

from explorer.tree.nesting import check_tree

__all__ = ["frozen", "is_array", "is_module", "split_settings"]


def is_module(node: Any) -> bool:
    """Return whether an object is a pytree that can be called: a module that holds its arrays.

    >>> is_module({"kernel": 1.0}), is_module(jax.nn.relu)
    (False, False)
    """
    return (
        callable(node) and not isinstance(node, type | Partial) and not all_leaves([node])
    )


def is_array(leaf: Any) -> bool:
    """Return whether a leaf has a shape and a dtype, and is not a class that has them."""
    has_both = hasattr(leaf, "shape") and hasattr(leaf, "dtype")
    return has_both and not isinstance(leaf, type)


def frozen(tree: Any) -> Any:
    """Return a penzai model whose variables are nodes with their values; others as they are."""
    variables = sys.modules.get("penzai.core.variables")
    if variables is None:
        return tree
    return variables.freeze_state_vars(variables.freeze_params(tree))


def split_settings(tree: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Return a tree with None in place of the settings of its modules, and a function that
    fills them in again.

    >>> split_settings({"kernel": 1.0})[0]
    {'kernel': 1.0}
    """
    check_tree(tree)
    tree = frozen(tree)
    modules, outer = jax.tree.flatten(tree, is_leaf=is_module)
    if not any(map(is_module, modules)):
        return tree, lambda arrays: arrays
    parts = [_split(module) if is_module(module) else module for module in modules]

    def filled(arrays: Any) -> Any:
        nodes = outer.flatten_up_to(arrays)
        return outer.unflatten(
            _fill(part, node) if isinstance(part, _Split) else node
            for part, node in zip(parts, nodes, strict=True)
        )

    shown = [part.arrays if isinstance(part, _Split) else part for part in parts]
    return outer.unflatten(shown), filled


class _Split:
    """A module's arrays, and its other leaves in their places."""

    def __init__(self, arrays: Any, leaves: list[Any], treedef: Any):
        self.arrays, self.leaves, self.treedef = arrays, leaves, treedef


def _split(module: Any) -> _Split:
    leaves, treedef = jax.tree.flatten(module)
    arrays = treedef.unflatten([leaf if is_array(leaf) else None for leaf in leaves])
    return _Split(arrays, leaves, treedef)


def _fill(part: _Split, node: Any) -> Any:
    arrays = part.treedef.flatten_up_to(node)
    pairs = zip(part.leaves, arrays, strict=True)
    return part.treedef.unflatten(new if is_array(old) else old for old, new in pairs)
