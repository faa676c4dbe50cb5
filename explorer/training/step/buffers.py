"""Buffers among the parameters, which no gradient reaches: no optimizer decays them either."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import tree_util

from explorer.identify.state import state_of
from explorer.tree.walk import Path, names_of

__all__ = ["stand_still", "without_buffers"]

# what `optax.MultiSteps` keeps of gradients; moments are of what decays too
_SUMS = "acc_grads"


def without_buffers(updates: Any, grads: Any, opt_state: Any = ()) -> Any:
    """Return updates that leave buffers as they are.

    A buffer is what is named as one, as DeepSeek's correction of its router
    (`e_score_correction_bias`), and has no gradient: what is called so and has one is learned,
    also where it had one in a batch before that `optax.MultiSteps` sums. Moments do not tell:
    decay may be in them. So what is learned and called so stands still in a step without any
    gradient, and moves on with the next.

    Args:
        updates: what an optimizer adds to the parameters, by weight decay too.
        grads: in the same structure.
        opt_state: of the optimizer, before these updates.

    >>> updates = {"router": {"e_score_correction_bias": jnp.ones(2), "kernel": jnp.ones(2)}}
    >>> still = without_buffers(updates, jax.tree.map(jnp.zeros_like, updates))["router"]
    >>> still["e_score_correction_bias"].tolist(), still["kernel"].tolist()
    ([0.0, 0.0], [1.0, 1.0])
    """

    def moved(still: Any, update: jax.Array) -> jax.Array:
        return update if still is False else jnp.where(still, 0, update)

    return jax.tree.map(moved, stand_still(grads, opt_state), updates)


def stand_still(grads: Any, opt_state: Any = ()) -> Any:
    """Return which parameters a step leaves as they are, for `without_buffers`.

    Args:
        grads, opt_state: as of `without_buffers`.

    Returns:
        In the same structure, False of what is not called a buffer, else an array of a bool.
    """

    def still(keys: Any, grad: jax.Array) -> Any:
        path = names_of(keys)
        if state_of(path, grad.shape, grad.dtype.name) is None:
            return False
        is_learned = jnp.any(grad != 0)
        for kept in _summed(opt_state, path, grad.shape):
            is_learned |= jnp.any(kept != 0)
        return ~is_learned

    return tree_util.tree_map_with_path(still, grads)


def _summed(opt_state: Any, path: Path, shape: tuple[int, ...]) -> list[jax.Array]:
    """Return the sums of the gradients of one parameter that an optimizer keeps."""
    found = []
    for keys, leaf in tree_util.tree_leaves_with_path(opt_state):
        names = names_of(keys)
        own = names[-len(path) :] == path and getattr(leaf, "shape", None) == shape
        if own and _SUMS in names[: -len(path)]:
            found.append(leaf)
    return found
