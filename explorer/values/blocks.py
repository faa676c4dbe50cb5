"""Two arrays of one shape as flat blocks that fit in the cache, in formats that can be subtracted."""

import threading
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

__all__ = [
    "BLOCK",
    "as_reals",
    "dot",
    "flat_blocks",
    "same_bits",
    "scratch",
    "widened",
    "words",
]

BLOCK = 1 << 16  # elements
_GATHERED = 1 << 22  # elements of an array that is not contiguous: a copy of whole rows
_EXACT_IN_FLOAT32 = (
    "bool",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "float16",
    "int4",
    "uint4",
    "int2",
    "uint2",
)
_NARROW = ("float8", "float6", "float4")


def as_reals(array: np.ndarray) -> np.ndarray:
    """Return complex numbers as pairs along a last axis; other arrays as they are."""
    if array.dtype.kind != "c":
        return array
    real = np.dtype(f"f{array.dtype.itemsize // 2}")
    return np.ascontiguousarray(array).view(real).reshape(*array.shape, 2)


def flat_blocks(
    a: np.ndarray, b: np.ndarray
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield blocks of both arrays in row-major order, each with its flat offset."""
    for offset, x, y in _contiguous(a, b):
        for start in range(0, x.size, BLOCK):
            yield offset + start, x[start : start + BLOCK], y[start : start + BLOCK]


def _contiguous(
    a: np.ndarray, b: np.ndarray
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield flat parts: all of arrays in row-major order; some rows of others, copied."""
    if a.flags.c_contiguous and b.flags.c_contiguous:
        yield 0, a.reshape(-1), b.reshape(-1)
        return
    row = max(1, a.size // max(1, len(a)))
    if row > _GATHERED and a.ndim > 1:
        for index in range(len(a)):
            for offset, x, y in _contiguous(a[index], b[index]):
                yield index * row + offset, x, y
        return
    step = max(1, _GATHERED // row)
    for start in range(0, len(a), step):
        x, y = (np.ascontiguousarray(side[start : start + step]) for side in (a, b))
        yield start * row, x.reshape(-1), y.reshape(-1)


def words(block: np.ndarray) -> np.ndarray | None:
    """Return the bits of each element as an unsigned number; None where there is no such one."""
    size = block.dtype.itemsize
    return block.view(f"u{size}") if size in (1, 2, 4, 8) else None


def same_bits(x: np.ndarray, y: np.ndarray) -> bool:
    """Return whether two flat, contiguous arrays of one format have the same bits."""
    if x.nbytes % 8 or not x.nbytes:
        return x.tobytes() == y.tobytes()
    left, right = x.view(np.uint64), y.view(np.uint64)
    if not np.array_equal(
        left[:_GLANCE], right[:_GLANCE]
    ):  # what changed has often all changed
        return False
    if left.size > BLOCK:
        return np.array_equal(left, right)
    return not np.not_equal(left, right, out=scratch().mask[: left.size]).any()


class Scratch(threading.local):
    """Memory of a block that passes share, of each thread its own."""

    def __init__(self) -> None:
        kinds = (np.dtype(np.float32), np.dtype(np.float64))
        self.mask = np.empty(BLOCK, bool)
        self.ones = {kind: np.ones(BLOCK, kind) for kind in kinds}
        self.change = {kind: np.empty(BLOCK, kind) for kind in kinds}


_GLANCE = 64
scratch = lru_cache(1)(Scratch)


def widened(block: np.ndarray) -> np.ndarray:
    """Return numbers as float32 where that is exact, else as float64.

    >>> import ml_dtypes
    >>> widened(np.array([1.5], ml_dtypes.bfloat16)).dtype, widened(np.array([1])).dtype
    (dtype('float32'), dtype('float64'))
    """
    if block.dtype in (np.float32, np.float64):
        return block
    name = block.dtype.name
    if name == "bfloat16":
        return (block.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    is_narrow = name in _EXACT_IN_FLOAT32 or name.startswith(_NARROW)
    return block.astype(np.float32 if is_narrow else np.float64)


def dot(x: np.ndarray, y: np.ndarray) -> float:
    """Return the sum of products of two flat arrays: runs of 1,024 folded in float64.

    >>> dot(np.ones(3000, np.float32), np.ones(3000, np.float32))
    3000.0
    """
    cut = x.size - x.size % _RUN
    total = float(np.dot(x[cut:], y[cut:]))
    if cut:
        runs = np.vecdot(x[:cut].reshape(-1, _RUN), y[:cut].reshape(-1, _RUN))
        total += float(runs.sum(dtype=np.float64))
    return total


_RUN = 1024
