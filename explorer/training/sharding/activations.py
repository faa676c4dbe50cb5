"""Activations kept on the devices of the batch while a sharded step is traced.

Left to itself, XLA may move activations to where the parameters are instead of gathering
the parameters: for a small transformer on eight "fsdp" devices fifty times the traffic.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from explorer.training.sharding.batch_placement import batch_sharding

__all__ = ["activations_follow_batch"]

_SEQUENCE = "sequence"


def activations_follow_batch(
    mesh: Mesh | None, examples: int | None
) -> AbstractContextManager[Any]:
    """Return a context in which what Linen modules return is placed as the batch is.

    That is every float array whose first axis is as long as the batch. Where the mesh splits
    sequences, the second axis of what has three or more is split too, if it divides; other
    axes are left to XLA. It says where numbers are, never what they are.

    Args:
        mesh: of `make_mesh`; None for a context that does nothing.
        examples: how many the batch has; None as for `mesh`.
    """
    if mesh is None or examples is None:
        return nullcontext()
    whole = batch_sharding(mesh)
    own, axes, parts = whole.mesh, whole.spec, mesh.shape.get(_SEQUENCE, 1)

    def place(leaf: Any) -> Any:
        if not isinstance(leaf, jax.Array) or leaf.ndim < 2 or leaf.shape[0] != examples:
            return leaf
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return leaf
        rest: list[Any] = [PartitionSpec.UNCONSTRAINED] * (leaf.ndim - 1)
        if parts > 1 and leaf.ndim > 2 and leaf.shape[1] % parts == 0:
            rest[0] = _SEQUENCE
        sharding = NamedSharding(own, PartitionSpec(*axes, *rest))
        return lax.with_sharding_constraint(leaf, sharding)

    def intercept(call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
        returned = call(*args, **kwargs)
        if context.method_name != "__call__":
            return returned
        return jax.tree.map(place, returned)

    return nn.intercept_methods(intercept)
