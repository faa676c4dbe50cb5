"""The `config.json` beside a checkpoint: what it says of ties and of quantisation."""

import os
from typing import Any

import msgspec

from explorer.errors import FormatError, TargetError

__all__ = ["Config", "read_config"]

_MAX_BYTES = 10_000_000

# Where config.json is silent, transformers' class decides; its base class says "tied" and
# these model types say "untied" (their configuration_*.py).
_UNTIED = frozenset(
    [
        "llama",
        "mistral",
        "mixtral",
        "qwen2",
        "qwen2_moe",
        "qwen3",
        "qwen3_moe",
        "deepseek_v2",
        "deepseek_v3",
        "gpt_neox",
        "gptj",
        "phi",
        "phi3",
        "phimoe",
        "stablelm",
        "olmo",
        "olmo2",
        "olmo3",
        "olmoe",
        "gpt_oss",
        "persimmon",
        "codegen",
        "granite",
        "granitemoe",
        "nemotron",
        "jamba",
        "glm",
        "glm4",
        "glm4_moe",
        "kimi_k2",
        "dbrx",
        "minimax",
        "ernie4_5",
        "smollm3",
        "llama4_text",
    ]
)


class Config(msgspec.Struct, frozen=True):
    """What a config.json says that a header does not.

    `tied` is None where the model type is unknown and the file silent; `tied_rule` says
    which of the two decided. `quantization` is the scheme's own description.
    """

    model_type: str = ""
    architecture: str = ""
    tied: bool | None = None
    tied_rule: str = ""
    quantization: dict[str, Any] | None = None
    content: dict[str, Any] = {}


def read_config(folder: str) -> Config | None:
    """Return the Hugging Face config.json of a folder; None where there is none.

    Raises:
        TargetError: it is there and cannot be read.
        FormatError: it is no JSON object, or a field is of the wrong type.
    """
    path = os.path.join(folder, "config.json")
    if not os.path.isfile(path):
        return None
    try:
        if os.path.getsize(path) > _MAX_BYTES:
            raise FormatError(path, found=f"is larger than {_MAX_BYTES:,} bytes")
        with open(path, "rb") as file:
            content = msgspec.json.decode(file.read())
    except OSError as error:
        raise TargetError(path, found=f"cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(
            path, found=f"is no JSON ({error})", cure="mend or remove it"
        ) from None
    if not isinstance(content, dict):
        raise FormatError(path, found="is no JSON object", cure="mend or remove it")
    return _config(path, content)


def _config(path: str, content: dict[str, Any]) -> Config:
    # a multimodal model keeps its language model's settings in text_config
    text = content.get("text_config")
    text = text if isinstance(text, dict) else {}
    model_type = _field(path, content, "model_type", str) or ""
    tied = _field(path, content, "tie_word_embeddings", bool)
    if tied is None:
        tied = _field(path, text, "tie_word_embeddings", bool)
    rule = f"config.json says tie_word_embeddings: {str(tied).lower()}"
    if tied is None and model_type:
        tied = (text.get("model_type") or model_type) not in _UNTIED
        rule = f"config.json is silent; {model_type} models are {'' if tied else 'un'}tied"
    architectures = _field(path, content, "architectures", list) or [""]
    return Config(
        model_type=model_type,
        architecture=str(architectures[0]),
        tied=tied,
        tied_rule=rule,
        quantization=_field(path, content, "quantization_config", dict)
        or _field(path, text, "quantization_config", dict)
        or _field(path, content, "quantization", dict),
        content=content,
    )


def _field(path: str, content: dict[str, Any], name: str, kind: type) -> Any:
    value = content.get(name)
    if value is None or isinstance(value, kind):
        return value
    raise FormatError(
        path,
        found=f"{name} is {type(value).__name__}",
        expected=kind.__name__,
        cure="mend or remove config.json",
    )
