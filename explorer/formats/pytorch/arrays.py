"""The records of tensors as NumPy arrays: views of the mapped file, or copies of what is theirs.

What is stored in another form (negated, big-endian, packed) is copied. A copy takes the elements
of a tensor, or those from its first to its last, whichever are fewer: many tensors may share one
storage, and a view may repeat an element endlessly.
"""

from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING

from explorer import dtypes
from explorer.errors import FormatError, printable
from explorer.formats.ndarrays import numpy_dtype
from explorer.formats.pytorch.plain_names import PickledArray
from explorer.formats.pytorch.records import Tensor
from explorer.formats.pytorch.storages import TorchCheckpoint
from explorer.paths import Key, name_of
from explorer.storage.window import Window

if TYPE_CHECKING:
    import numpy as np

__all__ = ["mapped", "unpickled"]

_INTEGERS_OF = {"qint8": "int8", "quint8": "uint8", "qint32": "int32"}
_MAX_SPREAD = 16  # of packed numbers: those between the first and the last, to those wanted


def unpickled(path: str, array: PickledArray) -> "np.ndarray":
    """Return a NumPy array whose bytes are in the pickle.

    Raises:
        FormatError: they are spelled as text that is not bytes.
    """
    import numpy as np

    assert array.dtype is not None  # others are not leaves
    try:
        raw = array.data.encode("latin-1") if isinstance(array.data, str) else array.data
    except UnicodeEncodeError:
        found = "has a NumPy array whose bytes are spelled as other text than Latin-1"
        raise FormatError(path, found=found, cure="save the file again") from None
    raw = bytes(raw) if isinstance(raw, Window) else raw
    dtype = numpy_dtype(path, array.dtype.name or "")
    dtype = dtype.newbyteorder(">") if array.dtype.order == ">" else dtype
    flat = np.frombuffer(raw, dtype)
    return flat.reshape(array.shape, order="F" if array.fortran else "C")


def mapped(
    checkpoint: TorchCheckpoint,
    key: Key,
    tensor: Tensor,
    storage_bytes: "Callable[[str], np.ndarray]",
) -> "np.ndarray":
    """Return a tensor as an array.

    Args:
        checkpoint: the opened file.
        key: the tensor's, for errors.
        tensor: the record, checked against the storage.
        storage_bytes: returns the bytes of a storage.

    Raises:
        FormatError: the tensor has no values, or no array type holds its format.
    """
    import numpy as np

    storage = tensor.storage
    if storage is None:
        raise FormatError(
            checkpoint.path,
            found=f"tensor {printable(name_of(key))!r} is on the meta device",
            expected="a tensor with values",
            cure="select other tensors",
        )
    raw = storage_bytes(storage.key)[storage.start * storage.unit :]
    if dtypes.find(tensor.dtype).block > 1:
        return _packed(checkpoint.path, key, tensor, raw)
    dtype = numpy_dtype(checkpoint.path, _INTEGERS_OF.get(tensor.dtype, tensor.dtype))
    if 0 in tensor.shape:
        return np.empty(tensor.shape, dtype)
    begin = tensor.offset * dtype.itemsize
    is_swapped = checkpoint.big_endian and dtype.itemsize > 1
    if not is_swapped and not tensor.flags:
        return np.ndarray(tensor.shape, dtype, raw, begin, _strides(tensor, dtype.itemsize))

    def plain(found: "np.ndarray") -> "np.ndarray":
        return _flagged(_native(found, dtype) if is_swapped else found, tensor.flags)

    # an axis without a step repeats what is there once
    once = tuple(
        size if step else 1 for size, step in zip(tensor.shape, tensor.stride, strict=True)
    )
    span = _span(tensor)
    if prod(once) <= span:
        strides = _strides(tensor, dtype.itemsize)
        return np.broadcast_to(
            plain(np.ndarray(once, dtype, raw, begin, strides)), tensor.shape
        )
    flat = plain(np.ndarray((span,), dtype, raw, begin))
    return np.ndarray(tensor.shape, dtype, flat, 0, _strides(tensor, dtype.itemsize))


def _strides(tensor: Tensor, width: int) -> tuple[int, ...]:
    # the stride of an axis of one is any number
    steps = zip(tensor.stride, tensor.shape, strict=True)
    return tuple(step * width if size > 1 else 0 for step, size in steps)


def _span(tensor: Tensor) -> int:
    """Return the elements of the storage from a tensor's first to its last."""
    steps = zip(tensor.stride, tensor.shape, strict=True)
    return 1 + sum(step * (size - 1) for step, size in steps)


def _native(array: "np.ndarray", dtype: "np.dtype") -> "np.ndarray":
    """Return what is stored big-endian in the order of this machine; a complex number is two."""
    import numpy as np

    width = dtype.itemsize // (2 if dtype.kind == "c" else 1)
    if dtype.kind == "c":
        return array.view(dtype.newbyteorder(">")).astype(dtype)
    return array.view(np.dtype(f">u{width}")).astype(np.dtype(f"u{width}")).view(dtype)


def _flagged(array: "np.ndarray", flags: tuple[str, ...]) -> "np.ndarray":
    for flag in flags:
        array = array.conj() if flag == "conj" else -array
    return array


def _packed(path: str, key: Key, tensor: Tensor, raw: "np.ndarray") -> "np.ndarray":
    """Return packed numbers, one in each byte; of a byte, the lowest bits come first."""
    import numpy as np

    block = dtypes.find(tensor.dtype).block
    name = "uint8" if tensor.dtype.startswith("quint") else tensor.dtype
    dtype = numpy_dtype(path, name)
    if 0 in tensor.shape:
        return np.empty(tensor.shape, dtype)
    span = _span(tensor)
    if span > _MAX_SPREAD * prod(tensor.shape):
        raise FormatError(
            path,
            found=f"tensor {printable(name_of(key))!r} has packed numbers with others between them",
            expected="one after another",
            cure="select other tensors",
        )
    first, skip = divmod(tensor.offset, block)
    stored = raw[first : -(-(tensor.offset + span) // block)]
    bits = 8 // block
    parts = [stored >> (bits * part) & ((1 << bits) - 1) for part in range(block)]
    flat = np.stack(parts, axis=-1).reshape(-1)
    return np.ndarray(tensor.shape, dtype, flat, skip, _strides(tensor, 1))
