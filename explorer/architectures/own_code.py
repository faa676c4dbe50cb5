"""Configs whose modelling code is elsewhere: `auto_map` names it, and it may build anything.

Some published models ship a copy of the code that transformers has today. Where the
catalogue has verified one, by its published count, a config of the same sizes stays exact.
"""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from explorer.architectures.architecture import Architecture
from explorer.errors import printable

__all__ = ["own_code_of", "with_own_code"]


def own_code_of(config: Mapping[str, Any]) -> str:
    """Return the "module.Class" of the model that a config's auto_map names; "" for none.

    >>> own_code_of({"auto_map": {"AutoModelForMaskedLM": "bert_layers.BertForMaskedLM"}})
    'bert_layers.BertForMaskedLM'
    >>> own_code_of({"auto_map": {"AutoTokenizer": ["tokens.Tokenizer", None]}})
    ''
    """
    named = config.get("auto_map")
    if not isinstance(named, Mapping):
        return ""
    models = [
        value
        for name, value in named.items()
        if isinstance(value, str) and str(name).startswith(("AutoModel", "FlaxAutoModel"))
    ]
    classes = config.get("architectures") or [""]
    own = [value for value in models if value.rpartition(".")[2] == str(classes[0])]
    only_config = [named["AutoConfig"]] if isinstance(named.get("AutoConfig"), str) else []
    return next(iter((*own, *models, *only_config)), "")


def with_own_code(architecture: Architecture, config: Mapping[str, Any]) -> Architecture:
    """Return an architecture with what its counts assume of code that auto_map names."""
    code = own_code_of(config)
    if not code or _is_verified(architecture, config, code):
        return architecture
    assumed = (
        f"auto_map names {printable(code, 80)}, which explorer does not read: counted as "
        f"transformers' {architecture.class_name}"
    )
    return replace(architecture, assumptions=(*architecture.assumptions, assumed))


def _is_verified(architecture: Architecture, config: Mapping[str, Any], code: str) -> bool:
    """Return whether the catalogue has a model of this code, with the same tensors."""
    from explorer.architectures.catalog.entries import entries
    from explorer.architectures.declaration import declare
    from explorer.architectures.families import architecture_of

    repository, _, named = code.rpartition("--")
    return any(
        entry.config["model_type"] == config["model_type"]
        and own_code_of(entry.config) == named
        and repository in ("", entry.id)
        and declare(architecture_of(entry.config)) == declare(architecture)
        for entry in entries()
    )
