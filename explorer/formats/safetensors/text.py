"""The text of a header: read from the file, and cut into metadata and entries."""

import msgspec

from explorer.errors import FormatError
from explorer.storage.store import Blob

__all__ = ["MAX_HEADER", "read_json", "split_metadata"]

MAX_HEADER = 100_000_000  # the limit that the reference implementation sets
_METADATA = b'{"__metadata__":{'
_decode = msgspec.json.Decoder(dict[str, str]).decode


def read_json(blob: Blob) -> bytes:
    """Return the JSON of a file's header.

    Raises:
        TargetError: the file cannot be read.
        FormatError: the header is not inside the file, or too long.
    """
    path, file_bytes = blob.name, blob.size()
    length = int.from_bytes(blob.read(0, min(8, file_bytes)), "little")
    if file_bytes < 8 or length > file_bytes - 8:
        raise FormatError(
            path,
            found=f"header length {length:,} in a file of {file_bytes:,} bytes",
            expected="a header inside the file",
            cure="the file is truncated or no safetensors file: fetch it again",
        )
    if length > MAX_HEADER:
        raise FormatError(
            path, found=f"header length {length:,}", expected=f"at most {MAX_HEADER:,}"
        )
    return blob.read(8, length)


def split_metadata(raw: bytes) -> tuple[bytes, dict[str, str]] | None:
    """Return the entries and the metadata of a header without escapes.

    None where the metadata has a key twice, or something else than texts.
    """
    if not raw.startswith(_METADATA):
        return raw, {}
    end = raw.find(b"}") + 1
    texts, rest = raw[len(_METADATA) - 1 : end], raw[end:]
    try:
        metadata = _decode(texts)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if texts.count(b'":') != len(metadata) or not (rest == b"}" or rest.startswith(b',"')):
        return None
    return b"{" + rest.removeprefix(b","), metadata
