"""Inputs times quantised weights, without the weights where that pays."""

from math import prod
from typing import Any

import jax
import jax.numpy as jnp

from explorer.errors import TreeError, check_type
from explorer.transforms.quantisation.float8 import Float8
from explorer.transforms.quantisation.integers import Integers, unpacked
from explorer.transforms.quantisation.quantized import Quantized
from explorer.transforms.quantisation.torchao_layouts import CHANNELS, Int8WeightOnly
from explorer.tree.arrays import check_arrays

__all__ = ["dot"]


def dot(inputs: Any, weights: Quantized) -> jax.Array:
    """Return inputs times the weights of a linear layer: `[..., inputs] -> [..., outputs]`.

    Scales of outputs or of the tensor multiply the product; those of groups multiply sums over
    groups where inputs are few. Everything else, and fp8 in blocks, is dequantised first, which
    inside `jax.jit` takes memory for one matrix at a time.

    Args:
        inputs: floats, as wide as a row of the weights.
        weights: one matrix; of a stack, inside `jax.vmap` or `jax.lax.scan`.

    Returns:
        An array of the dtype of the inputs; sums are in float32.

    Raises:
        TreeError: a stack of matrices, or inputs of another width.

    >>> import numpy as np
    >>> weights = Quantized.of(np.eye(4, dtype="float32"), "int8", inputs_first=True)
    >>> dot(jnp.array([1.0, 2.0, 3.0, 4.0]), weights).tolist()
    [1.0, 2.0, 3.0, 4.0]
    """
    check_arrays("inputs", inputs)
    if len(jax.tree.leaves(inputs)) != 1 or isinstance(inputs, dict | list | tuple):
        check_type("inputs", inputs, (), "an array")
    check_type("weights", weights, Quantized, "what Quantized.of or quantize makes")
    x = jnp.asarray(inputs)
    _check(x, weights)
    parts = jax.lax.stop_gradient({n: jnp.asarray(p) for n, p in weights.parts.items()})
    codec = weights.codec.layout
    if isinstance(codec, Int8WeightOnly):
        codec = CHANNELS
    if isinstance(codec, Integers):
        found = _of_integers(x, codec, parts)
    elif isinstance(codec, Float8) and codec.spread != "block":
        found = _product(x, parts["values"]) * parts["scales"].reshape(-1)
    else:
        found = None
    if found is None:
        rows = Quantized(
            parts, weights.scheme, weights.matrix, weights.kind, weights.inputs_first
        ).rows()
        found = _product(x, rows)
    return found.astype(x.dtype)


def _check(x: jax.Array, weights: Quantized) -> None:
    if len(weights.shape) != 2:
        raise TreeError(
            "dot",
            found=f"weights are a stack {list(weights.shape)}",
            expected="one matrix: call it inside jax.vmap or jax.lax.scan",
        )
    width = weights.matrix[0 if weights.inputs_first else 1]
    if not x.ndim or x.shape[-1] != width:
        raise TreeError("dot", found=f"inputs {list(x.shape)}", expected=f"[..., {width}]")


def _product(x: jax.Array, rows: jax.Array) -> jax.Array:
    """Return x times the transpose of rows, in float32."""
    return jnp.matmul(x, rows.astype(x.dtype).T, preferred_element_type=jnp.float32)


def _of_integers(x: jax.Array, codec: Integers, parts: dict[str, Any]) -> jax.Array | None:
    width, steps = x.shape[-1], codec.steps(parts)
    values, zeros = unpacked(parts["values"], codec.bits, width), parts.get("zero_points")
    groups = steps.shape[1]
    if groups == 1:
        found = _product(x, values)
        if zeros is not None:
            sums = x.sum(-1, keepdims=True, dtype=jnp.float32)
            found = found - sums * zeros.astype(jnp.float32).reshape(-1)
        return found * steps.reshape(-1)
    group = codec.group or width
    if width % group or prod(x.shape[:-1]) > group // 32:
        return None  # sums over groups would take more than the weights
    cut = x.reshape(*x.shape[:-1], groups, group)
    numbers = values.reshape(-1, groups, group)
    if zeros is not None:
        numbers = numbers.astype(jnp.int16) - zeros.astype(jnp.int16)[:, :, None]
    sums = jnp.einsum(
        "...gi,ogi->...go", cut, numbers.astype(x.dtype), preferred_element_type=jnp.float32
    )
    return (sums * steps.T).sum(-2)
