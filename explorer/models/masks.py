"""What an attention layer receives besides the hidden states: masks and rotary angles."""

import functools
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from explorer.architectures.architecture import Architecture, BlockSpec
from explorer.architectures.attention_specs import AttentionSpec
from explorer.models.cache import (
    Cache,
    CacheCall,
    DecodeStep,
    LayerCache,
    Prefill,
    attended,
)
from explorer.models.packing import same_run
from explorer.models.rotary import Rotation, rotation_of

__all__ = [
    "AttentionInputs",
    "attention_inputs",
    "build_mask",
    "prefill_inputs",
    "step_inputs",
]


class AttentionInputs(NamedTuple):
    """The inputs of one attention layer.

    `mask` [batch or 1, 1, queries, keys] is true for the keys that a query attends to, None
    for all; `padding` [batch, 1, 1, keys] is false for keys that no query attends to, None
    without padding; `rotation` is that of queries and keys, None without rotary positions;
    `cache` says how the layer's cache is used, None without one.
    """

    mask: jax.Array | None
    padding: jax.Array | None
    rotation: Rotation | None
    cache: CacheCall | None = None


def attention_inputs(
    architecture: Architecture,
    positions: jax.Array,
    attention_mask: jax.Array | None,
    runs: jax.Array | None = None,
) -> list[tuple[AttentionInputs, ...]]:
    """Return the inputs of each stage's blocks; equal masks and rotations are shared.

    Args:
        architecture: the model.
        positions: [batch or 1, length].
        attention_mask: [batch, length], 0 for padding.
        runs: [batch, length], where each token's sequence starts; None for one a row.
    """
    packed = None if runs is None else same_run(runs)

    @cache
    def mask(causal: bool, window: int | None) -> jax.Array | None:
        found = build_mask(positions.shape[1], causal, window, attention_mask)
        if packed is None:
            return found
        return packed if found is None else found & packed

    rotation = cache(lambda rope: rotation_of(rope, positions))
    padding = build_mask(positions.shape[1], False, None, attention_mask)

    def inputs(block: BlockSpec) -> AttentionInputs:
        attention = block.attention
        if isinstance(attention, AttentionSpec):
            allowed = mask(attention.causal, attention.window)
        else:
            allowed = mask(True, None)
        rope = attention.rope and rotation(attention.rope)
        return AttentionInputs(allowed, padding, rope)

    return [tuple(map(inputs, stage.blocks)) for stage in architecture.stages]


def prefill_inputs(
    architecture: Architecture, positions: jax.Array, lengths: jax.Array
) -> list[tuple[AttentionInputs, ...]]:
    """Return the inputs of each stage's blocks for prompts that fill an empty cache.

    Args:
        architecture: a causal model.
        positions: [batch, length].
        lengths: tokens of each sequence, [batch]; no token attends to the padding after them.
    """
    call = Prefill(lengths)
    return [
        tuple(each._replace(cache=call) for each in stage)
        for stage in attention_inputs(architecture, positions, None)
    ]


def step_inputs(
    architecture: Architecture, cache: Cache, scan: bool
) -> list[tuple[AttentionInputs, ...]]:
    """Return the inputs of each stage's blocks for one more token of every sequence.

    Args:
        architecture: a causal model.
        cache: of the tokens before.
        scan: whether its layers are stacked.
    """
    positions = cache.lengths[:, None]
    rotation = functools.cache(lambda rope: rotation_of(rope, positions))
    mask = functools.cache(lambda slots: attended(cache.lengths, slots))
    call = DecodeStep(cache.lengths)

    def inputs(block: BlockSpec, kept: LayerCache) -> AttentionInputs:
        rope, slots = block.attention.rope, kept[0].shape[2 if scan else 1]
        return AttentionInputs(mask(slots), None, rope and rotation(rope), call)

    start, found = 0, []
    for number, stage in enumerate(architecture.stages):
        kept = cache.layers[number] if scan else cache.layers[start:]
        found.append(tuple(map(inputs, stage.blocks, kept)))
        start += stage.layers
    return found


def build_mask(
    length: int, causal: bool, window: int | None, attention_mask: jax.Array | None = None
) -> jax.Array | None:
    """Return the mask [batch or 1, 1, queries, keys]; None if every query attends to all keys.

    Args:
        length: of the sequence; distances are between indices in it.
        causal: whether a query attends to no later key.
        window: how many positions a query attends to, its own included; on both sides if
            not causal. None for all.
        attention_mask: [batch, length], 0 or false for padding.

    >>> build_mask(3, True, 2)[0, 0].astype(int).tolist()
    [[1, 0, 0], [1, 1, 0], [0, 1, 1]]
    """
    keys = None if attention_mask is None else (attention_mask != 0)[:, None, None]
    if not causal and window is None:
        return keys
    near = _within_reach(length, causal, window)[None, None]
    return near if keys is None else near & keys


@partial(jax.jit, static_argnums=(0, 1, 2))
def _within_reach(length: int, causal: bool, window: int | None) -> jax.Array:
    ahead = jnp.arange(length) - jnp.arange(length)[:, None]
    allowed = ahead <= 0 if causal else jnp.ones_like(ahead, bool)
    return allowed if window is None else allowed & (jnp.abs(ahead) < window)
