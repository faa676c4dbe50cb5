"""Multi-head latent attention (DeepSeek-V2, 2024), with expanded keys and values."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from explorer.architectures.attention_specs import LatentAttentionSpec
from explorer.models.attention import Implementation, attend, unsupported, uses_cudnn
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
    def __call__(self, x: jax.Array, inputs: AttentionInputs) -> jax.Array:
        """Return the output [batch, length, size] for hidden states of the same shape."""
        spec, dtype = self.spec, self.param_dtype
        latent = Linear(spec.latent_down, dtype, name="latent_down")(x)
        latent, rotary_key = jnp.split(latent, [spec.latent_norm.size], -1)
        latent = Norm(spec.latent_norm, dtype, name="latent_norm")(latent)
        expanded = self._heads(Linear(spec.latent_up, dtype, name="latent_up")(latent))
        plain_key, value = jnp.split(expanded, [spec.nope], -1)
        plain_query, rotary_query = jnp.split(self._heads(self._query(x)), [spec.nope], -1)
        rotary_key = rotary_key[:, :, None]
        if inputs.rotation is not None:
            interleaved = spec.rope.interleaved
            rotary_query = rotate(rotary_query, inputs.rotation, interleaved)
            rotary_key = rotate(rotary_key, inputs.rotation, interleaved)
        rotary_key = jnp.broadcast_to(rotary_key, rotary_query.shape)  # shared by all heads
        query = jnp.concatenate([plain_query, rotary_query], -1)
        key = jnp.concatenate([plain_key, rotary_key], -1)
        if uses_cudnn(self.implementation):
            raise unsupported("its values are shorter than its keys")
        attended = attend(query, key, value, inputs.mask, scale=spec.scale)
        return Linear(spec.out, dtype, name="out")(attended.reshape(*x.shape[:2], -1))

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
