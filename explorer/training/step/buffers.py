"""Buffers among the parameters, which no gradient reaches: no optimizer decays them either."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import tree_util

from explorer.identify.state import state_of
from explorer.tree.walk import names_of

__all__ = ["without_buffers"]


def without_buffers(updates: Any, grads: Any) -> Any:
    """Return updates that leave buffers as they are.

    A buffer is what is named as one, as DeepSeek's correction of its router
    (`e_score_correction_bias`), and has no gradient: what is called so and has one is learned.

    Args:
        updates: what an optimizer adds to the parameters, by weight decay too.
        grads: in the same structure.

    >>> updates = {"router": {"e_score_correction_bias": jnp.ones(2), "kernel": jnp.ones(2)}}
    >>> still = without_buffers(updates, jax.tree.map(jnp.zeros_like, updates))["router"]
    >>> still["e_score_correction_bias"].tolist(), still["kernel"].tolist()
    ([0.0, 0.0], [1.0, 1.0])
    """

    def still(keys: Any, update: jax.Array, grad: jax.Array) -> jax.Array:
        if state_of(names_of(keys), grad.shape, grad.dtype.name) is None:
            return update
        return jnp.where(jnp.any(grad != 0), update, jnp.zeros_like(update))

    return tree_util.tree_map_with_path(still, updates, grads)
