"""Rows sorted by group, each times the matrix of its group: what experts are made of.

What is sparse depends on the backend. A TPU multiplies each row once (`jax.lax.ragged_dot`, which
XLA implements there). On a CPU, where `ragged_dot` multiplies every row by the matrix of every
group, this does it block by block, each row once but for the ends of the groups. On a GPU it is
`ragged_dot`, which multiplies every row by every matrix unless JAX is configured with
`jax_ragged_dot_use_gpu_pallas_triton_lowering`.
"""

import jax
import jax.numpy as jnp
from jax import lax

__all__ = ["grouped_product"]

# rows that are multiplied together on a CPU: fewer read a matrix too often, more reach too far
# into the next group
_LEAST, _MOST = 8, 128


def grouped_product(x: jax.Array, kernel: jax.Array, sizes: jax.Array) -> jax.Array:
    """Return [rows, outputs]: each row of x times the matrix of its group.

    Args:
        x: [rows, inputs], sorted by group.
        kernel: [groups, inputs, outputs].
        sizes: [groups], integers: the rows of each group, all rows together.

    >>> x, kernel = jnp.ones((3, 2)), jnp.stack([jnp.eye(2), 5 * jnp.eye(2)])
    >>> grouped_product(x, kernel, jnp.array([1, 2])).tolist()
    [[1.0, 1.0], [5.0, 5.0], [5.0, 5.0]]
    """
    return lax.platform_dependent(
        x, kernel, sizes, cpu=_product_by_blocks, default=lax.ragged_dot
    )


@jax.custom_vjp
def _product_by_blocks(x: jax.Array, kernel: jax.Array, sizes: jax.Array) -> jax.Array:
    return _multiplied(x, kernel, sizes, contracted=0)


def _multiplied(
    x: jax.Array, kernel: jax.Array, sizes: jax.Array, *, contracted: int
) -> jax.Array:
    """Return rows of x times the matrix of each, whose axis 0 or 1 is contracted."""
    blocks = _Blocks(x.shape[0], sizes)
    padded = blocks.padded(x)

    def multiply(index: jax.Array, found: jax.Array) -> jax.Array:
        group, start = blocks.at(index)
        rows = lax.dynamic_slice_in_dim(padded, start, blocks.size)
        matrix = lax.dynamic_index_in_dim(kernel, group, keepdims=False)
        product = lax.dot_general(rows, matrix, (((1,), (contracted,)), ((), ())))
        # what reaches into the next group is written over by it: starts only rise
        return lax.dynamic_update_slice_in_dim(found, product, start, 0)

    found = jnp.zeros((padded.shape[0], kernel.shape[2 - contracted]), x.dtype)
    return lax.fori_loop(0, blocks.count, multiply, found)[: x.shape[0]]


def _forward(
    x: jax.Array, kernel: jax.Array, sizes: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array, jax.Array]]:
    return _product_by_blocks(x, kernel, sizes), (x, kernel, sizes)


def _backward(
    kept: tuple[jax.Array, jax.Array, jax.Array], change: jax.Array
) -> tuple[jax.Array, jax.Array, None]:
    x, kernel, sizes = kept
    to_x = _multiplied(change, kernel, sizes, contracted=1)
    return to_x, _products_of_groups(x, change, sizes).astype(kernel.dtype), None


def _products_of_groups(x: jax.Array, y: jax.Array, sizes: jax.Array) -> jax.Array:
    """Return [groups, inputs, outputs]: of each group, the transpose of its x times its y."""
    blocks = _Blocks(x.shape[0], sizes)
    left, right = blocks.padded(x), blocks.padded(y)
    ends = jnp.cumsum(sizes)

    def add(index: jax.Array, found: jax.Array) -> jax.Array:
        group, start = blocks.at(index)
        rows = lax.dynamic_slice_in_dim(left, start, blocks.size)
        others = lax.dynamic_slice_in_dim(right, start, blocks.size)
        own = start + jnp.arange(blocks.size) < ends[group]
        product = jnp.where(own[:, None], rows, 0).T @ jnp.where(own[:, None], others, 0)
        return found.at[group].add(product)

    shape = (sizes.shape[0], x.shape[1], y.shape[1])
    return lax.fori_loop(0, blocks.count, add, jnp.zeros(shape, y.dtype))


_product_by_blocks.defvjp(_forward, _backward)


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
