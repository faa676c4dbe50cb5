"""Arrays in NumPy's layout in a file: formats by name, bytes per element, views of bytes."""

from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING

from explorer import dtypes
from explorer.errors import FormatError
from explorer.storage.window import Bytes, Window

if TYPE_CHECKING:
    import numpy as np

__all__ = ["descr_name", "item_bytes", "numpy_dtype", "view", "writable_view"]

_KINDS = {"b": "bool", "i": "int", "u": "uint", "f": "float", "c": "complex"}


def descr_name(descr: str) -> str | None:
    """Return the number format that NumPy spells `descr`, in either byte order; or None.

    >>> descr_name("<f4"), descr_name(">i8"), descr_name("|b1"), descr_name("|S5")
    ('float32', 'int64', 'bool', None)
    """
    order, kind, size = descr[:1], descr[1:2], descr[2:]
    if order not in ("<", ">", "|", "=") or kind not in _KINDS or not size.isdecimal():
        return None
    name = _KINDS[kind] if kind == "b" else f"{_KINDS[kind]}{8 * int(size[:3])}"
    dtype = dtypes.find(name)
    return name if str(dtype.block_bytes) == size and dtype.block == 1 else None


def item_bytes(name: str) -> int | None:
    """Return the bytes NumPy gives one element, at least one; None where it has no such format.

    >>> item_bytes("bfloat16"), item_bytes("int4"), item_bytes("q4_0"), item_bytes("str32")
    (2, 1, None, None)
    """
    dtype = dtypes.find(name)
    if dtype.kind in ("text", "key") or dtype.block >= 32:  # blocks of 32 are ggml's
        return None
    return dtype.block_bytes if dtype.block == 1 else 1


@lru_cache(maxsize=256)  # 10^5 tensors have a few formats
def numpy_dtype(path: str, name: str) -> "np.dtype":
    """Return the NumPy or ml_dtypes type with explorer's name for a number format.

    Raises:
        FormatError: no array type holds this format.
    """
    import ml_dtypes
    import numpy as np

    try:
        return np.dtype(getattr(ml_dtypes, name, name))
    except TypeError:
        raise FormatError(
            path,
            found=f"holds {name}",
            expected="a format that an array can hold",
            cure="select other tensors",
        ) from None


def view(
    data: Bytes | bytes | bytearray,
    offset: int,
    shape: tuple[int, ...],
    dtype: "np.dtype",
    is_fortran: bool = False,
) -> "np.ndarray":
    """Return the array at `offset`, in native byte order; mapped bytes are not copied."""
    import numpy as np

    if isinstance(data, Window):
        data, offset = _bytes_of(data, offset, shape, dtype), 0
    array = np.ndarray(shape, dtype, data, offset, order="F" if is_fortran else "C")
    return array if dtype.isnative else array.astype(dtype.newbyteorder("="))


def writable_view(
    data: Bytes, offset: int, shape: tuple[int, ...], dtype: "np.dtype"
) -> "np.ndarray":
    """Return the array at `offset`: a memmap of a copy-on-write mapping, else a copy."""
    import numpy as np

    if isinstance(data, Window):
        return np.ndarray(shape, dtype, bytearray(_bytes_of(data, offset, shape, dtype)))
    return np.ndarray(shape, dtype, data, offset).view(np.memmap)


def _bytes_of(
    data: Window, offset: int, shape: tuple[int, ...], dtype: "np.dtype"
) -> bytes:
    return bytes(data.part(offset, offset + prod(shape) * dtype.itemsize))
