"""A state as plain arrays, which any checkpoint reader can hold, and back."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import dtypes
from jax.sharding import SingleDeviceSharding

__all__ = ["plain_of", "shapes_for", "state_from"]


def plain_of(state: Any) -> Any:
    """Return a state with the words of random keys in their place.

    >>> plain_of({"rng": jax.random.key(7)})["rng"].tolist()
    [0, 7]
    """
    return jax.tree.map(lambda x: jax.random.key_data(x) if _is_key(x) else x, state)


def shapes_for(like: Any) -> Any:
    """Return the shapes, formats and shardings of the plain arrays of a state.

    Args:
        like: a state of arrays or of `jax.ShapeDtypeStruct`s; what says nothing of where
            it lies is for the default device.
    """
    return jax.tree.map(_placed, jax.eval_shape(plain_of, like), like)


def state_from(plain: Any, like: Any) -> Any:
    """Return the state of plain arrays: random keys where `like` has them."""
    return jax.tree.map(_typed, plain, like)


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, dtypes.prng_key)


def _typed(plain: jax.Array, like: Any) -> jax.Array:
    if not _is_key(like):
        return plain
    impl = jax.random.key_impl(jnp.empty((), like.dtype))
    return jax.random.wrap_key_data(plain, impl=impl)


def _placed(plain: jax.ShapeDtypeStruct, like: Any) -> jax.ShapeDtypeStruct:
    sharding = getattr(like, "sharding", None) or SingleDeviceSharding(jax.devices()[0])
    return jax.ShapeDtypeStruct(plain.shape, plain.dtype, sharding=sharding)
