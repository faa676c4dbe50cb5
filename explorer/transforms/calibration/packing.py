"""Codes of GPTQ as the parts that its checkpoints hold: qweight, qzeros, scales, g_idx.

A word of 32 bits holds the codes of neighbouring inputs of one output, the first in the lowest
bits; qzeros the codes of zero, minus 1, of neighbouring outputs.
"""

from typing import Any

import numpy as np

from explorer.errors import InputError
from explorer.transforms.calibration.gptq import GptqKernel

__all__ = ["gptq_parts", "gptq_values"]


def gptq_parts(kernel: GptqKernel, bits: int = 4) -> dict[str, np.ndarray]:
    """Return the tensors of a quantised layer, as AutoGPTQ's first format ("gptq") has them.

    Args:
        kernel: of `gptq`.
        bits: of its codes: 2, 4 or 8.

    Returns:
        qweight int32 [in * bits / 32, out], qzeros int32 [groups, out * bits / 32], scales float16
        [groups, out], g_idx int32 [in].

    Raises:
        InputError: other bits, inputs or outputs that do not fill words, or a code of zero that is
            0, which the format cannot hold.

    >>> import jax.numpy as jnp
    >>> kernel = GptqKernel(jnp.ones((8, 8), "uint8"), jnp.ones((8, 1)), jnp.full((8, 1), 8.0),
    ...     jnp.zeros(8, int))
    >>> parts = gptq_parts(kernel)
    >>> parts["qweight"].shape, hex(parts["qweight"][0, 0]), hex(parts["qzeros"][0, 0])
    ((1, 8), '0x11111111', '0x77777777')
    """
    codes = np.asarray(kernel.codes)
    zeros = np.asarray(kernel.zeros).astype(np.int64)
    if bits not in (2, 4, 8):
        raise InputError("bits", found=f"{bits}", expected="2, 4 or 8, which fill words")
    per_word = 32 // bits
    outputs, inputs = codes.shape
    for what, number in (("inputs", inputs), ("outputs", outputs)):
        if number % per_word:
            raise InputError(
                "kernel", found=f"{number:,} {what}", expected=f"a multiple of {per_word}"
            )
    if zeros.min() < 1:
        raise InputError(
            "zeros",
            found="a code of zero that is 0, of a group without negative weights",
            expected="1 or more, as this format stores it less 1",
            cure="quantise with symmetric=True",
        )
    return {
        "qweight": _packed(codes.T, bits, 0),
        "qzeros": _packed((zeros - 1).T, bits, 1),
        "scales": np.asarray(kernel.scales).T.astype(np.float16),
        "g_idx": np.asarray(kernel.groups).astype(np.int32),
    }


def gptq_values(parts: "dict[str, Any]", bits: int = 4) -> np.ndarray:
    """Return what the parts of a layer stand for, [out, in] in float32: the inverse.

    >>> import jax.numpy as jnp
    >>> kernel = GptqKernel(jnp.full((8, 8), 9, "uint8"), jnp.ones((8, 1)), jnp.full((8, 1), 8.0),
    ...     jnp.zeros(8, int))
    >>> gptq_values(gptq_parts(kernel))[0, 0]
    np.float32(1.0)
    """
    codes = _unpacked(parts["qweight"], bits, 0)
    zeros = _unpacked(parts["qzeros"], bits, 1) + 1
    groups = parts["g_idx"]
    scales = parts["scales"].astype(np.float32)[groups]
    return (scales * (codes - zeros[groups]).astype(np.float32)).T


def _packed(codes: np.ndarray, bits: int, axis: int) -> np.ndarray:
    """Return int32 words of the codes along an axis."""
    moved = np.moveaxis(codes.astype(np.uint32), axis, -1)
    words = moved.reshape(*moved.shape[:-1], -1, 32 // bits)
    shifts = np.arange(0, 32, bits, dtype=np.uint32)
    packed = np.bitwise_or.reduce(words << shifts, -1)
    return np.ascontiguousarray(np.moveaxis(packed, -1, axis)).view(np.int32)


def _unpacked(words: np.ndarray, bits: int, axis: int) -> np.ndarray:
    moved = np.moveaxis(np.ascontiguousarray(words).view(np.uint32), axis, -1)
    shifts = np.arange(0, 32, bits, dtype=np.uint32)
    codes = (moved[..., None] >> shifts) & np.uint32((1 << bits) - 1)
    return np.moveaxis(codes.reshape(*moved.shape[:-1], -1), -1, axis).astype(np.int64)
