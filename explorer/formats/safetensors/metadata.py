"""The text that a file carries about itself, which is first in its header."""

import msgspec

__all__ = ["split_metadata"]

_METADATA = b'{"__metadata__":{'
_decode = msgspec.json.Decoder(dict[str, str]).decode


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
