"""Multi-head latent attention (DeepSeek-V2, 2024), its keys and values expanded."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from explorer.architectures import specs
from explorer.models.attention import Implementation, attend, by_cudnn, unsupported
from explorer.models.linear import Linear
from explorer.models.masks import Sight
from explorer.models.norms import Norm, normed
from explorer.models.rotary import rotate

__all__ = ["LatentAttention"]


class LatentAttention(nn.Module):
    """Attention whose keys and values come from one small vector a token."""

    spec: specs.LatentAttention
    param_dtype: DTypeLike = jnp.float32
    implementation: Implementation | None = None

    @nn.compact
    def __call__(self, x: jax.Array, sight: Sight) -> jax.Array:
        """Return [batch, length, size] of the same."""
        spec, dtype = self.spec, self.param_dtype
        latent = Linear(spec.latent_down, dtype, name="latent_down")(x)
        latent, turning = jnp.split(latent, [spec.latent_norm.size], -1)
        latent = Norm(spec.latent_norm, dtype, name="latent_norm")(latent)
        expanded = self._heads(Linear(spec.latent_up, dtype, name="latent_up")(latent))
        fixed, value = jnp.split(expanded, [spec.nope], -1)
        query = self._heads(self._query(x))
        query_fixed, query_turning = jnp.split(query, [spec.nope], -1)
        turning = turning[:, :, None]
        if sight.rotation is not None:
            pair = spec.rope.interleaved
            query_turning = rotate(query_turning, sight.rotation, pair)
            turning = rotate(turning, sight.rotation, pair)
        turning = jnp.broadcast_to(turning, query_turning.shape)  # all heads share it
        query = jnp.concatenate([query_fixed, query_turning], -1)
        key = jnp.concatenate([fixed, turning], -1)
        if by_cudnn(self.implementation):
            raise unsupported("its values are shorter than its keys")
        seen = attend(query, key, value, sight.mask, scale=spec.scale)
        return Linear(spec.out, dtype, name="out")(seen.reshape(*x.shape[:2], -1))

    @nn.nowrap
    def _heads(self, x: jax.Array) -> jax.Array:
        return x.reshape(*x.shape[:2], self.spec.heads, -1)

    @nn.nowrap
    def _query(self, x: jax.Array) -> jax.Array:
        """Return queries [batch, length, heads * entries], through the low rank if any."""
        spec, dtype = self.spec, self.param_dtype
        for name in ("query", "query_down"):
            if (linear := getattr(spec, name)) is not None:
                x = Linear(linear, dtype, name=name)(x)
        x = normed(spec.query_norm, x, dtype, "query_norm")
        return (
            x if spec.query_up is None else Linear(spec.query_up, dtype, name="query_up")(x)
        )
