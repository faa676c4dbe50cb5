"""Rotary positions: frequencies, their scaling beyond the training length, the rotation.

Su et al. 2021 (RoPE), Chen et al. 2023 (linear), Peng et al. 2023 (dynamic, yarn), Ding et
al. 2024 (longrope), Dubey et al. 2024 (llama3).
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from explorer.architectures.attention_specs import RopeScaling, RopeSpec

__all__ = ["Rotation", "frequencies", "rotate", "rotation_of"]


class Rotation(NamedTuple):
    """Cosines and sines of the angles at every position, [batch or 1, length, size / 2]."""

    cos: jax.Array
    sin: jax.Array


def rotation_of(rope: RopeSpec, positions: jax.Array) -> Rotation:
    """Return the rotation at positions [batch or 1, length]."""
    rates = frequencies(rope, positions.max() + 1)
    angles = positions[..., None].astype(jnp.float32) * rates
    magnitude = rope.scaling.magnitude if rope.scaling else 1.0
    return Rotation(jnp.cos(angles) * magnitude, jnp.sin(angles) * magnitude)


@partial(jax.jit, static_argnames="interleaved")
def rotate(x: jax.Array, rotation: Rotation, interleaved: bool = False) -> jax.Array:
    """Return heads with their first entries rotated.

    Args:
        x: [batch, length, heads, entries].
        rotation: of `size` entries; the others are unchanged.
        interleaved: whether pairs are neighbours. The result has them in halves, which does
            not change the products of queries and keys.
    """
    cos, sin = rotation.cos[:, :, None], rotation.sin[:, :, None]
    size = 2 * cos.shape[-1]
    rotated, rest = x[..., :size].astype(jnp.float32), x[..., size:]
    if interleaved:
        a, b = rotated[..., ::2], rotated[..., 1::2]
    else:
        a, b = jnp.split(rotated, 2, -1)
    rotated = jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1)
    return jnp.concatenate([rotated.astype(x.dtype), rest], -1)


def frequencies(rope: RopeSpec, length: jax.Array | int) -> jax.Array | np.ndarray:
    """Return the angle per position of each pair, [size / 2].

    Args:
        rope: base and scaling.
        length: number of positions, on which "dynamic" and "longrope" depend.
    """
    scaling = rope.scaling
    exponents = np.arange(0, rope.size, 2, dtype=np.float32) / np.float32(rope.size)
    waves = np.float32(rope.theta) ** exponents
    if scaling is None:
        return 1 / waves
    match scaling.kind:
        case "linear":
            return 1 / waves / np.float32(scaling.factor)
        case "dynamic":
            return 1 / _dynamic_base(rope, scaling, length) ** exponents
        case "llama3":
            return _by_wavelength(scaling, 1 / waves)
        case "yarn":
            return _by_rotations(rope, scaling, waves)
        case "longrope":
            short, long = (
                np.array(factors, np.float32) * waves
                for factors in (scaling.short, scaling.long)
            )
            return 1 / jnp.where(length > scaling.original, long, short)


def _dynamic_base(
    rope: RopeSpec, scaling: RopeScaling, length: jax.Array | int
) -> jax.Array:
    """Return the base for a sequence; it grows with the length beyond that of training."""
    beyond = scaling.factor * (length / scaling.original) - (scaling.factor - 1)
    # a single pair has frequency 1 whatever the base
    power = rope.size / max(rope.size - 2, 1)
    grown = rope.theta * jnp.maximum(beyond, 1.0) ** power
    return jnp.where(length > scaling.original, grown, rope.theta)


def _by_wavelength(scaling: RopeScaling, rates: np.ndarray) -> np.ndarray:
    """Return frequencies with long wavelengths scaled, short kept, others interpolated."""
    turns = scaling.original * rates / np.float32(2 * math.pi)
    share = (turns - scaling.low) / (scaling.high - scaling.low)
    kept = np.clip(share, 0, 1).astype(np.float32)
    return (1 - kept) * rates / np.float32(scaling.factor) + kept * rates


def _by_rotations(rope: RopeSpec, scaling: RopeScaling, waves: np.ndarray) -> np.ndarray:
    """Return frequencies with few rotations in the training length scaled, others kept."""

    def pair(turns: float) -> float:
        """Return the pair with that many rotations within the training length."""
        ratio = math.log(scaling.original / (turns * 2 * math.pi))
        return rope.size * ratio / (2 * math.log(rope.theta))

    first, last = pair(scaling.beta_fast), pair(scaling.beta_slow)
    if scaling.truncate:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, rope.size - 1)
    width = last - first or 0.001
    ramp = (np.arange(rope.size // 2, dtype=np.float32) - np.float32(first)) / width
    share = np.clip(ramp, 0, 1).astype(np.float32)
    slow = 1 / (np.float32(scaling.factor) * waves)
    return slow * share + (1 / waves) * (1 - share)
