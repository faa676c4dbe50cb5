"""Rows sorted by group, each times the matrix of its group: what experts are made of.

What is sparse depends on the backend. A TPU multiplies each row once (`jax.lax.ragged_dot`, which
XLA implements there). On a CPU, where `ragged_dot` multiplies every row by the matrix of every
group, this does it block by block, each row once but for the ends of the groups. On a GPU it is
`ragged_dot`, which multiplies every row by every matrix unless JAX is configured with
`jax_ragged_dot_use_gpu_pallas_triton_lowering`.

A loop whose number of turns is known when it runs has no derivative that goes backwards in JAX, and
`ragged_dot` is not made for every axis of `vmap`. Two primitives stand for the products, on every
backend. Both are linear in each of two arguments, and the transpose of each is one of the two:
derivatives of any order, in any direction, are made of them. Under `vmap` they are computed one
after the other. Their dimension numbers are those of `jax.lax.ragged_dot_general`, by which they are
read as what they are.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from explorer.models.grouped_loops import products_of_groups, rows_times_groups

__all__ = ["grouped_product"]

# of rows with the inputs of their matrices, or with the outputs; and of rows with rows
_ROWS = tuple(
    lax.RaggedDotDimensionNumbers(
        dot_dimension_numbers=(((1,), (1 + contracted,)), ((), ())),
        lhs_ragged_dimensions=(0,),
        rhs_group_dimensions=(0,),
    )
    for contracted in (0, 1)
)
_PRODUCTS = lax.RaggedDotDimensionNumbers(
    dot_dimension_numbers=(((0,), (0,)), ((), ())),
    lhs_ragged_dimensions=(0,),
    rhs_group_dimensions=(),
)


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
    return _times(x, kernel, sizes, 0, jnp.promote_types(x.dtype, kernel.dtype))


def _compute_rows(
    x: Any, kernel: Any, sizes: Any, *, ragged_dot_dimension_numbers: Any, dtype: Any
) -> jax.Array:
    numbers = ragged_dot_dimension_numbers
    contracted = _ROWS.index(numbers)

    def elsewhere(x: jax.Array, kernel: jax.Array, sizes: jax.Array) -> jax.Array:
        return lax.ragged_dot_general(x, kernel, sizes, numbers).astype(dtype)

    on_cpu = partial(rows_times_groups, contracted=contracted, dtype=dtype)
    return lax.platform_dependent(x, kernel, sizes, cpu=on_cpu, default=elsewhere)


def _compute_products(
    x: Any, y: Any, sizes: Any, *, ragged_dot_dimension_numbers: Any, dtype: Any
) -> jax.Array:
    numbers = ragged_dot_dimension_numbers

    def elsewhere(x: jax.Array, y: jax.Array, sizes: jax.Array) -> jax.Array:
        return lax.ragged_dot_general(x, y, sizes, numbers).astype(dtype)

    on_cpu = partial(products_of_groups, dtype=dtype)
    return lax.platform_dependent(x, y, sizes, cpu=on_cpu, default=elsewhere)


def _shape_of_rows(
    x: Any, kernel: Any, sizes: Any, *, ragged_dot_dimension_numbers: Any, dtype: Any
) -> Any:
    others = 2 - _ROWS.index(ragged_dot_dimension_numbers)
    return ShapedArray((x.shape[0], kernel.shape[others]), dtype)


def _shape_of_products(x: Any, y: Any, sizes: Any, *, dtype: Any, **_: Any) -> Any:
    return ShapedArray((sizes.shape[0], x.shape[1], y.shape[1]), dtype)


def _rows_backward(
    change: Any,
    x: Any,
    kernel: Any,
    sizes: Any,
    *,
    ragged_dot_dimension_numbers: Any,
    dtype: Any,
) -> list[Any]:
    contracted = _ROWS.index(ragged_dot_dimension_numbers)
    if ad.is_undefined_primal(x):
        return [_times(change, kernel, sizes, 1 - contracted, x.aval.dtype), None, None]
    sides = (change, x) if contracted else (x, change)
    settings = {"ragged_dot_dimension_numbers": _PRODUCTS, "dtype": kernel.aval.dtype}
    return [None, _products.bind(*sides, sizes, **settings), None]


def _products_backward(change: Any, x: Any, y: Any, sizes: Any, **_: Any) -> list[Any]:
    if ad.is_undefined_primal(x):
        return [_times(y, change, sizes, 1, x.aval.dtype), None, None]
    return [None, _times(x, change, sizes, 0, y.aval.dtype), None]


def _times(x: Any, kernel: Any, sizes: Any, contracted: int, dtype: Any) -> jax.Array:
    settings = {"ragged_dot_dimension_numbers": _ROWS[contracted], "dtype": dtype}
    return _rows.bind(x, kernel, sizes, **settings)


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


_rows = _bilinear("rows_times_groups", _compute_rows, _shape_of_rows, _rows_backward)
_products = _bilinear(
    "products_of_groups", _compute_products, _shape_of_products, _products_backward
)
