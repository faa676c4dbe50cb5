"""Where tensors are stored: the file of each, and its bytes where the format has them in one place."""

from typing import NamedTuple

from explorer.formats.files import sources_of_path
from explorer.formats.registry import detect, reader_of
from explorer.paths import Key
from explorer.storage.local import LOCAL
from explorer.storage.store import Store

__all__ = ["TensorSpans", "spans_of_path"]


class TensorSpans(NamedTuple):
    """Where the tensors of a path are stored.

    Attributes:
        sources: the files, and the folders of many files, that hold them.
        known: for each key the file, its first byte, and the byte after its last. Formats
            that compress, or keep a tensor in several pieces, have none.
    """

    sources: tuple[str, ...]
    known: dict[Key, tuple[str, int, int]]


def spans_of_path(path: str, store: Store = LOCAL) -> TensorSpans:
    """Return where the tensors of a file or folder are stored; the headers are read again.

    Raises:
        InputError: as `list_path`.
    """
    sources = sources_of_path(path, store)
    known: dict[Key, tuple[str, int, int]] = {}
    read: set[str] = set()  # a reader may read all files of a set
    for source in sources:
        if source in read or store.is_folder(source):
            continue
        spans = getattr(reader_of(detect(source, store).module), "spans", None)
        if spans is not None:
            found = spans(source, store)
            read |= {file for file, _, _ in found.values()}
            known |= found
    return TensorSpans(tuple(sources), known)
