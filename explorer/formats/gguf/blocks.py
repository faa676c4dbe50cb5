"""Tensors in blocks of quantised numbers, dequantised to float32 by the gguf package."""

from typing import Any

from explorer.errors import FormatError, MissingPackageError
from explorer.formats.gguf.cursor import quoted
from explorer.formats.gguf.header import GGUFHeader, Layout
from explorer.formats.ndarrays import view
from explorer.formats.pieces import Pieces
from explorer.storage.pages import check_there, give_back
from explorer.storage.window import Bytes

__all__ = ["dequantised"]


def dequantised(
    data: Bytes, offset: int, part: GGUFHeader, key: str, layout: Layout
) -> Pieces:
    """Return a tensor whose blocks are dequantised when they are asked for.

    Raises:
        FormatError: the file is big-endian, or, when they are, nothing dequantises them.
        MissingPackageError: gguf is not installed.
    """
    import numpy as np

    what = f"tensor {quoted(key)} is {layout.dtype.name}"
    if part.order == ">":
        raise FormatError(
            part.path,
            found=f"{what} in a big-endian file",
            expected="a little-endian file, the only blocks that are dequantised",
            cure="run gguf-convert-endian FILE little",
        )
    kind = _kind_of(part.path, what, layout)
    raw = view(data, offset, (layout.nbytes,), np.dtype(np.uint8))
    size = layout.dtype.block_bytes

    def decode(first: int, last: int) -> np.ndarray:
        from gguf import dequantize

        stored = raw[first * size : last * size]
        check_there(stored)
        is_whole = stored.size == raw.size
        try:
            found = dequantize(
                stored.reshape(*layout.shape[:-1], -1) if is_whole else stored, kind
            )
        except (NotImplementedError, ValueError):  # no rule for it
            raise _unknown(part.path, what) from None
        if not is_whole:
            give_back(stored)
        return found.reshape(-1)

    blocks = layout.nbytes // size
    return Pieces(layout.shape, np.dtype(np.float32), blocks, layout.dtype.block, decode)


def _kind_of(path: str, what: str, layout: Layout) -> Any:
    """Return what the gguf package calls a block format."""
    try:
        from gguf import GGMLQuantizationType
    except ImportError:
        raise MissingPackageError(
            path,
            found=what,
            expected="the gguf package, which dequantises it",
            cure="pip install -e '.[gguf]' in the repository",
        ) from None
    try:
        kind = GGMLQuantizationType(layout.number)
    except ValueError:  # no such type yet
        raise _unknown(path, what) from None
    if kind.name.lower() != layout.dtype.name:  # a fork's type of the same number
        raise _unknown(path, what)
    return kind


def _unknown(path: str, what: str) -> FormatError:
    return FormatError(
        path,
        found=what,
        expected="a format that the gguf package dequantises",
        cure="update gguf, or select other tensors",
    )
