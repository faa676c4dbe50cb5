"""Which tokens begin, end and separate texts: of a folder's tokenizer_config.json, for GGUF."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from explorer.formats.gguf.key_values import GgufValue
from explorer.storage.documents import read_json
from explorer.storage.local import LOCAL, exists

__all__ = ["special_pairs"]

_MOST = 50_000_000  # bytes of one file
# GGUF's keys, one of them misspelt
_KEYS = {
    "bos": "bos_token_id",
    "eos": "eos_token_id",
    "unk": "unknown_token_id",
    "sep": "seperator_token_id",
    "pad": "padding_token_id",
    "cls": "cls_token_id",
    "mask": "mask_token_id",
}


def special_pairs(folder: str, tokens: Sequence[str]) -> dict[str, GgufValue]:
    """Return the key-value pairs of special tokens, without "tokenizer.ggml.".

    Args:
        folder: with tokenizer_config.json, special_tokens_map.json and config.json, or some.
        tokens: by their numbers.

    Raises:
        FormatError: one of them is not a JSON object.
    """
    settings = _read(folder, "tokenizer_config.json")
    texts = _read(folder, "special_tokens_map.json") | settings
    config = _read(folder, "config.json")
    numbers = {token: number for number, token in enumerate(tokens)}
    found = {}
    for word, key in _KEYS.items():
        text = texts.get(f"{word}_token")
        text = text.get("content") if isinstance(text, Mapping) else text
        number = numbers.get(text) if isinstance(text, str) else None
        if number is None:
            number = config.get(f"{word}_token_id")
            number = number[0] if isinstance(number, list) and number else number
        if type(number) is int and 0 <= number < len(tokens):
            found[key] = GgufValue("uint32", number)
    for word in ("bos", "eos", "sep"):
        if isinstance(settings.get(f"add_{word}_token"), bool):
            found[f"add_{word}_token"] = GgufValue("bool", settings[f"add_{word}_token"])
    template = _template(folder, settings)
    return found | ({"chat_template": GgufValue("string", template)} if template else {})


def _template(folder: str, settings: Mapping[str, Any]) -> str:
    path = os.path.join(folder, "chat_template.jinja")
    if exists(path):
        return LOCAL.read_whole(path, _MOST).decode("utf-8", "replace")
    found = settings.get("chat_template")
    return found if isinstance(found, str) else ""


def _read(folder: str, name: str) -> dict[str, Any]:
    path = os.path.join(folder, name)
    if not exists(path):
        return {}
    found = read_json(path, _MOST)
    return found if isinstance(found, dict) else {}
