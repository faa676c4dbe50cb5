"""Two arrays of one shape as flat blocks that fit in the cache, in formats that can be subtracted."""

import threading
from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np

from explorer.storage.pages import check_there, give_back

__all__ = [
    "BLOCK",
    "Done",
    "as_reals",
    "dot",
    "flat_blocks",
    "flat_parts",
    "kept",
    "released",
    "same_bits",
    "scratch",
    "widened",
    "words",
]

BLOCK = 1 << 16  # elements
Done = Callable[[np.ndarray, np.ndarray], object]  # takes what was read of both sides
_RELEASED = 1 << 22  # elements that are read before their pages are given back
_SPREAD = 1 << 29  # bytes over which a part may be spread and still stay in memory
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


def flat_parts(array: np.ndarray, is_own: bool = False) -> Iterator[tuple[int, np.ndarray]]:
    """Yield parts of an array in row-major order, each with its flat offset.

    Args:
        array: contiguous.
        is_own: whether nothing else has seen it: pages of a mapped file are given back.
    """
    flat = array.reshape(-1)
    for start in range(0, flat.size, _RELEASED):
        part = flat[start : start + _RELEASED]
        check_there(part)
        yield start, part
        if is_own:
            give_back(part)


def kept(_: np.ndarray, __: np.ndarray) -> None:
    """Leave in memory what was read of two sides."""


def released(is_own_a: bool, is_own_b: bool) -> Done:
    """Return what gives back the pages of those sides that nothing else has seen."""
    if not (is_own_a or is_own_b):
        return kept

    def done(a: np.ndarray, b: np.ndarray) -> None:
        for side, is_own in ((a, is_own_a), (b, is_own_b)):
            if is_own and side.nbytes:
                begin, end = np.lib.array_utils.byte_bounds(side)
                if end - begin <= 2 * side.nbytes or end - begin > _SPREAD:
                    give_back(side)

    return done


def flat_blocks(
    a: np.ndarray, b: np.ndarray, done: Done = kept
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield blocks of both arrays in row-major order, each with its flat offset.

    Args:
        a, b: of one shape.
        done: called with each part that was read.
    """
    for offset, x, y in _contiguous(a, b, done):
        for start in range(0, x.size, BLOCK):
            yield offset + start, x[start : start + BLOCK], y[start : start + BLOCK]


def _contiguous(
    a: np.ndarray, b: np.ndarray, done: Done
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield flat parts: of arrays in row-major order as they are; rows of others, copied."""

    def check() -> None:
        check_there(a)
        check_there(b)

    if a.flags.c_contiguous and b.flags.c_contiguous:
        x, y = a.reshape(-1), b.reshape(-1)
        for start in range(0, x.size, _RELEASED):
            part = slice(start, start + _RELEASED)
            check()
            yield start, x[part], y[part]
            done(x[part], y[part])
        return
    row = max(1, a.size // max(1, len(a)))
    if row > _GATHERED and a.ndim > 1:
        for index in range(len(a)):
            for offset, x, y in _contiguous(a[index], b[index], done):
                yield index * row + offset, x, y
        return
    step = max(1, _GATHERED // row)
    for start in range(0, len(a), step):
        check()
        parts = a[start : start + step], b[start : start + step]
        x, y = map(np.ascontiguousarray, parts)
        yield start * row, x.reshape(-1), y.reshape(-1)
        done(*parts)


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
