"""Grids of whole numbers for groups of weights: scale and zero, codes, and back."""

from functools import partial

import jax
import jax.numpy as jnp

__all__ = ["dequantised", "grid_of", "pseudo_quantised", "quantised"]

_STEPS, _SMALLEST = 100, 0.2  # of the search: 1, 0.99, ... of the range, down to a fifth


@partial(jax.jit, static_argnames=("bits", "symmetric", "search"))
def grid_of(
    values: jax.Array, bits: int = 4, symmetric: bool = False, search: bool = False
) -> tuple[jax.Array, jax.Array]:
    """Return the scale and the code of zero of groups, each the last axis of an array.

    Args:
        values: [..., group].
        bits: of a code.
        symmetric: whether the code of zero is the middle one.
        search: whether a smaller range is taken where its mean squared error is less.

    >>> scale, zero = grid_of(jnp.array([[-1.0, 2.0]]), bits=2)
    >>> scale.tolist(), zero.tolist()
    ([1.0], [1.0])
    """
    values = jnp.asarray(values, jnp.float32)
    low = jnp.minimum(values.min(-1), 0.0)
    high = jnp.maximum(values.max(-1), 0.0)
    if symmetric:
        high = jnp.maximum(-low, high)
        low = jnp.where(low < 0, -high, low)
    is_zero = (low == 0) & (high == 0)
    low, high = jnp.where(is_zero, -1.0, low), jnp.where(is_zero, 1.0, high)
    if not search:
        return _grid(low, high, bits, symmetric)

    def error(share: jax.Array) -> jax.Array:
        scale, zero = _grid(share * low, share * high, bits, symmetric)
        codes = quantised(values, scale[..., None], zero[..., None], bits)
        after = dequantised(codes, scale[..., None], zero[..., None])
        return jnp.square(after - values).sum(-1)

    shares = 1 - jnp.arange(int((1 - _SMALLEST) * _STEPS)) / _STEPS
    best = shares[jnp.argmin(jax.lax.map(error, shares), 0)]
    return _grid(best * low, best * high, bits, symmetric)


def _grid(
    low: jax.Array, high: jax.Array, bits: int, symmetric: bool
) -> tuple[jax.Array, jax.Array]:
    most = 2**bits - 1
    scale = (high - low) / most
    middle = jnp.full_like(scale, (most + 1) / 2)
    return scale, middle if symmetric else jnp.round(-low / scale)


def quantised(values: jax.Array, scale: jax.Array, zero: jax.Array, bits: int) -> jax.Array:
    """Return the codes of values, rounded to the nearest, halves to even."""
    codes = jnp.round(values / scale) + zero
    return jnp.clip(codes, 0, 2**bits - 1).astype(jnp.uint8)


def dequantised(codes: jax.Array, scale: jax.Array, zero: jax.Array) -> jax.Array:
    """Return what codes stand for, in float32."""
    return scale * (codes.astype(jnp.float32) - zero)


@partial(jax.jit, static_argnames=("bits", "group", "symmetric", "search"))
def pseudo_quantised(
    weight: jax.Array,
    bits: int = 4,
    group: int | None = 128,
    symmetric: bool = False,
    search: bool = False,
) -> jax.Array:
    """Return a kernel [out, in] rounded to the nearest codes of its groups, in float32.

    >>> pseudo_quantised(jnp.array([[-1.0, 0.4, 2.0, 0.0]]), bits=2, group=4).tolist()
    [[-1.0, 0.0, 2.0, 0.0]]
    """
    outputs, inputs = weight.shape
    grouped = jnp.asarray(weight, jnp.float32).reshape(outputs, -1, group or inputs)
    scale, zero = grid_of(grouped, bits, symmetric, search)
    codes = quantised(grouped, scale[..., None], zero[..., None], bits)
    return dequantised(codes, scale[..., None], zero[..., None]).reshape(outputs, inputs)
