"""npz files written: a zip of arrays, uncompressed, so that they are mapped when they are read."""

from collections.abc import Callable, Sequence
from io import BytesIO
from typing import BinaryIO

from explorer import dtypes
from explorer.errors import InputError, printable
from explorer.formats.writing import OutgoingTensor, write_parts
from explorer.storage.archives import new_archive

__all__ = ["write"]

_NAMED_BY_NUMPY = ("float", "complex", "int", "uint", "bool")


def write(
    out: BinaryIO,
    place: str,
    tensors: Sequence[OutgoingTensor],
    done: Callable[[int], object] | None = None,
) -> None:
    """Write a file; `numpy.load` opens it.

    Args:
        out: the file.
        place: what errors call it.
        tensors: in their order.
        done: called with the bytes of each part that was written.

    Raises:
        InputError: a dtype that NumPy's format loses; bfloat16 it keeps as two nameless bytes.
        OSError: the file cannot be written.

    >>> import io, numpy as np
    >>> file, zeros = io.BytesIO(), np.zeros(3, "float32")
    >>> write(file, "a.npz", [OutgoingTensor("b", "float32", (3,), lambda: iter([zeros]))])
    >>> np.load(io.BytesIO(file.getvalue()))["b"].tolist()
    [0.0, 0.0, 0.0]
    """
    heads = [_head(place, each) for each in tensors]
    _check_names(place, tensors)
    with new_archive(out) as member:
        for each, head in zip(tensors, heads, strict=True):
            with member(f"{each.name}.npy", len(head) + each.nbytes) as file:
                file.write(head)
                write_parts(file, place, each, done)


def _head(place: str, tensor: OutgoingTensor) -> bytes:
    from numpy.lib import format as npy

    found = dtypes.find(tensor.dtype)
    is_named = found.kind in _NAMED_BY_NUMPY and found.block == 1
    if tensor.dtype == "bfloat16":
        descr = "|V2"
    elif is_named and (found.kind != "float" or found.bits >= 16):
        from explorer.formats.ndarrays import numpy_dtype

        descr = npy.dtype_to_descr(numpy_dtype(place, tensor.dtype))
    else:
        raise InputError(
            place,
            found=f"NumPy's format has no {tensor.dtype} ({printable(tensor.name, 80)})",
            expected="a plain number format",
            cure="write safetensors, or convert it with a dtype",
        )
    file = BytesIO()
    header = {"descr": descr, "fortran_order": False, "shape": tensor.shape}
    npy.write_array_header_1_0(file, header)
    return file.getvalue()


def _check_names(place: str, tensors: Sequence[OutgoingTensor]) -> None:
    seen: set[str] = set()
    for each in tensors:
        if each.name in seen or not each.name:
            raise InputError(
                place,
                found=f"would hold {printable(each.name)!r} twice"
                if each.name
                else "has a tensor without a name",
                expected="each name once",
            )
        seen.add(each.name)
