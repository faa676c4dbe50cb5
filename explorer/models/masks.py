"""What a layer knows of positions: which keys a query sees, and how heads are rotated."""

from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from explorer.architectures.architecture import Architecture, Block
from explorer.architectures.specs import Attention
from explorer.models.rotary import Rotation, rotation_of

__all__ = ["Sight", "sights_of", "visible"]


class Sight(NamedTuple):
    """What one layer sees.

    `mask` [batch or 1, 1, queries, keys] are the keys of each query, None for all; `padding`
    [batch, 1, 1, keys] is false for those that no query sees, None without any; `rotation`
    is of queries and keys, None where they are not rotated.
    """

    mask: jax.Array | None
    padding: jax.Array | None
    rotation: Rotation | None


def sights_of(
    architecture: Architecture, positions: jax.Array, attention_mask: jax.Array | None
) -> list[tuple[Sight, ...]]:
    """Return the sights of each stage's blocks; what is alike is computed once.

    Args:
        architecture: the model.
        positions: [batch or 1, length].
        attention_mask: [batch, length], 0 for padding.
    """

    @cache
    def mask(causal: bool, window: int | None) -> jax.Array | None:
        return visible(positions.shape[1], causal, window, attention_mask)

    rotation = cache(lambda rope: rotation_of(rope, positions))
    padding = visible(positions.shape[1], False, None, attention_mask)

    def sight(block: Block) -> Sight:
        attention = block.attention
        latent = not isinstance(attention, Attention)
        reach = (True, None) if latent else (attention.causal, attention.window)
        rope = attention.rope and rotation(attention.rope)
        return Sight(mask(*reach), padding, rope)

    return [tuple(map(sight, stage.blocks)) for stage in architecture.stages]


def visible(
    length: int, causal: bool, window: int | None, attention_mask: jax.Array | None = None
) -> jax.Array | None:
    """Return the mask [batch or 1, 1, queries, keys]; None where every query sees all.

    Args:
        length: of the sequence; distances are between indices in it.
        causal: whether a query sees no later key.
        window: how many positions a query sees, itself included; to both sides where not
            causal. None for all.
        attention_mask: [batch, length], 0 or false for padding.

    >>> visible(3, True, 2)[0, 0].astype(int).tolist()
    [[1, 0, 0], [1, 1, 0], [0, 1, 1]]
    """
    keys = None if attention_mask is None else (attention_mask != 0)[:, None, None]
    if not causal and window is None:
        return keys
    near = _near(length, causal, window)[None, None]
    return near if keys is None else near & keys


@partial(jax.jit, static_argnums=(0, 1, 2))
def _near(length: int, causal: bool, window: int | None) -> jax.Array:
    ahead = jnp.arange(length) - jnp.arange(length)[:, None]
    seen = ahead <= 0 if causal else jnp.ones_like(ahead, bool)
    return seen if window is None else seen & (jnp.abs(ahead) < window)
