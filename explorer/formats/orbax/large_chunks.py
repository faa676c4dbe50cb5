"""Arrays with a chunk far larger than their files, as zeros are, in the memory of one array.

tensorstore decodes a chunk beside the array that it is copied to. Here a decoded chunk is taken
from its cache a piece at a time and packed, which takes little where the files took little; the
chunk is dropped before the pieces are unpacked into the array.
"""

import zlib
from collections.abc import Callable, Iterator
from math import prod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

__all__ = ["TooLargeError", "chunk_bytes", "read_packed"]

_PIECE = 1 << 22  # bytes

_Region = tuple[slice, ...]


class TooLargeError(Exception):
    """A chunk that is large even when it is packed; its bytes are the argument."""


def chunk_bytes(array: Any) -> int:
    """Return the bytes of the chunks of a tensorstore array that are decoded by themselves."""
    return prod(array.chunk_layout.read_chunk.shape) * array.dtype.numpy_dtype.itemsize


def read_packed(open_array: Callable[[], Any], most: int) -> "np.ndarray":
    """Return an array, of whose chunks one is decoded at a time, before it gets its memory.

    Args:
        open_array: opens the array with a cache of its own, which holds a chunk.
        most: the bytes that a packed chunk may have.

    Raises:
        TooLargeError: a chunk has more.
    """
    import numpy as np

    array = open_array()
    shape, dtype = array.shape, array.dtype.numpy_dtype
    grid = array.chunk_layout.read_chunk.shape
    found = np.empty(shape, dtype)
    for chunk in _regions(tuple(slice(0, size) for size in shape), grid):
        pieces = list(_regions(chunk, _piece(grid, dtype.itemsize)))
        packed = _packed(array or open_array(), pieces, most)
        array = None  # and with it the cache, and the chunk
        _unpack(packed, [found[piece] for piece in pieces])
    return found


def _packed(array: Any, pieces: list[_Region], most: int) -> list[bytes]:
    packed: list[bytes] = []
    size, before = 0, b""
    for piece in pieces:
        raw = array[piece].read().result().tobytes()
        if raw == before:  # the same object: zeros take no time
            packed.append(packed[-1])
            continue
        packed.append(zlib.compress(raw, 1))
        before = raw
        size += len(packed[-1])
        if size > most:
            raise TooLargeError(chunk_bytes(array))
    return packed


def _unpack(packed: list[bytes], parts: "list[np.ndarray]") -> None:
    import numpy as np

    before, raw = b"", b""
    for each, part in zip(packed, parts, strict=True):
        if each is not before:
            raw = zlib.decompress(each, bufsize=part.nbytes)
            before = each
        part[...] = np.frombuffer(raw, part.dtype).reshape(part.shape)


def _regions(whole: _Region, grid: tuple[int, ...]) -> Iterator[_Region]:
    """Yield the parts that a grid cuts a region into.

    >>> list(_regions((slice(2, 5), slice(0, 4)), (2, 4)))
    [(slice(2, 4, None), slice(0, 4, None)), (slice(4, 5, None), slice(0, 4, None))]
    """
    if not whole:
        yield ()
        return
    axis, step = whole[0], grid[0]
    for start in range(axis.start, axis.stop, step):
        for rest in _regions(whole[1:], grid[1:]):
            yield (slice(start, min(start + step, axis.stop)), *rest)


def _piece(chunk: tuple[int, ...], item: int) -> tuple[int, ...]:
    """Return the shape of the pieces of a chunk: whole rows, as many as fit.

    >>> _piece((8, 4096, 1024), 4), _piece((1, 8 << 20), 1)
    ((1, 1024, 1024), (1, 4194304))
    """
    left, sizes = max(1, _PIECE // item), []
    for size in reversed(chunk):
        sizes.append(max(1, min(size, left)))
        left //= sizes[-1]
    return tuple(reversed(sizes))
