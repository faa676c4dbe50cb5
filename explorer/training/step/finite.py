"""Gradients that are not finite: seen on the device, named on the host, never applied."""

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from explorer.errors import InputError, TreeError
from explorer.paths import name_of
from explorer.tree.nesting import check_tree
from explorer.tree.walk import names_of

__all__ = ["MAX_NAMED", "FiniteCheck", "check_finite", "names_of_bad", "update_if_finite"]

MAX_NAMED = 3


class FiniteCheck(NamedTuple):
    """The norm of all gradients, whether all is finite, and which gradients are not.

    `finite` is whether loss and norm are, and those of all earlier steps were. `bad`
    (int32 [3]) has the indices, in `jax.tree.leaves`, of the first gradients whose norm is
    not finite, and then -1.
    """

    grad_norm: jax.Array
    finite: jax.Array
    bad: jax.Array


def check_finite(loss: jax.Array, grads: Any, halted: Any = False) -> FiniteCheck:
    """Return whether loss and gradients are finite and no earlier step was `halted`.

    Squares are summed in float32 or wider. A gradient whose norm overflows that counts as
    infinite: an optimizer that squares it would find no finite update.

    >>> bad = {"a": jnp.ones(2), "b": jnp.array([jnp.nan]), "c": jnp.ones(2)}
    >>> check_finite(jnp.float32(1), bad).bad.tolist()
    [1, -1, -1]
    """
    squares = jnp.stack([_sum_of_squares(leaf) for leaf in jax.tree.leaves(grads)])
    norm = jnp.sqrt(squares.sum())
    bad = jnp.nonzero(~jnp.isfinite(squares), size=MAX_NAMED, fill_value=-1)[0]
    finite = jnp.isfinite(loss) & jnp.isfinite(norm) & ~jnp.asarray(halted)
    return FiniteCheck(norm, finite, bad.astype(jnp.int32))


def update_if_finite(
    finite: jax.Array, take: Callable[[], tuple[Any, Any]], old: Any
) -> Any:
    """Return the new state and the measurements of a step if it is finite, else `old` and NaN.

    A branch costs less than a selection between all new and old values: XLA keeps no copy of
    the old ones.

    Args:
        finite: a bool scalar.
        take: returns what is like `old`, and a tree of floating-point arrays.
        old: a tree of arrays.
    """

    def taken() -> tuple[Any, Any]:
        new, measured = take()
        return jax.tree.map(_cast_like, new, old), measured

    def kept() -> tuple[Any, Any]:
        measured = jax.eval_shape(take)[1]
        return old, jax.tree.map(lambda m: jnp.full(m.shape, jnp.nan, m.dtype), measured)

    return lax.cond(finite, taken, kept)


def names_of_bad(params: Any, bad: Any) -> tuple[str, ...]:
    """Return the paths of the tensors that a step's "bad" is about.

    Args:
        params: the parameters, or any tree of their structure.
        bad: "bad" of one step's metrics, on the host.

    >>> names_of_bad({"dense": {"bias": 0, "kernel": 0}}, [1, -1, -1])
    ('dense/kernel',)
    """
    try:
        numbers = [operator.index(number) for number in np.asarray(bad).tolist()]
    except TypeError:
        found = f"is {type(bad).__name__}"
        raise TreeError("bad", found=found, expected='"bad" of a step\'s metrics') from None
    check_tree(params)
    paths = [names_of(keys) for keys, _ in jax.tree_util.tree_flatten_with_path(params)[0]]
    if max(numbers, default=0) >= len(paths):
        found = f"names tensor {max(numbers)} of {len(paths)}"
        raise InputError("bad", found=found, expected="a place in these parameters")
    return tuple(name_of(paths[index]) for index in numbers if index >= 0)


def _sum_of_squares(leaf: jax.Array) -> jax.Array:
    wide = leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))
    return jnp.sum(jnp.real(wide * jnp.conj(wide))).astype(jnp.float32)


def _cast_like(leaf: jax.Array, other: Any) -> jax.Array:
    """Return a leaf in the format of another: one that changed would be traced again."""
    return leaf if leaf.dtype == other.dtype else leaf.astype(other.dtype)
