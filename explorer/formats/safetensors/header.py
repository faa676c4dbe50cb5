"""The header of a safetensors file, by the typed decoder or, if unusual, the strict one."""

import msgspec

from explorer.errors import FormatError
from explorer.formats.safetensors.entries import Entry, Header
from explorer.formats.safetensors.strict import decode_strictly
from explorer.storage.store import Blob

__all__ = ["MAX_HEADER", "read_header"]

MAX_HEADER = 100_000_000  # the limit that the reference implementation sets
_METADATA = b'{"__metadata__":{'
_decode_entries = msgspec.json.Decoder(dict[str, Entry]).decode
_decode_metadata = msgspec.json.Decoder(dict[str, str]).decode


def read_header(blob: Blob) -> Header:
    """Return the header of a file.

    Raises:
        TargetError: the file cannot be read.
        FormatError: it has no whole header, or the header is not of the format.
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
    raw = blob.read(8, length)
    fast = _decode_fast(raw)
    entries, metadata = fast if fast is not None else decode_strictly(path, raw)
    return Header(entries, metadata, 8 + length, file_bytes)


def _decode_fast(raw: bytes) -> tuple[dict[str, Entry], dict[str, str]] | None:
    """Decode a header that has nothing unusual; None where the strict reader must look.

    A key given twice would vanish in a dict. Without escapes and white space every key is
    followed by `":` and nothing else is, so that a vanished key shows in their number.
    """
    raw = raw.rstrip(b" ")  # the padding that the format allows
    if not raw.startswith(b"{") or any(
        byte in raw for byte in (b"\\", b" ", b"\n", b"\r", b"\t")
    ):
        return None
    metadata: dict[str, str] = {}
    try:
        if raw.startswith(_METADATA):  # where it always is; texts alone are in it
            end = raw.index(b"}") + 1
            texts = raw[len(_METADATA) - 1 : end]
            metadata = _decode_metadata(texts)
            if texts.count(b'":') != len(metadata):
                return None
            raw = b"{" + raw[end:].removeprefix(b",")
        entries = _decode_entries(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        return None
    return (entries, metadata) if raw.count(b'":') == 4 * len(entries) else None
