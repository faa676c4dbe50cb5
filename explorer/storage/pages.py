"""Pages of mapped files: there before they are read, and given back to the system afterwards."""

import mmap
from typing import TYPE_CHECKING, Any

from explorer.errors import TargetError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["MappedFile", "check_there", "give_back", "read_ahead"]


class MappedFile(mmap.mmap):
    """A file mapped into memory; `name` is the path that errors show."""

    name = ""


def check_there(array: "np.ndarray") -> None:
    """Refuse an array on a mapped file that was cut since: the system kills who reads what is gone.

    It asks for the size of the file, which takes a microsecond: before each part that is read.

    Raises:
        TargetError: the file is shorter than when it was mapped.
    """
    mapping = _mapping_of(array)
    if isinstance(mapping, MappedFile) and mapping.size() < len(mapping):
        raise TargetError(
            mapping.name,
            found=f"changed while it was read: it was cut to {mapping.size():,} bytes",
            expected=f"{len(mapping):,} bytes",
            cure="wait until it is written, and run again",
        )


def read_ahead(array: "np.ndarray") -> None:
    """Let the system read the pages of a mapped file that an array is stored on, meanwhile.

    An array that is elsewhere, or a system that cannot do this, is left alone.
    """
    _advise(array, getattr(mmap, "MADV_WILLNEED", None))


def give_back(array: "np.ndarray") -> None:
    """Let the system have the pages of a mapped file that an array is stored on.

    They are read from the file again where they are needed again, so that changes to a
    copy-on-write mapping are lost: this is for arrays that nothing else has seen. An array that is
    elsewhere, or a system that cannot do this, is left alone.
    """
    _advise(array, getattr(mmap, "MADV_DONTNEED", None))


def _advise(array: "np.ndarray", advice: int | None) -> None:
    """Say what becomes of the pages of an array, where they are of a mapped file."""
    import numpy as np

    mapping = _mapping_of(array)
    if mapping is None or advice is None or not array.nbytes:
        return
    start = np.frombuffer(mapping, np.uint8).ctypes.data
    begin, end = (each - start for each in np.lib.array_utils.byte_bounds(array))
    first = begin // mmap.PAGESIZE * mmap.PAGESIZE
    mapping.madvise(advice, first, end - first)


def _mapping_of(array: Any) -> mmap.mmap | None:
    while array is not None and not isinstance(array, mmap.mmap):
        is_view = isinstance(array, memoryview)
        array = array.obj if is_view else getattr(array, "base", None)
    return array
