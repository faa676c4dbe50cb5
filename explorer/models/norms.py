"""Normalisation over the last axis, computed in float32."""

from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from explorer.architectures.specs import NormSpec

__all__ = ["Norm", "normalize", "normed"]


class Norm(nn.Module):
    """LayerNorm or RMSNorm, with the gain and bias of its record."""

    spec: NormSpec
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Return x normalised, in the dtype of x."""
        spec, init = self.spec, nn.initializers
        scale = bias = None
        if spec.gain:
            start = init.zeros if spec.centred else init.ones
            scale = self.param("scale", start, (spec.size,), self.param_dtype)
        if spec.bias:
            bias = self.param("bias", init.zeros, (spec.size,), self.param_dtype)
        return normalize(spec, x, scale, bias)


def normed(
    spec: NormSpec | None, x: jax.Array, param_dtype: DTypeLike, name: str
) -> jax.Array:
    """Return x normalised by the submodule of that name, or x if there is no norm."""
    return x if spec is None else Norm(spec, param_dtype, name=name)(x)


@partial(jax.jit, static_argnums=0)
def normalize(
    spec: NormSpec, x: jax.Array, scale: jax.Array | None, bias: jax.Array | None
) -> jax.Array:
    """Return x normalised over its last axis.

    Args:
        spec: the kind of norm.
        x: [..., size].
        scale: [size], the gain, or the gain minus 1 if centred; or None.
        bias: [size], or None.
    """
    y = x.astype(jnp.float32)
    if spec.kind == "layer":
        y -= y.mean(-1, keepdims=True)
    y *= jax.lax.rsqrt(jnp.square(y).mean(-1, keepdims=True) + spec.eps)
    if scale is not None:
        gain = scale.astype(jnp.float32)
        y *= 1.0 + gain if spec.centred else gain
    if bias is not None:
        y += bias.astype(jnp.float32)
    return y.astype(x.dtype)
