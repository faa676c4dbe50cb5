"""Rows sorted by group, each times the matrix of its group: what experts are made of.

What is sparse depends on the backend. A TPU multiplies each row once (`jax.lax.ragged_dot`, which
XLA implements there). On a CPU, where `ragged_dot` multiplies every row by the matrix of every
group, this does it block by block, each row once but for the ends of the groups. On a GPU it is
`ragged_dot`, which multiplies every row by every matrix unless JAX is configured with
`jax_ragged_dot_use_gpu_pallas_triton_lowering`.

A loop whose number of turns is known when it runs has no derivative that goes backwards in JAX. Two
primitives stand for the loops of a CPU. Both are linear in each of two arguments, and the transpose
of each is one of the two: derivatives of any order, in any direction, are made of them.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import ShapedArray
from jax.custom_derivatives import SymbolicZero
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from explorer.models.grouped_loops import products_of_groups, rows_times_groups

__all__ = ["grouped_product"]


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


@jax.custom_jvp
def _product_by_blocks(x: jax.Array, kernel: jax.Array, sizes: jax.Array) -> jax.Array:
    return rows_times_groups(x, kernel, sizes, contracted=0, dtype=_wide(x, kernel))


@partial(_product_by_blocks.defjvp, symbolic_zeros=True)
def _product_and_change(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    x, kernel, sizes = primals
    product = partial(_rows.bind, contracted=0, dtype=_wide(x, kernel))
    found = product(x, kernel, sizes)
    # what is frozen has no change, and costs nothing
    to_x, to_kernel = (not isinstance(each, SymbolicZero) for each in tangents[:2])
    change = product(tangents[0], kernel, sizes) if to_x else jnp.zeros_like(found)
    if to_kernel:
        of_kernel = product(x, tangents[1], sizes)
        change = change + of_kernel if to_x else of_kernel
    return found, change


def _wide(x: jax.Array, kernel: jax.Array) -> Any:
    return jnp.promote_types(x.dtype, kernel.dtype)


def _shape_of_rows(x: Any, kernel: Any, sizes: Any, *, contracted: int, dtype: Any) -> Any:
    return ShapedArray((x.shape[0], kernel.shape[2 - contracted]), dtype)


def _shape_of_products(x: Any, y: Any, sizes: Any, *, dtype: Any) -> Any:
    return ShapedArray((sizes.shape[0], x.shape[1], y.shape[1]), dtype)


def _rows_backward(
    change: Any, x: Any, kernel: Any, sizes: Any, *, contracted: int, dtype: Any
) -> list[Any]:
    if ad.is_undefined_primal(x):
        settings = {"contracted": 1 - contracted, "dtype": x.aval.dtype}
        return [_rows.bind(change, kernel, sizes, **settings), None, None]
    sides = (change, x) if contracted else (x, change)
    return [None, _products.bind(*sides, sizes, dtype=kernel.aval.dtype), None]


def _products_backward(change: Any, x: Any, y: Any, sizes: Any, *, dtype: Any) -> list[Any]:
    if ad.is_undefined_primal(x):
        to_x = _rows.bind(y, change, sizes, contracted=1, dtype=x.aval.dtype)
        return [to_x, None, None]
    return [None, _rows.bind(x, change, sizes, contracted=0, dtype=y.aval.dtype), None]


def _bilinear(
    name: str, compute: Callable[..., jax.Array], shape: Any, backward: Any
) -> Primitive:
    """Return a primitive that is linear in the first and in the second of three arguments.

    Args:
        name: of the primitive.
        compute: what it computes, of arrays and settings that are named.
        shape: returns the shape of that.
        backward: returns the cotangents of the one argument that is unknown.
    """
    made = Primitive(name)
    made.def_impl(compute)
    made.def_abstract_eval(shape)
    mlir.register_lowering(made, mlir.lower_fun(compute, multiple_results=False))
    ad.defjvp(
        made,
        lambda change, x, y, sizes, **settings: made.bind(change, y, sizes, **settings),
        lambda change, x, y, sizes, **settings: made.bind(x, change, sizes, **settings),
        None,
    )

    def transposed(change: Any, *args: Any, **settings: Any) -> list[Any]:
        if isinstance(change, ad.Zero):
            return [None] * len(args)
        return backward(change, *args, **settings)

    def batched(args: Sequence[Any], axes: Sequence[Any], **settings: Any) -> Any:
        """Compute one after the other: their blocks differ."""
        several = [jnp.moveaxis(a, n, 0) for a, n in zip(args, axes) if n is not None]

        def one(own: list[Any]) -> jax.Array:
            left = iter(own)
            given = [a if n is None else next(left) for a, n in zip(args, axes)]
            return made.bind(*given, **settings)

        return lax.map(one, several), 0

    ad.primitive_transposes[made] = transposed
    batching.primitive_batchers[made] = batched
    return made


_rows = _bilinear("rows_times_groups", rows_times_groups, _shape_of_rows, _rows_backward)
_products = _bilinear(
    "products_of_groups", products_of_groups, _shape_of_products, _products_backward
)
