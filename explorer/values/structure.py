"""What an array's numbers show along its axes: n:m sparsity, and channels far from the others."""

from collections.abc import Iterator
from math import prod
from typing import Any, NamedTuple

import numpy as np

from explorer.formats.pieces import Pieces
from explorer.storage.pages import check_there, give_back
from explorer.values.arrays import is_sharded

__all__ = ["Channels", "outlier_channels", "zero_pattern"]

_ELEMENTS = 1 << 20
_FAR = 12.0  # robust standard deviations from the median
_TIMES = 3.0  # and so many times the median
_LEAST = 6  # channels, and elements in each: fewer have no norm in common


class Channels(NamedTuple):
    """Rows (axis 0) or columns (axis 1) whose norms are far above the median of all.

    `times` is the largest norm over the median.
    """

    axis: int
    channels: tuple[int, ...]
    times: float


def zero_pattern(array: Any, zeros: int, is_own: bool = False) -> str:
    """Return the n:m sparsity of a matrix: at most n of m elements in a row are not zero.

    Groups of 4, then of 8, are counted along the last axis, then along the first: inputs are
    the last one in PyTorch's and GGUF's order, the first in JAX's.

    Args:
        array: NumPy or JAX array, or `Pieces`, of two axes or more; of others there is no
            pattern. Of a sharded one each shard is read where it is.
        zeros: how many elements are 0. Below half of them no pattern is possible.
        is_own: whether nothing else has seen the array: pages of a mapped file are given back.

    >>> zero_pattern(np.array([[0, 5, 0, 7], [0, 0, 3, 0]]), 5)
    '2:4 along axis 1'
    """
    if (
        not zeros
        or len(array.shape) < 2
        or not prod(array.shape) // 2 <= zeros < prod(array.shape)
    ):
        return ""
    for axis in (len(array.shape) - 1, 0):
        for group in (4, 8):
            if array.shape[axis] % group == 0:
                most = _most_along(array, axis, group, is_own)
                if most is not None and most <= group // 2:
                    return f"{most}:{group} along axis {axis}"
    return ""


def _most_along(array: Any, axis: int, group: int, is_own: bool) -> int | None:
    """Return how many elements that are not zero a group along an axis has at most.

    None where the parts that a sharded array is in cut groups, or are in other processes.
    """
    most = 0
    for rows in _row_blocks(array, group):
        if rows is None or rows.shape[axis] % group:
            return None
        for part in _parts(rows.reshape(rows.shape[0], -1), axis, group):
            check_there(part)
            most = max(most, _most_in_a_group(part, axis, group))
            if is_own:
                give_back(part)
            if most > group // 2:
                return most
    return most


def _row_blocks(array: Any, group: int) -> Iterator[np.ndarray | None]:
    """Yield an array in parts of whole groups of rows: decoded, or of one device."""
    if isinstance(array, Pieces):
        row = prod(array.shape[1:])
        step = max(1, _ELEMENTS // (row * group)) * group
        for start in range(0, array.shape[0], step):
            end = min(start + step, array.shape[0])
            first, last = start * row // array.block, end * row // array.block
            yield array.decode(first, last).reshape(end - start, *array.shape[1:])
    elif is_sharded(array):
        if not array.is_fully_addressable and not array.is_fully_replicated:
            yield None
            return
        for shard in array.addressable_shards:
            starts = (cut.start or 0 for cut in shard.index)
            yield None if any(start % group for start in starts) else np.asarray(shard.data)
    else:
        yield np.asarray(array)


def _parts(matrix: np.ndarray, axis: int, group: int) -> Iterator[np.ndarray]:
    """Yield a matrix in parts of whole groups along its rows, or down its columns."""
    if axis and matrix.flags.c_contiguous:
        matrix = matrix.reshape(-1, group)
    unit = 1 if axis else group
    rows = max(1, _ELEMENTS // (matrix.shape[1] * unit)) * unit
    columns = max(1, _ELEMENTS // rows // group) * group
    for start in range(0, matrix.shape[0], rows):
        for first in range(0, matrix.shape[1], columns):
            yield matrix[start : start + rows, first : first + columns]


def _most_in_a_group(part: np.ndarray, axis: int, group: int) -> int:
    """Return how many elements that are not zero a group has at most."""
    there = part != 0
    if axis:
        counts = there.reshape(len(there), -1, group).sum(axis=2, dtype=np.uint8)
    else:
        counts = there.reshape(-1, group, there.shape[1]).sum(axis=1, dtype=np.uint8)
    return int(counts.max(initial=0))


def outlier_channels(matrix: np.ndarray, is_own: bool = False) -> list[Channels]:
    """Return the rows and the columns of a matrix whose norms are far above the others'.

    Far is 12 robust standard deviations (of the median absolute deviation) above the median
    and three times the median.

    Args:
        matrix: [m, n].
        is_own: whether nothing else has seen it: pages of a mapped file are given back.

    >>> matrix = np.ones((8, 6)); matrix[:, 2] = 40
    >>> outlier_channels(matrix)
    [Channels(axis=1, channels=(2,), times=40.0)]
    """
    found = []
    for axis, squares in enumerate(_squares(matrix, is_own)):
        norms = np.sqrt(squares)
        middle = float(np.median(norms))
        if norms.size < _LEAST or matrix.shape[1 - axis] < _LEAST or not middle:
            continue
        spread = 1.4826 * float(np.median(np.abs(norms - middle)))
        far = np.flatnonzero((norms > middle + _FAR * spread) & (norms > _TIMES * middle))
        if far.size:
            times = float(norms.max() / middle)
            found.append(Channels(axis, tuple(far.tolist()), times))
    return found


def _squares(matrix: np.ndarray, is_own: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums of squares of rows and of columns; what is not finite counts as 0."""
    of_rows = np.zeros(matrix.shape[0])
    of_columns = np.zeros(matrix.shape[1])
    step = max(1, _ELEMENTS // max(1, matrix.shape[1]))
    for start in range(0, matrix.shape[0], step):
        check_there(matrix)
        block = matrix[start : start + step].astype(np.float64)
        block[~np.isfinite(block)] = 0
        block *= block
        of_rows[start : start + step] = block.sum(axis=1)
        of_columns += block.sum(axis=0)
        if is_own:
            give_back(matrix[start : start + step])
    return of_rows, of_columns
