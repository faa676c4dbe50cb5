"""Families: small translations from Hugging Face configs into architectures.

A family's module has `translate(fields, model_type) -> Architecture` and
`names(architecture) -> Names`.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol, cast

from explorer.architectures.architecture import Architecture
from explorer.architectures.fields import Fields
from explorer.architectures.names import Names
from explorer.errors import printable

__all__ = ["SUPPORTED", "architecture_of", "names_of"]

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


class Family(Protocol):
    """What the module of a family has."""

    def translate(self, fields: Fields, model_type: str) -> Architecture:
        """Return the architecture that a config describes."""
        ...

    def names(self, architecture: Architecture) -> Names:
        """Return how its checkpoints name its tensors."""
        ...


def architecture_of(config: Mapping[str, Any], place: str = "config") -> Architecture:
    """Return the architecture that a Hugging Face config describes.

    Args:
        config: the content of a config.json.
        place: what errors call it.

    Raises:
        InputError: an unknown model_type, or a field that is missing or wrong; one line
            names it, what was found and what is allowed.
    """
    fields = Fields(config, place)
    model_type = config.get("model_type")
    if not isinstance(model_type, str):
        raise fields.error(found="model_type is missing", expected=_listed())
    if model_type not in _MODULE_OF:
        raise fields.error(
            found=f"model_type {printable(repr(model_type), 60)} is not built",
            expected=_listed(),
            cure=_cure(config, model_type),
        )
    return _family(model_type).translate(fields, model_type)


def _cure(config: Mapping[str, Any], model_type: str) -> str:
    """Return what to do about a model_type that is not built."""
    text = config.get("text_config")
    inner = text.get("model_type") if isinstance(text, Mapping) else None
    if isinstance(inner, str) and inner in _MODULE_OF:
        return f"its text_config is a {inner}, which is built"
    import difflib  # of no use to a config that is right

    near = difflib.get_close_matches(model_type[:100].lower(), SUPPORTED, 1, 0.85)
    # gemma3 is no slip of the pen for gemma
    beyond = model_type.removeprefix(near[0]) if near else ""
    is_slip = near and (beyond == model_type or beyond.isalpha())
    return f"did you mean {near[0]}?" if is_slip else ""


def names_of(architecture: Architecture) -> Names:
    """Return how checkpoints of an architecture's family name its tensors."""
    return _family(architecture.family).names(architecture)


def _family(model_type: str) -> Family:
    module = import_module(f"explorer.architectures.families.{_MODULE_OF[model_type]}")
    return cast(Family, module)


def _listed() -> str:
    return f"one of {', '.join(SUPPORTED)}"
