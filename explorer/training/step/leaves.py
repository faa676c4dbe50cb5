"""Keys and arrays that a state begins with, in the only form that a step is traced for."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from explorer.errors import TreeError

__all__ = ["on_host", "strong", "typed_key"]


def typed_key(rng: Any) -> jax.Array:
    """Return a key of the new kind, of one of either kind."""
    if isinstance(rng, jax.Array | np.ndarray):
        if jnp.issubdtype(rng.dtype, jax.dtypes.prng_key) and rng.shape == ():
            return rng  # pyright: ignore[reportReturnType]
        if rng.dtype == jnp.uint32 and rng.ndim == 1:
            return jax.random.wrap_key_data(jnp.asarray(rng))
    raise TreeError(
        "rng", found=type(rng).__name__, expected="one key", cure="pass jax.random.key(0)"
    )


def strong(leaf: Any) -> Any:
    """Return a leaf whose format will not change: a weak one would be traced twice."""
    array = jnp.asarray(leaf)
    if jnp.issubdtype(array.dtype, jax.dtypes.extended):
        return array
    return array.astype(array.dtype)


def on_host(array: Any) -> Any:
    """Return an array as any mesh will take it: on every process and on no device."""
    if (
        not isinstance(array, jax.Array)
        or isinstance(array, Tracer)
        or not array.is_fully_addressable
    ):
        return array
    is_key = jnp.issubdtype(array.dtype, jax.dtypes.extended)
    return array if is_key else np.asarray(array)
