"""Embeddings of tokens, positions and image patches."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from explorer.architectures.specs import EmbeddingSpec, PatchesSpec, TokenSpec
from explorer.errors import InputError
from explorer.models.linear import normal

__all__ = ["Embedding", "Patches", "Token"]


class Embedding(nn.Module):
    """A table of vectors; with `dtype` None the output has the table's dtype."""

    spec: EmbeddingSpec
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        """Create the table."""
        shape = (self.spec.rows, self.spec.size)
        self.embedding = self.param("embedding", normal, shape, self.param_dtype)

    def __call__(self, indices: jax.Array) -> jax.Array:
        """Return the vectors [..., size] of indices [...]; NaN for an index out of range."""
        indices = indices + self.spec.offset if self.spec.offset else indices
        vectors = jnp.take(self.embedding, indices, axis=0)
        return vectors if self.dtype is None else vectors.astype(self.dtype)

    def logits(self, x: jax.Array) -> jax.Array:
        """Return the products [..., rows] of vectors [..., size] with the table (a tied head)."""
        return x @ self.embedding.T.astype(x.dtype)


class Token(nn.Module):
    """One learned vector, prepended to a sequence."""

    spec: TokenSpec
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Return [batch, 1 + length, size] for hidden states [batch, length, size]."""
        shape = (1, 1, self.spec.size)
        token = self.param("embedding", normal, shape, self.param_dtype)
        first = jnp.broadcast_to(token.astype(x.dtype), (x.shape[0], *shape[1:]))
        return jnp.concatenate([first, x], 1)


class Patches(nn.Module):
    """Patches of an image as vectors, row by row."""

    spec: PatchesSpec
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, pixels: jax.Array) -> jax.Array:
        """Return [batch, patches, size] for pixels [batch, height, width, channels].

        Raises:
            InputError: the pixels have another shape than the model expects.
        """
        spec = self.spec
        wanted = (spec.image, spec.image, spec.channels)
        if pixels.shape[1:] != wanted:
            raise InputError(
                "pixels",
                found=f"shape {pixels.shape}",
                expected=f"[batch, height, width, channels], the last three {wanted}",
            )
        shapes = spec.parameters()
        kernel = self.param("kernel", normal, shapes["kernel"], self.param_dtype)
        bias = self.param("bias", nn.initializers.zeros, shapes["bias"], self.param_dtype)
        dtype = self.dtype or kernel.dtype
        y = jax.lax.conv_general_dilated(
            pixels.astype(dtype),
            kernel.astype(dtype),
            window_strides=(spec.patch, spec.patch),
            padding="VALID",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return (y + bias.astype(dtype)).reshape(y.shape[0], -1, spec.size)
