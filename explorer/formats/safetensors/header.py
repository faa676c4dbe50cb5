"""The header of a safetensors file, by the typed decoder or, if unusual, the strict one."""

import msgspec

from explorer.formats.safetensors.entries import Entry, Header
from explorer.formats.safetensors.text import split_metadata
from explorer.storage.store import Blob

__all__ = ["decode_header"]

_decode_entries = msgspec.json.Decoder(dict[str, Entry]).decode


def decode_header(blob: Blob, raw: bytes) -> Header:
    """Return the header that a file's JSON describes.

    Raises:
        FormatError: it breaks a rule of the format.
    """
    decoded = _decode_fast(raw)
    if decoded is None:
        from explorer.formats.safetensors.strict import decode_strictly

        decoded = decode_strictly(blob.name, raw)
    entries, metadata = decoded
    return Header(entries, metadata, 8 + len(raw), blob.size())


def _decode_fast(raw: bytes) -> tuple[dict[str, Entry], dict[str, str]] | None:
    """Decode a header that has nothing unusual; None where the strict reader must look.

    A key given twice would vanish in a dict. Without escapes and white space every key is
    followed by `":` and nothing else is, so that a vanished key shows in their number.
    """
    raw = raw.rstrip(b" ")  # the padding that the format allows
    if not raw.startswith(b"{") or any(
        byte in raw for byte in (b"\\", b" ", b"\n", b"\r", b"\t", b":-", b"[-", b",-")
    ):
        return None
    try:
        split = split_metadata(raw)
        if split is None:
            return None
        raw, metadata = split
        entries = _decode_entries(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    # metadata anywhere else than in front would pass for a tensor
    if "__metadata__" in entries or raw.count(b'":') != 4 * len(entries):
        return None
    return entries, metadata
