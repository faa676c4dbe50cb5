"""Small numbers and what they are multiplied by: what every packed weight comes down to."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

__all__ = ["Coded", "Parts", "finite_values", "unpacked"]

Parts = dict[str, np.ndarray]  # a layer's tensors by the endings of their names: "qzeros"


class Coded(NamedTuple):
    """Rows of a weight: (numbers - zero) * scale + offset, arrays that broadcast.

    `values` are all that a number can be, ascending.
    """

    numbers: np.ndarray
    scale: np.ndarray
    values: np.ndarray
    zero: np.ndarray | float = 0.0
    offset: np.ndarray | float = 0.0

    def decoded(self, numbers: np.ndarray | None = None) -> np.ndarray:
        """Return what the numbers stand for, or what others in their place would.

        >>> Coded(np.array([0, 3]), np.float32(0.5), np.arange(4), zero=2.0).decoded().tolist()
        [-1.0, 0.5]
        """
        found = np.asarray(self.numbers if numbers is None else numbers, np.float32)
        if np.any(self.zero):
            found = found - self.zero
        found = found * self.scale
        return found + self.offset if np.any(self.offset) else found


def unpacked(words: np.ndarray, bits: int, count: int) -> np.ndarray:
    """Return the integers in the words of a last axis, the first in the lowest bits.

    Args:
        words: [..., words] of any integers.
        bits: of each of the integers, 1 to 8; one may begin in a word and end in the next.
        count: how many there are; what is behind them is filling.

    Returns:
        uint8 [..., count].

    >>> unpacked(np.array([[0x21, 0x43]], np.uint8), 4, 4).tolist()
    [[1, 2, 3, 4]]
    """
    raw = np.ascontiguousarray(words)
    little = raw.astype(raw.dtype.newbyteorder("<"), copy=False)
    raw = little.view(np.uint8).reshape(*words.shape[:-1], -1)
    if bits == 8:
        return raw[..., :count]
    if bits in (1, 2, 4):
        each = 8 // bits
        found = np.empty((*raw.shape, each), np.uint8)
        for at in range(each):
            found[..., at] = (raw >> (bits * at)) & ((1 << bits) - 1)
        return found.reshape(*raw.shape[:-1], -1)[..., :count]
    stream = np.unpackbits(raw, axis=-1, bitorder="little")[..., : count * bits]
    wide = np.packbits(stream.reshape(*stream.shape[:-1], count, bits), -1, "little")
    return wide[..., 0]


@lru_cache(16)
def finite_values(dtype: np.dtype) -> np.ndarray:
    """Return every finite number of a format of at most 8 bits, ascending.

    >>> import ml_dtypes
    >>> finite_values(np.dtype(ml_dtypes.float4_e2m1fn)).tolist()[-4:]
    [2.0, 3.0, 4.0, 6.0]
    """
    codes = np.arange(256, dtype=np.uint8)
    if dtype.kind in "iu" and dtype.itemsize == 1:
        return np.sort(codes.view(dtype).astype(np.float32))
    with np.errstate(all="ignore"):
        numbers = codes.view(dtype).astype(np.float32)
    return np.unique(numbers[np.isfinite(numbers)])
