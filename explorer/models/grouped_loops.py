"""The loops that a CPU multiplies groups of rows in, block by block."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

__all__ = ["products_of_groups", "rows_times_groups"]

# rows that are multiplied together: fewer read a matrix too often, more reach too far into the
# next group
_LEAST, _MOST = 8, 128


def rows_times_groups(
    x: jax.Array, kernel: jax.Array, sizes: jax.Array, *, contracted: int, dtype: DTypeLike
) -> jax.Array:
    """Return [rows, others]: each row of x times the matrix of its group.

    Args:
        x: [rows, n], sorted by group.
        kernel: [groups, inputs, outputs].
        sizes: [groups], integers: the rows of each group, all rows together.
        contracted: 0 where n are the inputs, 1 where they are the outputs.
        dtype: of what is returned.

    >>> x, kernel = jnp.ones((3, 1)), jnp.array([[[1.0, 2.0]], [[3.0, 4.0]]])
    >>> rows_times_groups(x, kernel, jnp.array([1, 2]), contracted=0, dtype="float32").tolist()
    [[1.0, 2.0], [3.0, 4.0], [3.0, 4.0]]
    """
    blocks = _Blocks(x.shape[0], sizes)
    padded = blocks.padded(x)

    def multiply(index: jax.Array, found: jax.Array) -> jax.Array:
        group, start = blocks.at(index)
        rows = lax.dynamic_slice_in_dim(padded, start, blocks.size)
        matrix = lax.dynamic_index_in_dim(kernel, group, keepdims=False)
        product = lax.dot_general(rows, matrix, (((1,), (contracted,)), ((), ())))
        # what reaches into the next group is written over by it: starts only rise
        return lax.dynamic_update_slice_in_dim(found, product.astype(dtype), start, 0)

    found = jnp.zeros((padded.shape[0], kernel.shape[2 - contracted]), dtype)
    return lax.fori_loop(0, blocks.count, multiply, found)[: x.shape[0]]


def products_of_groups(
    x: jax.Array, y: jax.Array, sizes: jax.Array, *, dtype: DTypeLike
) -> jax.Array:
    """Return [groups, inputs, outputs]: of each group, the transpose of its x times its y.

    Args:
        x: [rows, inputs], sorted by group.
        y: [rows, outputs], as x.
        sizes: [groups], integers: the rows of each group, all rows together.
        dtype: of what is returned.

    >>> x, y = jnp.array([[1.0], [2.0], [3.0]]), jnp.ones((3, 1))
    >>> products_of_groups(x, y, jnp.array([1, 2]), dtype="float32").ravel().tolist()
    [1.0, 5.0]
    """
    blocks = _Blocks(x.shape[0], sizes)
    left, right = blocks.padded(x), blocks.padded(y)
    ends = jnp.cumsum(sizes)
    wide = jnp.promote_types(x.dtype, y.dtype)

    def add(index: jax.Array, found: jax.Array) -> jax.Array:
        group, start = blocks.at(index)
        rows = lax.dynamic_slice_in_dim(left, start, blocks.size)
        others = lax.dynamic_slice_in_dim(right, start, blocks.size)
        own = start + jnp.arange(blocks.size) < ends[group]
        product = jnp.where(own[:, None], rows, 0).T @ jnp.where(own[:, None], others, 0)
        return found.at[group].add(product)

    shape = (sizes.shape[0], x.shape[1], y.shape[1])
    return lax.fori_loop(0, blocks.count, add, jnp.zeros(shape, wide)).astype(dtype)


class _Blocks:
    """Blocks of equally many rows, each of one group, but for what reaches into the next.

    Attributes:
        size: rows of a block, about those of a group.
        count: of the blocks, known when it runs.
    """

    def __init__(self, rows: int, sizes: jax.Array):
        each = -(-rows // max(1, sizes.shape[0]))
        self.size = min(_MOST, max(_LEAST, 1 << (each - 1).bit_length()))
        of_groups = -(-sizes // self.size)
        self._ends = jnp.cumsum(of_groups)
        # the row that block 0 would start at, if all before were of this group
        self._origins = jnp.cumsum(sizes) - sizes - (self._ends - of_groups) * self.size
        self.count = self._ends[-1] if sizes.shape[0] else 0

    def at(self, index: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the group of a block and its first row."""
        group = jnp.searchsorted(self._ends, index, side="right")
        return group, self._origins[group] + index * self.size

    def padded(self, x: jax.Array) -> jax.Array:
        """Return x with rows after it for the last block to reach into."""
        return jnp.pad(x, ((0, self.size), (0, 0)))
