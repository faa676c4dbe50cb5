"""Checks that the tensors of a header fill the file as the format requires."""

from math import prod
from operator import attrgetter, sub
from typing import TYPE_CHECKING

from explorer import dtypes
from explorer.errors import FormatError, printable
from explorer.formats.bounds import check_shape, shape_fault

if TYPE_CHECKING:
    from explorer.formats.safetensors.entries import Header

__all__ = ["check_offsets", "fits", "refuse_entry"]


def check_offsets(path: str, header: "Header") -> list[int]:
    """Return the bytes of each tensor, checked to fill the file together."""
    offsets = map(attrgetter("data_offsets"), header.entries.values())
    begins, ends = zip(*offsets, strict=True) if header.entries else ((), ())
    data_bytes = header.file_bytes - header.data_start
    if (*begins, data_bytes) != (0, *ends):
        _refuse_offsets(path, header, data_bytes)
    return list(map(sub, ends, begins))


def _refuse_offsets(path: str, header: "Header", data_bytes: int) -> None:
    """Raise for the first rule broken; tensors in another order than listed break none."""
    ordered = sorted(header.entries.items(), key=lambda item: item[1].data_offsets)
    reached = 0
    for name, entry in ordered:
        begin, end = entry.data_offsets
        place = f"tensor {printable(name)!r} at bytes {begin:,} to {end:,}"
        if end < begin:
            raise FormatError(path, found=f"{place} ends before it begins")
        if end > data_bytes:
            raise FormatError(
                path,
                found=f"{place} is beyond the {data_bytes:,} bytes of data",
                cure="the file is truncated: fetch it again",
            )
        if begin != reached:
            fault = "overlaps the tensor before it" if begin < reached else "leaves a hole"
            raise FormatError(
                path, found=f"{place} {fault}", expected=f"begin at {reached:,}"
            )
        reached = end
    if reached != data_bytes:
        raise FormatError(
            path,
            found=f"{data_bytes - reached:,} bytes after the last tensor",
            expected=f"{reached:,} bytes of data",
        )


def fits(dtype: str, shape: tuple[int, ...], nbytes: int) -> bool:
    """Return whether a tensor of this format and shape takes `nbytes` bytes."""
    known = dtypes.find_safetensors(dtype)
    if known is None:
        return False
    if shape_fault(shape, known.nbytes(1)):  # a million sizes must not become one number
        return False
    size = prod(shape)
    return known.nbytes(size) == nbytes and size % known.block == 0


def refuse_entry(path: str, header: "Header") -> None:
    """Raise for the first tensor whose format is unknown or whose size is not its bytes."""
    for name, entry in header.entries.items():
        begin, end = entry.data_offsets
        if fits(entry.dtype, entry.shape, end - begin):
            continue
        tensor = f"tensor {printable(name)!r}"
        dtype = dtypes.find_safetensors(entry.dtype)
        if dtype is None:
            raise FormatError(
                path,
                found=f"{tensor} has dtype {printable(entry.dtype, 40)!r}",
                expected="a dtype of the format, such as F32, BF16 or F8_E4M3",
            )
        check_shape(path, tensor, entry.shape, dtype.nbytes(1))
        shape, size = printable(list(entry.shape), 60), prod(entry.shape)
        if size % dtype.block:
            raise FormatError(
                path,
                found=f"{tensor} of shape {shape} and dtype {entry.dtype} ends inside a byte",
                expected=f"a multiple of {dtype.block} elements",
            )
        raise FormatError(
            path,
            found=f"{tensor} of shape {shape} and dtype {entry.dtype} has {end - begin:,} bytes",
            expected=f"{dtype.nbytes(size):,}",
        )
