"""Families: small translations from Hugging Face configs to architectures.

A family's module has `translate(fields, model_type) -> Architecture` and
`checkpoint_names(architecture) -> CheckpointNames`. It is imported when a config of its
model type is first read.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol, cast

from msgspec.structs import replace

from explorer.architectures.architecture import Architecture
from explorer.architectures.checkpoint_names import CheckpointNames
from explorer.architectures.config_fields import ConfigFields
from explorer.architectures.families.spelling import meant_type
from explorer.errors import printable, shown

__all__ = ["SUPPORTED", "architecture_of", "checkpoint_names_of"]

_MODULES = {
    "bert": ("bert", "roberta", "distilbert"),
    "deepseek": ("deepseek_v2", "deepseek_v3", "kimi_k2"),
    "gemma": ("gemma", "gemma2", "gemma3_text"),
    "gpt2": ("gpt2",),
    "gpt_neox": ("gpt_neox",),
    "gpt_oss": ("gpt_oss",),
    "gptj": ("gptj",),
    "grok": ("grok-1",),
    "llama": ("llama", "mistral", "qwen2", "qwen3"),
    "mixtures": ("mixtral", "qwen3_moe", "olmoe"),
    "olmo": ("olmo", "olmo2"),
    "opt": ("opt",),
    "phi": ("phi",),
    "phi3": ("phi3",),
    "stablelm": ("stablelm",),
    "vit": ("vit",),
}
_MODULE_OF = {kind: module for module, kinds in _MODULES.items() for kind in kinds}
SUPPORTED = tuple(sorted(_MODULE_OF))
# fields that configs of other libraries have in place of model_type
_OTHER_LIBRARIES = {"peft_type": "PEFT", "_class_name": "diffusers", "architecture": "timm"}


class Family(Protocol):
    """The module of a family."""

    def translate(self, fields: ConfigFields, model_type: str) -> Architecture:
        """Return the architecture that a config describes."""
        ...

    def checkpoint_names(self, architecture: Architecture) -> CheckpointNames:
        """Return the names of the tensors in its checkpoints."""
        ...


def architecture_of(config: Mapping[str, Any], place: str = "config") -> Architecture:
    """Return the architecture that a Hugging Face config describes.

    Args:
        config: the content of a config.json.
        place: what errors call it.

    Raises:
        InputError: an unsupported model_type, or a missing or invalid field; one line
            names it, what was found and what is allowed.

    >>> config = {"model_type": "gpt2", "n_embd": 64, "n_layer": 2, "n_head": 4}
    >>> architecture_of(config | {"n_positions": 128, "vocab_size": 100}).num_layers
    2
    """
    fields = ConfigFields(config, place)
    model_type = config.get("model_type")
    if not isinstance(model_type, str):
        raise fields.error(
            found="model_type is missing",
            expected=_one_of_supported(),
            cure=_kind_of(config),
        )
    if model_type not in _MODULE_OF:
        raise fields.error(
            found=f"model_type {shown(model_type, 60)} is not supported",
            expected=_one_of_supported(),
            cure=_cure(config, model_type),
        )
    architecture = _family(model_type).translate(fields, model_type)
    unbuilt, assumed = (tuple(dict.fromkeys(each)) for each in fields.remarks)
    if not unbuilt and not assumed:
        return architecture
    return replace(architecture, unbuilt=unbuilt, assumptions=assumed)


def _kind_of(config: Mapping[str, Any]) -> str:
    """Return which library's config without a model_type it is, where a field says so."""
    for field, library in _OTHER_LIBRARIES.items():
        if isinstance(config.get(field), str):
            return f"it is a config of {library}, by its {field} {printable(config[field], 40)}"
    return ""


def _cure(config: Mapping[str, Any], model_type: str) -> str:
    """Return what to do about a model_type that is not supported."""
    text = config.get("text_config")
    nested = text.get("model_type") if isinstance(text, Mapping) else None
    if isinstance(nested, str) and nested in _MODULE_OF:
        return (
            f"its text_config is a {nested}, which is supported by itself: the other parts "
            "are not counted"
        )
    meant = meant_type(model_type, SUPPORTED)
    return f"did you mean {meant}?" if meant else ""


def checkpoint_names_of(architecture: Architecture) -> CheckpointNames:
    """Return the names of the tensors in checkpoints of an architecture's family."""
    return _family(architecture.family).checkpoint_names(architecture)


def _family(model_type: str) -> Family:
    module = import_module(f"explorer.architectures.families.{_MODULE_OF[model_type]}")
    return cast(Family, module)


def _one_of_supported() -> str:
    return f"one of {', '.join(SUPPORTED)}"
