"""What a causal model keeps of the tokens before the next one: keys and values, or latents.

Every sequence starts at slot 0, and the token at position p is kept in slot p % slots: a layer
that attends to a window keeps a ring of its size, any other a slot for every token. Slot s holds
a token that is attended to if s <= p, in a ring as well, where all slots do from p = slots - 1 on.
Keys are kept as they were rotated when their token came.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from explorer.architectures.architecture import Architecture, BlockSpec
from explorer.architectures.attention_specs import LatentAttentionSpec
from explorer.errors import InputError

__all__ = [
    "Cache",
    "CacheCall",
    "CacheView",
    "DecodeStep",
    "KeysValues",
    "Latents",
    "LayerCache",
    "Prefill",
    "attended",
    "check_causal",
    "make_cache",
    "slots_of",
]


class KeysValues(NamedTuple):
    """Keys and values [batch, slots, key-value heads, entries]; [layers, ...] where scanned."""

    keys: jax.Array
    values: jax.Array


class Latents(NamedTuple):
    """Latents with the rotary key of each token, [batch, slots, entries]; [layers, ...] where scanned."""

    latents: jax.Array


LayerCache = KeysValues | Latents


class Cache(NamedTuple):
    """What all layers keep.

    Attributes:
        layers: one for each layer; where layers are scanned, one for each block of each stage.
        lengths: tokens that are kept of each sequence, [batch].
    """

    layers: tuple[Any, ...]
    lengths: jax.Array


class Prefill(NamedTuple):
    """A call that fills an empty cache; `lengths` are the tokens of each sequence, [batch]."""

    lengths: jax.Array


class DecodeStep(NamedTuple):
    """A call with one more token of each sequence; `lengths` are the tokens before it, [batch]."""

    lengths: jax.Array


CacheCall = Prefill | DecodeStep


def make_cache(
    architecture: Architecture,
    batch: int,
    length: int,
    dtype: DTypeLike = jnp.float32,
    *,
    scan: bool = False,
) -> Cache:
    """Return an empty cache.

    Args:
        architecture: a causal language model.
        batch: sequences.
        length: tokens of the longest sequence, prompt and continuation.
        dtype: of what is kept; attention is computed in that of the model.
        scan: whether the module's layers are stacked.

    Raises:
        InputError: the model is not causal.

    >>> from explorer.architectures.resolve import resolve
    >>> gemma = resolve("gemma-3-270m").architecture
    >>> cache = make_cache(gemma, batch=1, length=1024, dtype="bfloat16")
    >>> [layer.keys.shape for layer in cache.layers[4:6]]
    [(1, 512, 1, 256), (1, 1024, 1, 256)]
    """
    check_causal(architecture)

    def kept(block: BlockSpec, stack: tuple[int, ...]) -> LayerCache:
        shape = (*stack, batch, slots_of(block, length))
        attention = block.attention
        if isinstance(attention, LatentAttentionSpec):
            return Latents(jnp.zeros((*shape, attention.latent_down.outputs), dtype))
        shape = (*shape, attention.kv_heads, attention.head_size)
        return KeysValues(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype))

    if scan:
        layers = tuple(
            tuple(kept(block, (stage.repeats,)) for block in stage.blocks)
            for stage in architecture.stages
        )
    else:
        layers = tuple(kept(block, ()) for block in architecture.blocks())
    return Cache(layers, jnp.zeros(batch, jnp.int32))


def slots_of(block: BlockSpec, length: int) -> int:
    """Return how many tokens a layer keeps of a sequence of that length."""
    attention = block.attention
    window = None if isinstance(attention, LatentAttentionSpec) else attention.window
    return length if window is None else min(window, length)


def check_causal(architecture: Architecture) -> None:
    """Raise an InputError if a model does not predict the next token from those before."""
    spec = architecture
    attentions = [each.attention for stage in spec.stages for each in stage.blocks]
    if any(not getattr(each, "causal", True) for each in attentions):
        raise InputError(
            spec.class_name,
            found="its attention is not causal: it does not continue texts",
            expected="a causal language model",
            cure="explorer.embed(target, texts) gives its vectors",
        )
    if spec.embed is None or (spec.lm_head is None and not spec.tied):
        raise InputError(
            spec.class_name,
            found="has no head that predicts tokens",
            expected="a causal language model",
        )


class CacheView(NamedTuple):
    """A layer's cache, or one layer of those of a stack.

    Attributes:
        cache: of the layer, or stacked.
        layer: its index in a stack; None without one.
    """

    cache: LayerCache
    layer: jax.Array | None = None

    def keep(
        self, call: CacheCall | None, new: LayerCache
    ) -> tuple[LayerCache, LayerCache]:
        """Return the cache with new tokens, and what it then keeps of this layer.

        Args:
            call: a prefill or a step.
            new: of the tokens of this call, [batch, tokens, ...]; in a prefill, padding
                follows the tokens of a sequence.
        """
        assert call is not None, "a cache comes with how it is used"
        layer, lengths = self.layer, call.lengths

        def changed(old: jax.Array, tokens: jax.Array) -> jax.Array:
            tokens = tokens.astype(old.dtype)
            slots = old.shape[1 if layer is None else 2]
            if isinstance(call, DecodeStep):
                index = (jnp.arange(len(lengths)), lengths % slots)
                tokens = tokens[:, 0]
            else:
                tokens = _last(tokens, lengths, slots)
                index = (slice(None), slice(tokens.shape[1]))
            return old.at[index if layer is None else (layer, *index)].set(tokens)

        stored = jax.tree.map(changed, self.cache, new)
        kept = jax.tree.map(lambda each: each if layer is None else each[layer], stored)
        return stored, kept


def _last(tokens: jax.Array, lengths: jax.Array, slots: int) -> jax.Array:
    """Return the last tokens of each sequence [batch, tokens, ...] in the order of a ring."""
    if tokens.shape[1] <= slots:
        return tokens
    last = lengths[:, None] - 1
    positions = jnp.maximum(last - (last - jnp.arange(slots)) % slots, 0)
    return tokens[jnp.arange(len(lengths))[:, None], positions]


def attended(lengths: jax.Array, slots: int) -> jax.Array:
    """Return which slots the token at position `lengths` attends to, [batch, 1, 1, slots]."""
    return (jnp.arange(slots) <= lengths[:, None])[:, None, None]
