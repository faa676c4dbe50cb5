"""Adapters in a GGUF file, as llama.cpp's convert_lora_to_gguf.py writes them.

References:
    convert_lora_to_gguf.py and src/llama-adapter.cpp, github.com/ggml-org/llama.cpp (2025): the
    scale is alpha / rank.
"""

import os
from math import isfinite
from typing import Any

from explorer.errors import FormatError, InputError, printable, shown
from explorer.formats.files import load_path
from explorer.formats.gguf.metadata import metadata
from explorer.storage.local import first_bytes
from explorer.transforms.adapters.peft_config import PeftConfig
from explorer.transforms.adapters.peft_files import StoredAdapter, StoredAdapters, read_peft

__all__ = ["read_adapters", "read_gguf_adapters"]

_ENDINGS = {".weight.lora_a": "a", ".weight.lora_b": "b"}


def read_adapters(path: str) -> StoredAdapters:
    """Return the adapters of a folder of peft's or of a GGUF file.

    Raises:
        InputError: as `read_peft` and `read_gguf_adapters`.
    """
    is_gguf = os.path.isfile(path) and first_bytes(path, 4) == b"GGUF"
    return read_gguf_adapters(path) if is_gguf else read_peft(path)


def read_gguf_adapters(path: str) -> StoredAdapters:
    """Return the adapters of a GGUF file, by llama.cpp's names of modules.

    Raises:
        InputError: a file of something else than LoRA adapters.
        FormatError: tensors that are not adapters.
    """
    facts = metadata(path)
    kinds = (facts.get("general.type"), facts.get("adapter.type"))
    if kinds != ("adapter", "lora"):
        raise InputError(
            path,
            found=f"general.type is {printable(kinds[0], 40)}",
            expected="a file of LoRA adapters",
        )
    alpha = _alpha(path, facts.get("adapter.lora.alpha"))
    parts: dict[str, dict[str, Any]] = {}
    for key, array in load_path(path, lambda key: True).items():
        name = key if isinstance(key, str) else ".".join(key)
        ending = next((end for end in _ENDINGS if name.endswith(end)), "")
        if not ending:
            raise FormatError(path, found=f"{printable(name)}", expected="lora_a or lora_b")
        parts.setdefault(name.removesuffix(ending), {})[_ENDINGS[ending]] = array
    modules = {}
    for module, has in parts.items():
        a, b = has.get("a"), has.get("b")
        if (
            a is None
            or b is None
            or a.ndim != 2
            or b.ndim != 2
            or len(a) != b.shape[1]
            or not len(a)
        ):
            raise FormatError(
                path,
                found=f"{printable(module)} has no pair of matrices of one rank",
                expected="lora_a [rank, inputs] and lora_b [outputs, rank]",
            )
        rank = len(a)
        # without an alpha, llama.cpp takes a scale of 1
        own = alpha or float(rank)
        modules[module] = StoredAdapter(a, b, None, own, own / rank)
    ranks = {each.rank for each in modules.values()}
    config = PeftConfig(r=max(ranks, default=8), lora_alpha=alpha or 8)
    return StoredAdapters(path, config, modules, {}, "gguf")


def _alpha(path: str, said: Any) -> float:
    """Return the alpha that metadata says; 0 for none."""
    if said is None:
        return 0.0
    if isinstance(said, int | float) and isfinite(said):
        return float(said)
    raise FormatError(
        path,
        found=f"adapter.lora.alpha is {shown(said, 40)}",
        expected="a finite number",
    )
