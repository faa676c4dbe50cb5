"""One block of a transformer, and the body of a scan over blocks."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from explorer.architectures.architecture import BlockSpec
from explorer.architectures.attention_specs import LatentAttentionSpec
from explorer.models.attention import Attention, Implementation
from explorer.models.cache import CacheView, LayerCache
from explorer.models.experts import Experts
from explorer.models.feedforward import Mlp
from explorer.models.latent import LatentAttention
from explorer.models.masks import AttentionInputs
from explorer.models.norms import normed

__all__ = ["Block", "Stage"]


class Block(nn.Module):
    """Attention and a feed-forward network, with the norms of its record."""

    spec: BlockSpec
    param_dtype: DTypeLike = jnp.float32
    implementation: Implementation | None = None

    @nn.compact
    def __call__(
        self, x: jax.Array, inputs: AttentionInputs, cache: CacheView | None = None
    ) -> Any:
        """Return hidden states [batch, length, size] for those of the block before.

        With a cache, also the cache with these tokens.
        """
        if cache is None:
            return self._blocked(x, inputs)[0]
        return self._blocked(x, inputs, cache)

    @nn.nowrap
    def _blocked(
        self, x: jax.Array, inputs: AttentionInputs, cache: CacheView | None = None
    ) -> tuple[jax.Array, LayerCache | None]:
        spec, dtype = self.spec, self.param_dtype
        before = normed(spec.attention_norm, x, dtype, "attention_norm")
        is_latent = isinstance(spec.attention, LatentAttentionSpec)
        kind: Any = LatentAttention if is_latent else Attention
        attention = kind(spec.attention, dtype, self.implementation, name="attention")
        stored = None
        if cache is None:
            attended = attention(before, inputs)
        else:
            attended, stored = attention(before, inputs, cache)
        attended = normed(spec.attention_post_norm, attended, dtype, "attention_post_norm")
        if spec.parallel:
            if spec.mlp_norm:
                before = normed(spec.mlp_norm, x, dtype, "mlp_norm")
            return x + attended + self._feed_forward(before), stored
        x = normed(spec.attention_sum_norm, x + attended, dtype, "attention_sum_norm")
        fed = self._feed_forward(normed(spec.mlp_norm, x, dtype, "mlp_norm"))
        return normed(spec.mlp_sum_norm, x + fed, dtype, "mlp_sum_norm"), stored

    @nn.nowrap
    def _feed_forward(self, x: jax.Array) -> jax.Array:
        """Return the output of the feed-forward network or the mixture of experts."""
        spec, dtype = self.spec, self.param_dtype
        if spec.mlp is not None:
            x = Mlp(spec.mlp, dtype, name="mlp")(x)
        if spec.moe is not None:
            x = Experts(spec.moe, dtype, name="moe")(x)
        return normed(spec.mlp_post_norm, x, dtype, "mlp_post_norm")


class Stage(nn.Module):
    """The blocks that a stage repeats: the body of a scan."""

    blocks: tuple[BlockSpec, ...]
    param_dtype: DTypeLike = jnp.float32
    implementation: Implementation | None = None

    @nn.compact
    def __call__(
        self,
        carry: tuple[jax.Array, tuple[LayerCache, ...] | None],
        inputs: tuple[AttentionInputs, ...],
        repeat: jax.Array | None = None,
    ) -> tuple[tuple[jax.Array, tuple[LayerCache, ...] | None], None]:
        """Return the hidden states after the blocks and the caches; and None.

        Args:
            carry: hidden states; the cache of each block, all its repeats stacked, or None.
            inputs: of each block.
            repeat: number of this repeat; None without caches.
        """
        x, caches = carry
        stored = []
        for index, (block, own) in enumerate(zip(self.blocks, inputs, strict=True)):
            name = f"block_{index}"
            module = Block(block, self.param_dtype, self.implementation, name=name)
            if caches is None:
                x = module(x, own)
            else:
                x, kept = module(x, own, CacheView(caches[index], repeat))
                stored.append(kept)
        return (x, None if caches is None else tuple(stored)), None
