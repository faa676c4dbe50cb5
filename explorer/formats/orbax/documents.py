"""The document of a Zarr array (`.zarray`, `zarr.json`): its shape, its format, its chunks.

All of it is checked before tensorstore opens the array, which allocates what a chunk claims.
"""

from math import prod
from typing import Annotated, Any

import msgspec

from explorer import dtypes
from explorer.errors import FormatError, printable
from explorer.formats.bounds import MAX_RANK, check_shape
from explorer.formats.ndarrays import descr_name, item_bytes
from explorer.formats.orbax.chunks import Chunks, codecs_of, is_blosc, number_of

__all__ = ["Head", "read_head"]

_Natural = Annotated[int, msgspec.Meta(ge=0)]
_Shape = tuple[_Natural, ...]
# A chunk may reach beyond its array, as at its end; a small one may be of any size.
_SMALL_CHUNK = 1 << 20


class Head(msgspec.Struct, frozen=True, gc=False):
    """The shape and format in an array's document, and its chunks."""

    shape: tuple[int, ...]
    dtype: str
    chunks: Chunks


class _Compressor(msgspec.Struct, gc=False):
    id: str = ""


class _Zarr2(msgspec.Struct, gc=False):
    shape: _Shape
    dtype: str
    chunks: _Shape = ()
    compressor: _Compressor | None = None


class _Chunks(msgspec.Struct, gc=False):
    chunk_shape: _Shape = ()


class _Grid(msgspec.Struct, gc=False):
    configuration: _Chunks | None = None


class _Zarr3(msgspec.Struct):
    shape: _Shape
    data_type: str
    chunk_grid: _Grid | None = None
    codecs: list[Any] = []


_decode_zarr2 = msgspec.json.Decoder(_Zarr2).decode
_decode_zarr3 = msgspec.json.Decoder(_Zarr3).decode


def read_head(folder: str, document: str, name: str, raw: bytes, *, is_zarr3: bool) -> Head:
    """Return the shape and format of an array.

    Args:
        folder: the folder of the store, for errors.
        document: what the document is called there, for errors.
        name: the array, for errors.
        raw: the document.
        is_zarr3: its version.

    Raises:
        FormatError: it is broken, or no array library can hold such an array or chunk.
    """
    what = f"array {printable(name)!r}"
    try:
        if is_zarr3:
            found = _decode_zarr3(raw)
            grid = found.chunk_grid and found.chunk_grid.configuration
            spelled, chunk = found.data_type, grid.chunk_shape if grid else ()
            codecs, inner = codecs_of(found.codecs)
        else:
            found = _decode_zarr2(raw)
            spelled, chunk = found.dtype, found.chunks
            codecs, inner = [found.compressor.id] if found.compressor else [], ()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(
            folder,
            found=f"{document} of {printable(name)!r} is broken ({error})",
            expected="a Zarr array's document",
        ) from None
    dtype = descr_name(spelled) or (spelled if item_bytes(spelled) else None)
    if dtype is None or len(found.shape) > MAX_RANK:
        raise FormatError(
            folder,
            found=f"{what} of rank {len(found.shape)} holds {printable(spelled, 40)!r}",
            expected=f"a number format, and a rank of at most {MAX_RANK}",
        )
    item = dtypes.find(dtype).nbytes(1)
    check_shape(folder, what, found.shape, item)
    check_shape(folder, f"the chunk of {what}", chunk, item)
    size, whole = prod(chunk) * item, prod(found.shape) * item
    _check_chunk(folder, what, size, whole)
    blosc = is_blosc(folder, what, codecs)
    number = number_of(found.shape, inner or chunk)
    return Head(found.shape, dtype, Chunks(number, size, whole, blosc))


def _check_chunk(folder: str, what: str, chunk: int, whole: int) -> None:
    if chunk > max(whole, _SMALL_CHUNK):
        raise FormatError(
            folder,
            found=f"{what} of {whole:,} bytes has chunks of {chunk:,}",
            expected="chunks that are not larger than their array",
            cure="copy the checkpoint again",
        )
