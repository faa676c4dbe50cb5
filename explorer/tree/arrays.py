"""Trees of arrays that can be computed with: of numbers, in memory that is still theirs."""

from numbers import Number
from types import ModuleType
from typing import Any

import jax
from jax.core import Tracer

from explorer.errors import InputError, TreeError
from explorer.tree.nesting import check_tree
from explorer.tree.types import PyTree
from explorer.tree.walk import names_of

__all__ = ["check_arrays", "check_concrete", "check_not_donated"]

_INT64 = 1 << 63


def check_not_donated(place: str, tree: PyTree) -> None:
    """Refuse a tree of which a step took over the memory.

    Raises:
        InputError: it did.
    """
    arrays = (leaf for leaf in jax.tree.leaves(tree) if isinstance(leaf, jax.Array))
    if any(not isinstance(x, Tracer) and x.is_deleted() for x in arrays):
        raise InputError(
            place,
            found="was donated to a step, which has reused its memory",
            expected="the newest state",
            cure="use what the step or fit returned, or Trainer(donate=False) to keep each",
        )


def check_concrete(place: str, tree: PyTree) -> None:
    """Refuse a tree with arrays that have no values: traced, or donated to a step.

    Raises:
        InputError: it has one.
    """
    check_tree(tree)
    check_not_donated(place, tree)
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(tree)):
        raise InputError(
            place,
            found="holds a traced array",
            expected="values",
            cure="call it outside jit",
        )


def check_arrays(place: str, tree: PyTree) -> None:
    """Refuse a tree with a leaf that is neither an array nor a number.

    Raises:
        TreeError: its path and its class are named.

    >>> check_arrays("the batch", {"x": 1.0, "y": "many"})
    Traceback (most recent call last):
    explorer.errors.TreeError: the batch/y: is str; expected an array of numbers
    """
    check_tree(tree)
    if all(map(_is_numeric, jax.tree.leaves(tree))):
        return
    for keys, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        if not _is_numeric(leaf):
            where = "/".join((place, *names_of(keys)))
            dtype = "" if isinstance(leaf, type) else getattr(leaf, "dtype", "")
            found = f"is an array of {dtype}" if dtype else f"is {type(leaf).__name__}"
            raise TreeError(where, found=found, expected="an array of numbers")


def _is_numeric(leaf: Any) -> bool:
    if isinstance(leaf, type | ModuleType) or not hasattr(leaf, "dtype"):
        is_huge = isinstance(leaf, int) and not -_INT64 <= leaf < _INT64
        return isinstance(leaf, Number) and not is_huge
    return getattr(leaf.dtype, "kind", "") not in ("O", "S", "U", "M", "m")
