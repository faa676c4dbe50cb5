"""Several sequences in one row: which tokens see each other, and where each stands in its own."""

import jax
import jax.numpy as jnp

__all__ = ["same_run", "starts_of_runs"]


def starts_of_runs(segment_ids: jax.Array) -> jax.Array:
    """Return the index at which the run of equal numbers around each token begins.

    Args:
        segment_ids: [batch, length].

    >>> starts_of_runs(jnp.array([[1, 1, 2, 2, 2, 0]])).tolist()
    [[0, 0, 2, 2, 2, 5]]
    """
    index = jnp.arange(segment_ids.shape[1])
    changes = jnp.diff(segment_ids, axis=1, prepend=segment_ids[:, :1]) != 0
    return jax.lax.cummax(jnp.where(changes, index, 0), axis=1)


def same_run(starts: jax.Array) -> jax.Array:
    """Return the mask [batch, 1, queries, keys] of tokens that are in one run.

    >>> same_run(jnp.array([[0, 0, 2]]))[0, 0].astype(int).tolist()
    [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    """
    return (starts[:, :, None] == starts[:, None, :])[:, None]
