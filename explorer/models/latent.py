"""Multi-head latent attention (DeepSeek-V2, 2024): keys and values expanded, or latents kept."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from explorer.architectures.attention_specs import LatentAttentionSpec
from explorer.models.attention import Implementation, attend, unsupported, uses_cudnn
from explorer.models.cache import CacheView, DecodeStep, Latents
from explorer.models.linear import Linear
from explorer.models.masks import AttentionInputs
from explorer.models.norms import Norm, normed
from explorer.models.rotary import rotate

__all__ = ["LatentAttention"]


class LatentAttention(nn.Module):
    """Attention whose keys and values come from one small vector per token."""

    spec: LatentAttentionSpec
    param_dtype: DTypeLike = jnp.float32
    implementation: Implementation | None = None

    @nn.compact
    def __call__(
        self, x: jax.Array, inputs: AttentionInputs, cache: CacheView | None = None
    ) -> Any:
        """Return the output [batch, length, size] for hidden states of the same shape.

        With a cache, also the cache with the latents of these tokens.
        """
        spec, dtype = self.spec, self.param_dtype
        latent = Linear(spec.latent_down, dtype, name="latent_down")(x)
        latent, rotary_key = jnp.split(latent, [spec.latent_norm.size], -1)
        latent = Norm(spec.latent_norm, dtype, name="latent_norm")(latent)
        plain_query, rotary_query = jnp.split(self._heads(self._query(x)), [spec.nope], -1)
        rotary_key = rotary_key[:, :, None]
        if inputs.rotation is not None:
            interleaved = spec.rope.interleaved
            rotary_query = rotate(rotary_query, inputs.rotation, interleaved)
            rotary_key = rotate(rotary_key, inputs.rotation, interleaved)
        if uses_cudnn(self.implementation):
            raise unsupported("its values are shorter than its keys")
        up = Linear(spec.latent_up, dtype, name="latent_up")
        stored = kept = None
        if cache is not None:
            new = Latents(jnp.concatenate([latent, rotary_key[:, :, 0]], -1))
            stored, kept = cache.keep(inputs.cache, new)
        if isinstance(inputs.cache, DecodeStep) and isinstance(kept, Latents):
            attended = self._over_latents(kept, plain_query, rotary_query, inputs.mask, up)
        else:
            expanded = self._heads(up(latent))
            plain_key, value = jnp.split(expanded, [spec.nope], -1)
            # the rotary key is shared by all heads
            rotary_key = jnp.broadcast_to(rotary_key, rotary_query.shape)
            query = jnp.concatenate([plain_query, rotary_query], -1)
            key = jnp.concatenate([plain_key, rotary_key], -1)
            attended = attend(query, key, value, inputs.mask, scale=spec.scale)
        out = Linear(spec.out, dtype, name="out")(attended.reshape(*x.shape[:2], -1))
        return out if cache is None else (out, stored)

    @nn.nowrap
    def _over_latents(
        self,
        kept: Latents,
        plain_query: jax.Array,
        rotary_query: jax.Array,
        mask: jax.Array | None,
        up: Linear,
    ) -> jax.Array:
        """Return the same as with expanded keys and values, [batch, 1, heads, value entries].

        A query times a key that a matrix makes of a latent is the query times the matrix, times
        the latent: so latents are the keys and values of all heads.
        """
        spec, dtype = self.spec, plain_query.dtype
        kernel = jnp.asarray(up.get_variable("params", "kernel"), dtype)
        to_key, to_value = jnp.split(
            kernel.reshape(spec.latent_norm.size, spec.heads, -1), [spec.nope], -1
        )
        key = kept.latents[:, :, None].astype(dtype)
        query = jnp.concatenate(
            [jnp.einsum("bqhn,lhn->bqhl", plain_query, to_key), rotary_query], -1
        )
        latent = key[..., : spec.latent_norm.size]
        mixed = attend(query, key, latent, mask, scale=spec.scale)
        return jnp.einsum("bqhl,lhv->bqhv", mixed, to_value)

    @nn.nowrap
    def _heads(self, x: jax.Array) -> jax.Array:
        return x.reshape(*x.shape[:2], self.spec.heads, -1)

    @nn.nowrap
    def _query(self, x: jax.Array) -> jax.Array:
        """Return queries [batch, length, heads * entries], low-rank if the record has one."""
        spec, dtype = self.spec, self.param_dtype
        for name in ("query", "query_down"):
            if (linear := getattr(spec, name)) is not None:
                x = Linear(linear, dtype, name=name)(x)
        x = normed(spec.query_norm, x, dtype, "query_norm")
        return (
            x if spec.query_up is None else Linear(spec.query_up, dtype, name="query_up")(x)
        )
