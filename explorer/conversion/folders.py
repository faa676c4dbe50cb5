"""The files of a Hugging Face folder beside its weights: config.json and the tokenizer's."""

import os
from collections.abc import Mapping
from typing import Any

import msgspec

from explorer.conversion.known import Known
from explorer.errors import InputError
from explorer.storage.local import LOCAL, exists

__all__ = ["folder_files"]

_COPIED = (
    "added_tokens.json", "chat_template.jinja", "chat_template.json", "generation_config.json",
    "merges.txt", "special_tokens_map.json", "spiece.model", "tokenizer.json", "tokenizer.model",
    "tokenizer_config.json", "vocab.json", "vocab.txt",
)  # fmt: skip
_MOST = 200_000_000  # bytes of one of them


def folder_files(
    known: Known,
    dtype: str | None,
    is_hf: bool,
    packing: Mapping[str, Any] | None = None,
) -> tuple[dict[str, bytes], list[str]]:
    """Return the files to write beside weights, and notes on what is not there.

    Args:
        known: the model.
        dtype: that its parameters are cast to.
        is_hf: whether the weights are under Hugging Face's names.
        packing: the quantization_config.

    Raises:
        InputError: they are, and nothing has the config.
    """
    if not is_hf:
        return {}, []
    if known.config is None:
        raise InputError(
            "config",
            found="is not given, and the model does not have one",
            expected="the content of a config.json, which a Hugging Face folder needs",
            cure="pass config= or like=, or write a .safetensors file",
        )
    files = {"config.json": _json(_config(known, dtype, packing))}
    for name in _COPIED:
        path = os.path.join(known.folder, name)
        if known.folder and exists(path):
            files[name] = LOCAL.read_whole(path, _MOST)
    notes = []
    if not any(name.startswith(("tokenizer", "vocab", "spiece")) for name in files):
        notes.append("no tokenizer: none is beside the source")
    return files, notes


def _config(
    known: Known, dtype: str | None, packing: Mapping[str, Any] | None
) -> Mapping[str, Any]:
    assert known.config is not None
    config = dict(known.config)
    if known.architecture is not None and not config.get("architectures"):
        config["architectures"] = [known.architecture.class_name]
    if packing is not None:
        config["quantization_config"] = packing
    if known.gguf and not known.folder:
        config |= _token_ids(known.gguf)
    if dtype is not None:
        key = "dtype" if "dtype" in config else "torch_dtype"
        config[key] = dtype
    return config


def _token_ids(path: str) -> dict[str, int | None]:
    """Return the special tokens that a GGUF file names, which its model's class may default."""
    from explorer.formats.gguf.metadata import metadata

    pairs = metadata(path)
    found: dict[str, int | None] = {"pad_token_id": None}
    for ours, theirs in (("bos", "bos"), ("eos", "eos"), ("pad", "padding")):
        number = pairs.get(f"tokenizer.ggml.{theirs}_token_id")
        if type(number) is int:
            found[f"{ours}_token_id"] = number
    return found


def _json(content: Mapping[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"
