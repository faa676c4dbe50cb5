"""The key-value pairs of a GGUF file, as they are: numbers are numbers."""

import re

from explorer.formats.gguf.header import Scalar, read_header

__all__ = ["metadata"]

_NUMBER = re.compile(r"-[0-9]{5}(-of-[0-9]{5}\.gguf)$", re.IGNORECASE)


def metadata(path: str) -> dict[str, Scalar]:
    """Return the metadata of a GGUF file, or of the set that a part belongs to.

    An array is told by its length, in words.

    Raises:
        TargetError: the file, or the first part of its set, cannot be read.
        FormatError: its header breaks a rule of the format.
    """
    # the first part of a set has what is said of the model
    return read_header(_NUMBER.sub(r"-00001\1", path)).metadata
