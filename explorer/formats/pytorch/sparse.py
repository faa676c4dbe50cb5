"""Sparse tensors: listed at their dense size, and made dense when their values are wanted.

References:
    PyTorch documentation, torch.sparse: COO, CSR, CSC, BSR and BSC.
"""

from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING

from explorer import dtypes
from explorer.errors import FormatError, printable
from explorer.formats.pytorch.records import Sparse, Tensor
from explorer.formats.pytorch.tree import TorchLeaf
from explorer.paths import name_of

if TYPE_CHECKING:
    import numpy as np

__all__ = ["dense", "sparse_remarks"]

MAX_REMARKS = 5
MAX_DENSE = 1 << 32  # bytes of an array that is made dense


def sparse_remarks(leaves: list[TorchLeaf]) -> list[str]:
    """Return a note for each sparse tensor: how much of it is stored."""
    sparse = [(leaf.key, leaf.sparse) for leaf in leaves if leaf.sparse is not None]
    remarks = [
        f"{printable(name_of(key), 80)} is sparse ({tensor.layout.upper()}), counted at its "
        f"dense size: {prod(tensor.values.shape):,} of {prod(tensor.shape):,} elements are stored"
        for key, tensor in sparse[:MAX_REMARKS]
    ]
    more = len(sparse) - MAX_REMARKS
    return [*remarks, *([f"{more:,} more sparse tensors"] if more > 0 else [])]


def dense(
    path: str, name: str, tensor: Sparse, stored: "Callable[[Tensor], np.ndarray]"
) -> "np.ndarray":
    """Return a sparse tensor as a dense array; duplicates of an element are summed.

    Args:
        path: what errors call the file.
        name: what errors call the tensor.
        tensor: the record.
        stored: returns the array of a stored part.

    Raises:
        FormatError: it is too large, batched, or its parts contradict its size.
    """
    import numpy as np

    if any(_is_repeated(part) for part in (tensor.values, *tensor.indices.values())):
        raise FormatError(
            path,
            found=f"sparse tensor {printable(name)!r} has parts larger than what is stored",
            cure="select other tensors",
        )
    nbytes = dtypes.find(tensor.values.dtype).nbytes(prod(tensor.shape))
    values = stored(tensor.values)
    parts = [stored(part) for part in tensor.indices.values()]
    too_large = FormatError(
        path,
        found=f"sparse tensor {printable(name)!r} of shape {printable(tensor.shape, 60)} "
        "is batched, or too large to be made dense",
        expected=f"at most {MAX_DENSE:,} bytes",
        cure="select other tensors",
    )
    if nbytes > MAX_DENSE or any(part.ndim != 1 for part in parts[1:]):
        raise too_large
    try:
        array = np.zeros(tensor.shape, values.dtype)
    except MemoryError:
        raise too_large from None
    try:
        if tensor.layout == "coo":
            np.add.at(array, tuple(parts[0]), values)
        else:
            _add_compressed(array, tensor.layout, parts[0], parts[1], values)
    except (IndexError, ValueError, MemoryError):
        raise FormatError(
            path, found=f"sparse tensor {printable(name)!r} has indices outside its shape"
        ) from None
    return array


def _is_repeated(part: Tensor) -> bool:
    """Return whether a part has more elements than its storage, or rows without any."""
    stored = part.storage.nbytes if part.storage else 0
    return prod(size or 1 for size in part.shape) > max(stored, 1)


def _add_compressed(
    array: "np.ndarray",
    layout: str,
    pointers: "np.ndarray",
    minor: "np.ndarray",
    values: "np.ndarray",
) -> None:
    """Set what a compressed layout stores: along rows (CSR, BSR), or columns (CSC, BSC)."""
    import numpy as np

    lengths = np.diff(pointers)
    if (lengths < 0).any() or len(lengths) == 0 or lengths.sum() != len(minor):
        raise ValueError("pointers that do not count the indices")
    major = np.repeat(np.arange(len(lengths)), lengths)
    rows, columns = (major, minor) if layout in ("csr", "bsr") else (minor, major)
    if layout in ("csr", "csc"):
        array[rows, columns] = values
        return
    height, width = values.shape[1:3]
    for row, column, block in zip(rows.tolist(), columns.tolist(), values, strict=True):
        top, left = row * height, column * width
        array[top : top + height, left : left + width] = block
