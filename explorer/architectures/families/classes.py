"""The classes of each decoder family, and the classifiers that some of them have.

Those of transformers 5.23. `tests/data/reference` holds what each of them counts.
"""

from typing import Any

from explorer.architectures.config_fields import ConfigFields
from explorer.architectures.families.reading import labels_of
from explorer.architectures.specs import LinearSpec

__all__ = ["classifier_of", "decoder_classes"]

_SEQUENCE, _TOKEN = "ForSequenceClassification", "ForTokenClassification"
_QUESTION = "ForQuestionAnswering"
_DECODERS = {
    "deepseek_v2": ("DeepseekV2", _SEQUENCE),
    "deepseek_v3": ("DeepseekV3", _SEQUENCE, _TOKEN),
    "gemma": ("Gemma", _SEQUENCE, _TOKEN),
    "gemma2": ("Gemma2", _SEQUENCE, _TOKEN),
    "gpt_neox": ("GPTNeoX", _SEQUENCE, _TOKEN, _QUESTION),
    "gpt_oss": ("GptOss", _SEQUENCE, _TOKEN),
    "gptj": ("GPTJ", _SEQUENCE, _QUESTION),
    "kimi_k2": ("DeepseekV3", _SEQUENCE, _TOKEN),
    "llama": ("Llama", _SEQUENCE, _TOKEN, _QUESTION),
    "mistral": ("Mistral", _SEQUENCE, _TOKEN, _QUESTION),
    "mixtral": ("Mixtral", _SEQUENCE, _TOKEN, _QUESTION),
    "olmo": ("Olmo", _SEQUENCE),
    "olmo2": ("Olmo2", _SEQUENCE),
    "olmoe": ("Olmoe",),
    "opt": ("OPT", _SEQUENCE, _QUESTION),
    "phi": ("Phi", _SEQUENCE, _TOKEN),
    "phi3": ("Phi3", _SEQUENCE, _TOKEN),
    "qwen2": ("Qwen2", _SEQUENCE, _TOKEN, _QUESTION),
    "qwen3": ("Qwen3", _SEQUENCE, _TOKEN, _QUESTION),
    "qwen3_moe": ("Qwen3Moe", _SEQUENCE, _TOKEN, _QUESTION),
    "stablelm": ("StableLm", _SEQUENCE, _TOKEN),
}
# with names of their own
_OTHERS = {
    "gemma3_text": (
        "Gemma3ForCausalLM",
        "Gemma3TextModel",
        f"Gemma3Text{_SEQUENCE}",
    ),
    "gpt2": (
        "GPT2LMHeadModel",
        "GPT2Model",
        f"GPT2{_SEQUENCE}",
        f"GPT2{_TOKEN}",
        f"GPT2{_QUESTION}",
    ),
}


def decoder_classes(model_type: str) -> tuple[str, ...]:
    """Return a family's classes, the one that is built by default first.

    >>> decoder_classes("olmo")
    ('OlmoForCausalLM', 'OlmoModel', 'OlmoForSequenceClassification')
    """
    if model_type in _OTHERS:
        return _OTHERS[model_type]
    prefix, *endings = _DECODERS[model_type]
    return tuple(f"{prefix}{end}" for end in ("ForCausalLM", "Model", *endings))


def classifier_of(fields: ConfigFields, class_name: str, size: int) -> dict[str, Any]:
    """Return the classifier of a decoder class, as a field of Architecture; {} for others.

    Its parameters are counted; no Flax module is built.
    """
    if class_name.endswith(_SEQUENCE):
        found = LinearSpec(size, labels_of(fields))
    elif class_name.endswith(_TOKEN):
        found = LinearSpec(size, labels_of(fields), True)
    elif class_name.endswith(_QUESTION):
        # where an answer starts and ends; GPT-J counts its labels
        ends = labels_of(fields) if class_name.startswith("GPTJ") else 2
        found = LinearSpec(size, ends, True)
    else:
        return {}
    fields.remarks.unbuilt.append("its classifier is only counted")
    return {"classifier": found}
