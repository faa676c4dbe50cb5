"""GGUF, the format of llama.cpp: one file, or a set named `-00001-of-0000N.gguf`.

Reading any part of a set reads the complete set. Shapes are row-major, as NumPy and PyTorch
see them: GGUF's `ne = [640, 262144]` is the tensor [262144, 640].
"""

import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from explorer.errors import FormatError
from explorer.formats.gguf.blocks import dequantised
from explorer.formats.gguf.cursor import quoted
from explorer.formats.gguf.header import (
    GGUFHeader,
    Layout,
    Scalar,
    find_repeated,
    read_header,
)
from explorer.formats.gguf.kinds import kind_of, kind_remarks
from explorer.formats.ndarrays import numpy_dtype, view, writable_view
from explorer.formats.pieces import Pieces
from explorer.inventory.listing import Listing
from explorer.inventory.tensor import Tie
from explorer.paths import Key
from explorer.storage.local import LOCAL
from explorer.storage.store import Store
from explorer.storage.window import Bytes, indexed

if TYPE_CHECKING:
    import numpy as np

__all__ = ["StoredBlocks", "blocks", "part_paths", "pieces", "read", "spans", "values"]

_PART = re.compile(r"(.*)-([0-9]{5})-of-([0-9]{5})(\.gguf)", re.DOTALL | re.IGNORECASE)

# Architectures of llama.cpp that have a token embedding and no language-model head.
_HEADLESS = frozenset(
    (
        "bert",
        "eurobert",
        "gemma-embedding",
        "jina-bert-v2",
        "jina-bert-v3",
        "llama-embed",
        "modern-bert",
        "neo-bert",
        "nomic-bert",
        "nomic-bert-moe",
        "t5encoder",
    )
)


def read(path: str, store: Store = LOCAL) -> Listing:
    """Return what the headers of a GGUF file, or of its complete set, list.

    Raises:
        TargetError: the file cannot be read.
        FormatError: a header breaks a rule of the format, or a part is missing.
    """
    parts = _read_parts(path, store)
    layouts = [layout for part in parts for layout in part.layouts]
    keys: list[Key] = [key for part in parts for key in part.keys]
    metadata = parts[0].metadata
    kind = kind_of(metadata)
    return Listing(
        format=f"gguf v{parts[0].version}{f' {kind}' if kind else ''}",
        keys=keys,
        shapes=[layout.shape for layout in layouts],
        dtypes=[layout.dtype.name for layout in layouts],
        nbytes=[layout.nbytes for layout in layouts],
        collections=["statistics"] * len(keys) if kind == "imatrix" else None,
        ties=_find_ties(keys, metadata),
        remarks=kind_remarks(kind, metadata, len(keys), parts[0].order == ">"),
        file_bytes=sum(part.file_bytes for part in parts),
        files=len(parts),
        metadata={key: _as_text(value) for key, value in metadata.items()},
    )


def values(
    path: str, wanted: Callable[[Key], bool], store: Store = LOCAL
) -> "dict[Key, np.ndarray]":
    """Return the wanted tensors: plain formats map the file (copy on write), and
    block-quantised ones are dequantised to float32 by the gguf package.

    Raises:
        FormatError: as `read`; also for a format that nothing dequantises.
        MissingPackageError: a wanted tensor is quantised and gguf is not installed.
    """
    found = pieces(path, wanted, store)
    return {k: v.whole() if isinstance(v, Pieces) else v for k, v in found.items()}


def pieces(
    path: str, wanted: Callable[[Key], bool], store: Store = LOCAL
) -> "dict[Key, np.ndarray | Pieces]":
    """Return what `values` does, block-quantised tensors to be dequantised piece by piece."""
    arrays: dict[Key, np.ndarray | Pieces] = {}
    for part in _read_parts(path, store):
        with store.blob(part.path) as blob:
            data = indexed(blob, copy_on_write=True)
            rows = zip(part.keys, part.layouts, part.offsets, strict=True)
            for key, layout, offset in rows:
                if wanted(key):
                    as_array = _plain if layout.dtype.block == 1 else dequantised
                    arrays[key] = as_array(data, offset, part, key, layout)
    return arrays


def spans(path: str, store: Store = LOCAL) -> dict[Key, tuple[str, int, int]]:
    """Return the file of each tensor, and its first byte and that after its last."""
    return {
        key: (part.path, offset, offset + layout.nbytes)
        for part in _read_parts(path, store)
        for key, layout, offset in zip(part.keys, part.layouts, part.offsets, strict=True)
    }


def part_paths(path: str, store: Store = LOCAL) -> list[str]:
    """Return the paths of the files of the set that a file belongs to."""
    return [part.path for part in _read_parts(path, store)]


class StoredBlocks(NamedTuple):
    """The blocks of a quantised tensor as they are stored: uint8 [..., bytes of a row]."""

    dtype: str
    number: int
    shape: tuple[int, ...]
    raw: "np.ndarray"


def blocks(
    path: str, wanted: Callable[[Key], bool], store: Store = LOCAL
) -> dict[Key, StoredBlocks]:
    """Return the blocks of the wanted tensors that are block-quantised; they map the file.

    Raises:
        FormatError: as `read`.
    """
    import numpy as np

    found: dict[Key, StoredBlocks] = {}
    for part in _read_parts(path, store):
        with store.blob(part.path) as blob:
            data = indexed(blob)
            rows = zip(part.keys, part.layouts, part.offsets, strict=True)
            for key, layout, offset in rows:
                if layout.dtype.block > 1 and wanted(key):
                    raw = view(data, offset, (layout.nbytes,), np.dtype(np.uint8))
                    raw = raw.reshape(*layout.shape[:-1], -1)
                    found[key] = StoredBlocks(
                        layout.dtype.name, layout.number, layout.shape, raw
                    )
    return found


def _read_parts(path: str, store: Store) -> list[GGUFHeader]:
    found = _PART.fullmatch(path)
    if found is None or found.group(2, 3) == ("00001", "00001"):
        header = _read_part(path, store)
        count = header.metadata.get("split.count", 1)
        if count not in (0, 1):  # 0 is what llama.cpp's merge leaves
            raise FormatError(
                path,
                found=f"is one of {count} parts (split.count), and its name does not say which",
                expected="a name that ends in -00001-of-0000N.gguf",
                cure="give all parts their names back",
            )
        return [header]
    stem, number, total, ending = found.groups()
    count = int(total)
    if not 1 <= int(number) <= count:
        raise FormatError(
            path,
            found=f"is named as part {int(number)} of {count}",
            expected=f"a part from 1 to {count}",
            cure="give all parts their names back",
        )
    paths = [f"{stem}-{index:05d}-of-{total}{ending}" for index in range(1, count + 1)]
    missing = next((part for part in paths if not store.is_file(part)), None)
    if missing is not None:
        raise FormatError(
            missing,
            found="is missing",
            expected=f"all {count} parts in one folder",
            cure="fetch it",
        )
    for part in paths:
        if store.first_bytes(part, 4) != b"GGUF":
            from explorer.formats.signatures import refuse_foreign

            refuse_foreign(part, store)
    parts = [_read_part(part, store) for part in paths]
    _check_set(parts)
    return parts


def _read_part(path: str, store: Store) -> GGUFHeader:
    with store.blob(path) as blob:
        return read_header(blob)


def _check_set(parts: list[GGUFHeader]) -> None:
    """Refuse parts that are not one set, each part once and in its position."""
    keys = [key for part in parts for key in part.keys]
    for index, part in enumerate(parts):
        for key, true in (
            ("split.no", index),
            ("split.count", len(parts)),
            ("split.tensors.count", len(keys)),
        ):
            claim = part.metadata.get(key)
            if claim != true:
                raise FormatError(
                    part.path,
                    found=f"has no {key}" if claim is None else f"{key} is {claim}",
                    expected=f"{true}",
                    cure="fetch all parts again, from one place",
                )
    if len(set(keys)) < len(keys):
        raise FormatError(
            parts[0].path,
            found=f"tensor {quoted(find_repeated(keys))} is in two parts",
            expected="each name once",
            cure="fetch all parts again, from one place",
        )


def _find_ties(keys: list[Key], metadata: dict[str, Scalar]) -> list[Tie]:
    """Return the tie of a causal language model that stores no output matrix."""
    names = set(keys)
    architecture = metadata.get("general.architecture", "")
    if (
        "token_embd.weight" not in names
        or "output.weight" in names
        or architecture in _HEADLESS
        or metadata.get(f"{architecture}.attention.causal") is False
        or not any(str(key).startswith(("blk.", "dec.blk.")) for key in keys)
    ):
        return []
    return [
        Tie(
            ("token_embd.weight", "output.weight"),
            by="absence: llama.cpp reuses token_embd.weight where a file has no "
            "output.weight",
        )
    ]


def _as_text(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def _plain(
    data: Bytes, offset: int, part: GGUFHeader, key: str, layout: Layout
) -> "np.ndarray":
    import numpy as np

    dtype = numpy_dtype(part.path, layout.dtype.name)
    if part.order == ("<" if sys.byteorder == "little" else ">"):
        return writable_view(data, offset, layout.shape, dtype)
    words = np.dtype(f"{part.order}u{dtype.itemsize}")
    return view(data, offset, layout.shape, words).view(dtype)
