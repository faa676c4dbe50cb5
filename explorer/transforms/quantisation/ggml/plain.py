"""Types without blocks: float32, float16, bfloat16."""

import numpy as np

from explorer.transforms.quantisation.ggml.arithmetic import Array, half

__all__ = [
    "decode_bfloat16", "decode_float16", "decode_float32",
    "encode_bfloat16", "encode_float16", "encode_float32",
]  # fmt: skip


def encode_float32(blocks: Array) -> list[Array]:
    """Return float32's bytes."""
    return [blocks.view(np.uint8)]


def encode_float16(blocks: Array) -> list[Array]:
    """Return the nearest float16's bytes; beyond its range, infinity's."""
    return [half(blocks).view(np.uint8)]


def encode_bfloat16(blocks: Array) -> list[Array]:
    """Return the nearest bfloat16's bytes, halves to even."""
    bits = blocks.view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> 16) & np.uint32(1))
    return [(rounded >> 16).astype(np.uint16).view(np.uint8)]


def decode_float32(blocks: Array) -> Array:
    """Return the values of float32's bytes."""
    return blocks.view(np.float32)


def decode_float16(blocks: Array) -> Array:
    """Return the values of float16's bytes."""
    return blocks.view(np.float16).astype(np.float32)


def decode_bfloat16(blocks: Array) -> Array:
    """Return the values of bfloat16's bytes."""
    return (blocks.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
