"""The metadata of a GGUF file that is to be written: general, the model's, the tokenizer's."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence

from explorer.conversion.known import Known
from explorer.formats.gguf.key_values import GgufValue, key_values
from explorer.formats.writing import OutgoingTensor

__all__ = ["FILE_TYPES", "gguf_metadata"]

# llama.cpp's numbers for what most matrices of a file are stored as (llama_ftype)
FILE_TYPES = {
    "F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "Q2_K": 10,
    "Q3_K_S": 11, "Q3_K_M": 12, "Q3_K_L": 13, "Q4_K_S": 14, "Q4_K_M": 15, "Q5_K_S": 16,
    "Q5_K_M": 17, "Q6_K": 18, "IQ2_XXS": 19, "IQ2_XS": 20, "Q2_K_S": 21, "IQ3_XS": 22,
    "IQ3_XXS": 23, "IQ1_S": 24, "IQ4_NL": 25, "IQ3_S": 26, "IQ3_M": 27, "IQ2_S": 28,
    "IQ2_M": 29, "IQ4_XS": 30, "IQ1_M": 31, "BF16": 32, "TQ1_0": 36, "TQ2_0": 37,
    "MXFP4_MOE": 38,
}  # fmt: skip
_PLAIN = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
_MADE_ANEW = ("general.file_type", "general.quantization_version", "general.alignment")


def gguf_metadata(
    path: str,
    known: Known,
    shapes: Mapping[str, tuple[int, ...]],
    tensors: Sequence[OutgoingTensor],
    is_model: bool,
    file_type: str = "",
) -> tuple[dict[str, GgufValue], list[str]]:
    """Return the key-value pairs of a file, and notes on what is left out.

    Args:
        path: of the file.
        known: the model.
        shapes: of the tensors, by name.
        tensors: in the file.
        is_model: whether the tensors have llama.cpp's names; else they are plain.
        file_type: llama.cpp's name for the mix of types; by default that of most bytes.

    Raises:
        InputError: llama.cpp's metadata do not describe the model.
    """
    given = key_values(known.gguf) if known.gguf else {}
    kept = {
        key: value
        for key, value in given.items()
        if key not in _MADE_ANEW and not key.startswith("split.")
    }
    notes: list[str] = []
    if is_model and (not given or known.is_own):
        from explorer.pretrained.gguf import describing

        assert known.architecture is not None
        described = describing.describe_model(known.architecture, shapes, path)
        if window := describing.windows_lost(known.architecture):
            notes.append(
                f"its window of {window:,} is left out: llama.cpp has none of Mistral"
            )
        name = describing.NAMES[known.architecture.family]
        general = {
            "general.architecture": GgufValue("string", name),
            "general.type": GgufValue("string", "model"),
            "general.name": GgufValue("string", _name(path)),
        }
        kept = {k: v for k, v in kept.items() if k.startswith(("general.", "tokenizer."))}
        kept = general | {k: v for k, v in kept.items() if k not in general} | described
        if not given:
            from explorer.pretrained.gguf.tokenizers import tokenizer_pairs

            rows = shapes.get("token_embd.weight", (0,))[0]
            pairs, more = tokenizer_pairs(known.folder, rows)
            kept |= pairs
            notes += more
    elif not given:
        kept = {"general.architecture": GgufValue("string", "unknown")}
    number = FILE_TYPES.get(file_type or _most(tensors))
    if number is not None:
        kept["general.file_type"] = GgufValue("uint32", number)
    if any(each.dtype not in _PLAIN for each in tensors):
        kept["general.quantization_version"] = GgufValue("uint32", 2)
    return kept, notes


def _name(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]


def _most(tensors: Sequence[OutgoingTensor]) -> str:
    """Return the type of most bytes of matrices."""
    sizes: Counter[str] = Counter()
    for each in tensors:
        if len(each.shape) > 1:
            sizes[each.dtype] += each.nbytes
    name = sizes.most_common(1)[0][0] if sizes else "float32"
    return _PLAIN.get(name, name.upper())
