"""Memory for one leaf: the whole of it, or the parts that this process's devices hold."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import prod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jax
    import numpy as np

__all__ = ["LeafParts"]

_ROWS, _COLUMNS = 128, 1024  # of a tile
_THREADS = 8
_LARGE = 1 << 22  # bytes that are worth a thread
_ALIGNMENT = 64  # bytes; XLA's requirement for memory on a CPU
_Index = tuple[tuple[int, int], ...]  # from and to, by axis


class LeafParts:
    """The parts of an array that are filled one after the other, and become one JAX array.

    Devices that hold the same part share its memory here.

    >>> import numpy as np
    >>> parts = LeafParts((2, 3), np.dtype("float32"))
    >>> parts.write((0,), np.float32([1, 2, 3])); parts.write((1,), np.zeros(3, "float32"))
    >>> parts.array().tolist()
    [[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: "np.dtype",
        sharding: "jax.sharding.Sharding | None" = None,
    ) -> None:
        self._shape, self._sharding = shape, sharding
        everything = (slice(None),) * len(shape)
        held = [everything]
        if sharding is not None:
            held = [*sharding.addressable_devices_indices_map(shape).values()]
        indices = {self._index(index) for index in held if index is not None}
        self._parts = _memory(indices, dtype)

    def write(self, at: tuple[int, ...], values: "np.ndarray") -> None:
        """Set the elements at an index of the leading axes, as far as parts hold them.

        Args:
            at: a number for each of some leading axes; () for the whole leaf.
            values: of the axes that are left.
        """
        for index, part in self._parts.items():
            leading, rest = index[: len(at)], index[len(at) :]
            if all(start <= n < stop for n, (start, stop) in zip(at, leading, strict=True)):
                here = tuple(n - start for n, (start, _) in zip(at, leading, strict=True))
                held = values[tuple(slice(*ends) for ends in rest) or ...]
                _copy(part[here or ...], held)

    def array(self) -> "jax.Array":
        """Return the parts as one array, on the devices that hold them."""
        import jax

        if self._sharding is None:
            (part,) = self._parts.values()
            return jax.device_put(part)

        def held(index: Any) -> "np.ndarray":
            return self._parts[self._index(index)]

        return jax.make_array_from_callback(self._shape, self._sharding, held)

    def _index(self, index: tuple[slice, ...]) -> _Index:
        return tuple(
            part.indices(size)[:2] for part, size in zip(index, self._shape, strict=True)
        )


def _copy(out: "np.ndarray", values: "np.ndarray") -> None:
    """Set an array; a large one by several threads, as memory is new and files are mapped."""
    if not out.flags.c_contiguous or not out.size:
        out[...] = values
        return
    matrix = _matrix(values)
    rows = out.reshape(matrix.shape)
    copy: Callable[[np.ndarray, np.ndarray], None] = _copy_rows
    if matrix.ndim > 1 and abs(matrix.strides[0]) < abs(matrix.strides[1]):
        copy, rows, matrix = _copy_transposed, rows.T, matrix.T
    threads = min(_THREADS, os.cpu_count() or 1, out.nbytes // _LARGE)
    if threads < 2:
        copy(rows, matrix)
        return
    step = -(-len(matrix) // threads)
    parts = [slice(start, start + step) for start in range(0, len(matrix), step)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda part: copy(rows[part], matrix[part]), parts))


def _copy_rows(out: "np.ndarray", values: "np.ndarray") -> None:
    out[...] = values


def _copy_transposed(out: "np.ndarray", values: "np.ndarray") -> None:
    """Set a matrix whose columns are contiguous from one whose rows are, a tile at a time.

    A tile is copied first to rows that begin on other lines of the cache: at a width of a power
    of two they would evict each other. Bits are moved as integers, which NumPy copies faster
    than the dtypes that are not its own.
    """
    import numpy as np

    bits = f"u{out.itemsize}" if out.itemsize in (1, 2, 4, 8) else out.dtype
    columns = out.T.view(bits)
    space = np.empty((_ROWS, _COLUMNS + _ALIGNMENT // out.itemsize), out.dtype)
    for left in range(0, values.shape[1], _COLUMNS):
        for top in range(0, len(values), _ROWS):
            read = values[top : top + _ROWS, left : left + _COLUMNS]
            tile = space[: read.shape[0], : read.shape[1]]
            tile[...] = read
            columns[left : left + _COLUMNS, top : top + _ROWS] = tile.view(bits).T


def _matrix(values: "np.ndarray") -> "np.ndarray":
    """Return an array as the transposed matrix that it is a view of; as it is without one."""
    import numpy as np

    for axis in range(1, values.ndim):
        shape = prod(values.shape[:axis]), prod(values.shape[axis:])
        try:
            matrix = np.reshape(values, shape, copy=False)
        except ValueError:  # it is not a matrix without a copy
            continue
        if abs(matrix.strides[0]) < abs(matrix.strides[1]):
            return matrix
    return values


def _memory(indices: set[_Index], dtype: "np.dtype") -> "dict[_Index, np.ndarray]":
    """Return arrays to fill, aligned so that JAX can use their memory without a copy.

    They share one allocation: the system gives large ones in large pages, with fewer faults.
    """
    import numpy as np

    shapes = {index: tuple(stop - start for start, stop in index) for index in indices}
    sizes = {index: prod(shape) * dtype.itemsize for index, shape in shapes.items()}
    padded = sum(-(-size // _ALIGNMENT) * _ALIGNMENT for size in sizes.values())
    raw = np.empty(padded + _ALIGNMENT, np.uint8)
    start, parts = -raw.ctypes.data % _ALIGNMENT, {}
    for index, size in sizes.items():
        parts[index] = raw[start : start + size].view(dtype).reshape(shapes[index])
        start += -(-size // _ALIGNMENT) * _ALIGNMENT
    return parts
