"""The key-value pairs of a GGUF file, with numbers as numbers."""

import re

from explorer.formats.gguf.header import Scalar, read_header
from explorer.storage.local import LOCAL
from explorer.storage.store import Store

__all__ = ["metadata"]

_NUMBER = re.compile(r"-[0-9]{5}(-of-[0-9]{5}\.gguf)$", re.IGNORECASE)


def metadata(path: str, store: Store = LOCAL) -> dict[str, Scalar]:
    """Return the metadata of a GGUF file, or of the set that a part belongs to.

    The value of an array is a text with its length.

    Raises:
        TargetError: the file, or the first part of its set, cannot be read.
        FormatError: its header breaks a rule of the format.
    """
    # the first part of a set holds the metadata of the model
    with store.blob(_NUMBER.sub(r"-00001\1", path)) as blob:
        return read_header(blob).metadata
