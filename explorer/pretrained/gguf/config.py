"""A GGUF file's metadata as a Hugging Face config."""

from collections.abc import Mapping
from typing import Any

from explorer.architectures.config_fields import ConfigFields
from explorer.errors import InputError, shown
from explorer.pretrained.gguf.decoders import TRANSLATIONS, Config, TensorFacts
from explorer.pretrained.gguf.rotary import shortest

__all__ = ["ARCHITECTURES", "translate"]

ARCHITECTURES = tuple(TRANSLATIONS)


def translate(metadata: Mapping[str, Any], tensors: TensorFacts, place: str) -> Config:
    """Return the Hugging Face config of the model in a GGUF file.

    Args:
        metadata: the file's key-value pairs.
        tensors: what its tensors add to them.
        place: the file, for errors.

    Raises:
        InputError: an unsupported architecture, or a missing or invalid key; one line
            names it.
    """
    named = metadata.get("general.architecture")
    if named not in TRANSLATIONS:
        raise InputError(
            place,
            found=f"general.architecture is {shown(named, 60)}",
            expected="one of " + ", ".join(ARCHITECTURES),
        )
    table = tensors.shapes.get("token_embd.weight", ())
    if len(table) != 2:
        raise InputError(
            place, found="lacks token_embd.weight", expected="the weights of a model"
        )
    prefix = f"{named}."
    content = {
        key.removeprefix(prefix): shortest(value) if isinstance(value, float) else value
        for key, value in metadata.items()
        if key.startswith(prefix)
    }
    fields = ConfigFields(content, place, prefix)
    config = TRANSLATIONS[named](fields, tensors)
    if fields.size("vocab_size", default=table[0]) != table[0]:
        raise fields.invalid("vocab_size", f"{table[0]:,}, the rows of token_embd.weight")
    tied = "output.weight" not in tensors.shapes
    return config | {"vocab_size": table[0], "tie_word_embeddings": tied}
