"""What a safetensors header says of each tensor."""

from typing import Annotated

import msgspec

__all__ = ["Entry", "Header"]

# more than 2^62 is left to the strict decoder
_Natural = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]


class Entry(msgspec.Struct, gc=False):
    """One tensor: the format's name of its dtype, its shape, its bytes in the data."""

    dtype: str
    shape: tuple[_Natural, ...]
    data_offsets: tuple[_Natural, _Natural]


class Header(msgspec.Struct):
    """The entries by name, the file's own words, and where the data is."""

    entries: dict[str, Entry]
    metadata: dict[str, str]
    data_start: int
    file_bytes: int
