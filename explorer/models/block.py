"""One block of a transformer, and a stage of them to scan over."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from explorer.architectures import architecture, specs
from explorer.models.attention import Attention, Implementation
from explorer.models.experts import Experts
from explorer.models.feedforward import Mlp
from explorer.models.latent import LatentAttention
from explorer.models.masks import Sight
from explorer.models.norms import normed

__all__ = ["Block", "Stage"]


class Block(nn.Module):
    """Attention and a feed-forward network, with what norms the record has."""

    spec: architecture.Block
    param_dtype: DTypeLike = jnp.float32
    implementation: Implementation | None = None

    @nn.compact
    def __call__(self, x: jax.Array, sight: Sight) -> jax.Array:
        """Return [batch, length, size] of the same."""
        spec, dtype = self.spec, self.param_dtype
        before = normed(spec.attention_norm, x, dtype, "attention_norm")
        is_latent = isinstance(spec.attention, specs.LatentAttention)
        kind: Any = LatentAttention if is_latent else Attention
        attention = kind(spec.attention, dtype, self.implementation, name="attention")
        seen = attention(before, sight)
        seen = normed(spec.attention_post_norm, seen, dtype, "attention_post_norm")
        if spec.parallel:
            own = normed(spec.mlp_norm, x, dtype, "mlp_norm") if spec.mlp_norm else before
            return x + seen + self._fed(own)
        x = normed(spec.attention_sum_norm, x + seen, dtype, "attention_sum_norm")
        fed = self._fed(normed(spec.mlp_norm, x, dtype, "mlp_norm"))
        return normed(spec.mlp_sum_norm, x + fed, dtype, "mlp_sum_norm")

    @nn.nowrap
    def _fed(self, x: jax.Array) -> jax.Array:
        """Return what the feed-forward network or the mixture of experts makes of x."""
        spec, dtype = self.spec, self.param_dtype
        if spec.mlp is not None:
            x = Mlp(spec.mlp, dtype, name="mlp")(x)
        if spec.moe is not None:
            x = Experts(spec.moe, dtype, name="moe")(x)
        return normed(spec.mlp_post_norm, x, dtype, "mlp_post_norm")


class Stage(nn.Module):
    """The blocks that a stage repeats, once: the body of a scan."""

    blocks: tuple[architecture.Block, ...]
    param_dtype: DTypeLike = jnp.float32
    implementation: Implementation | None = None

    @nn.compact
    def __call__(self, x: jax.Array, sights: tuple[Sight, ...]) -> tuple[jax.Array, None]:
        """Return the stream after each block, with that block's sight; and no output."""
        for index, (block, sight) in enumerate(zip(self.blocks, sights, strict=True)):
            name = f"block_{index}"
            x = Block(block, self.param_dtype, self.implementation, name=name)(x, sight)
        return x, None
