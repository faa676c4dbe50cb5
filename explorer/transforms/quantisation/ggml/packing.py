"""Levels of some bits each, packed into bytes as ggml's blocks have them, and back.

A field of `bits` bits is packed `8 // bits` to a byte: those levels of a span that are one
stride from each other share a byte, the first in its low bits. `[n, size]` levels become
`[n, size * bits / 8]` bytes.
"""

import numpy as np

__all__ = ["pack", "unpack"]


def pack(levels: np.ndarray, bits: int, span: int) -> np.ndarray:
    """Pack levels: in every `span` of them, those `span * bits / 8` from each other share a byte.

    >>> pack(np.uint8([[1, 2, 3, 4]]), bits=4, span=4).tolist()
    [[49, 66]]
    """
    share = 8 // bits
    fields = levels.reshape(len(levels), -1, share, span // share)
    packed = fields[:, :, 0].copy()
    for place in range(1, share):
        packed |= fields[:, :, place] << (bits * place)
    return packed.reshape(len(levels), -1)


def unpack(packed: np.ndarray, bits: int, span: int) -> np.ndarray:
    """Return the levels that `pack` packed.

    >>> unpack(np.uint8([[49, 66]]), bits=4, span=4).tolist()
    [[1, 2, 3, 4]]
    """
    share = 8 // bits
    fields = packed.reshape(len(packed), -1, 1, span // share)
    shifts = np.arange(0, 8, bits, dtype=np.uint8)[:, None]
    return ((fields >> shifts) & np.uint8(2**bits - 1)).reshape(len(packed), -1)
