"""ggml's float32 arithmetic on many blocks at once: [n, lanes], a block in each lane.

Sums are taken row after row, in the order of C's loop, and a product is rounded before it is
added to anything, as compiled for x86-64 without fused multiply-add, so that every lane has the
bits that C's loop has.
"""

import numpy as np

__all__ = [
    "Array",
    "as_bytes",
    "half",
    "inverse_of",
    "largest",
    "lowest",
    "nearest",
    "ordered_sum",
    "round_away",
    "to_int8",
]

Array = np.ndarray
_ALMOST_HALF = np.nextafter(np.float32(0.5), np.float32(0)).view(np.int32)
_MAGIC = np.float32(12582912.0)  # 1.5 * 2**23: adding it rounds to a whole number


def nearest(x: Array) -> Array:
    """Return the nearest whole numbers, halves to even, as ggml's nearest_int has them.

    Beyond 2**22, and for infinities and NaN, it is what C's trick leaves in the low bits.

    >>> nearest(np.float32([0.5, 1.5, -2.6])).tolist()
    [0, 2, -3]
    """
    found = np.add(x, _MAGIC, dtype=np.float32).view(np.int32)
    found &= 0x7FFFFF
    found -= 0x400000
    return found


def ordered_sum(terms: Array) -> Array:
    """Return the sum over the first axis, one row after another.

    >>> ordered_sum(np.float32([[1], [2], [3]])).tolist()
    [6.0]
    """
    if terms.shape[1] == 1:  # what NumPy would sum pairwise
        return np.add.accumulate(terms)[-1] + np.float32(0)
    # from 0, as in C: -0.0 comes out as 0.0
    return np.add.reduce(np.ascontiguousarray(terms), axis=0, initial=np.float32(0))


def largest(x: Array) -> tuple[Array, Array]:
    """Return each lane's largest magnitude, and the first value that has it; NaN is passed over.

    >>> [found.tolist() for found in largest(np.float32([[1], [-3], [3]]))]
    [[3.0], [-3.0]]
    """
    high, low = np.fmax.reduce(x, axis=0), np.fmin.reduce(x, axis=0)
    size = np.fmax(np.fmax(high, -low), np.float32(0))
    value = np.where(high == size, high, low)
    # ggml starts from 0, which neither -0.0 nor NaN exceeds
    value[~(size > 0)] = 0
    if (both := (high == -low) & (size > 0)).any():
        chosen = x[:, both]
        place = np.fmax(np.abs(chosen), np.float32(0)).argmax(0)[None]
        value[both] = np.take_along_axis(chosen, place, 0)[0]
    return size, value


def lowest(x: Array) -> Array:
    """Return each lane's lowest value; of 0.0 and -0.0, the first.

    >>> lowest(np.float32([[1, -0.0], [-3, 0.0]])).tolist()
    [-3.0, -0.0]
    """
    found = x.min(0)
    zeros = found == 0
    if zeros.any():
        chosen = x[:, zeros]
        found[zeros] = np.take_along_axis(chosen, chosen.argmin(0)[None], 0)[0]
    return found


def half(x: Array) -> Array:
    """Return the float16 nearest to each number; beyond its range, infinity."""
    return x.astype(np.float16)


def as_bytes(numbers: Array) -> Array:
    """Return one number of each block as a field of bytes."""
    return numbers[:, None].view(np.uint8)


def inverse_of(scale: Array) -> Array:
    """Return 1 / scale, and 0 for 0."""
    return np.where(scale == 0, np.float32(0), np.float32(1) / scale)


def to_int8(x: Array) -> Array:
    """Return C's conversion to a signed byte on x86: the low byte of a 32-bit integer.

    What does not fit into that is the lowest one, whose low byte is 0.
    """
    fits = np.abs(x) < 2147483648.0
    if not fits.all():
        x = np.where(fits, x, np.float32(0))
    return x.astype(np.int32).astype(np.int8)


def round_away(x: Array) -> Array:
    """Return the nearest whole numbers, halves away from zero, as C's roundf has them.

    >>> round_away(np.float32([0.5, -2.5, 0.49999997])).tolist()
    [1.0, -3.0, 0.0]
    """
    signs = x.view(np.int32) & np.int32(-0x80000000)
    # the largest number below a half: a half itself would lift what is just below one
    return np.trunc(x + (signs | _ALMOST_HALF).view(np.float32))
