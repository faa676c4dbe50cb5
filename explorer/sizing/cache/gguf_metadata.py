"""What a GGUF file says of itself -> what its layers keep, as llama.cpp reads it.

Keys are those of llama.cpp (src/llama-arch.cpp); which layers have a window is in its code
(set_swa_pattern in src/llama-model.cpp). Architectures whose rule is not here are not known.
"""

from collections.abc import Mapping

from explorer.architectures.config_fields import ConfigFields
from explorer.sizing.cache.layers import (
    CachedLayers,
    CacheLayout,
    RecurrentLayers,
    latent_width,
)

__all__ = ["kept_of_gguf"]

# of this many layers, the last has no window; and the model_type of the same layers
_WINDOWS = {
    "gemma2": (2, "gemma2"),
    "gemma3": (6, "gemma3_text"),
    "gpt-oss": (2, "gpt_oss"),
    "cohere2": (4, "cohere2"),
}
_PLAIN = frozenset(
    [
        "arcee",
        "baichuan",
        "command-r",
        "ernie4_5",
        "ernie4_5-moe",
        "exaone",
        "falcon",
        "gemma",
        "glm4",
        "glm4moe",
        "gpt2",
        "gptneox",
        "granite",
        "granitemoe",
        "internlm2",
        "llama",
        "mpt",
        "nemotron",
        "olmo",
        "olmo2",
        "olmoe",
        "orion",
        "phi2",
        "phi3",
        "phimoe",
        "qwen2",
        "qwen2moe",
        "qwen3",
        "qwen3moe",
        "refact",
        "seed_oss",
        "smollm3",
        "stablelm",
        "starcoder",
        "starcoder2",
        "xverse",
    ]
)
_HYBRID = ("qwen3next", "qwen35", "qwen35moe")
_BY_METADATA = "inferred (metadata of the file)"


def kept_of_gguf(metadata: Mapping[str, str], vocabulary: int = 0) -> CacheLayout | None:
    """Return what the layers of a GGUF file's model keep; None where it is not known.

    Args:
        metadata: the file's keys and values as texts.
        vocabulary: rows of its table of tokens.

    Raises:
        InputError: a known architecture, with a key missing or wrong.

    >>> kept = kept_of_gguf({"general.architecture": "gpt2", "gpt2.block_count": "12",
    ...     "gpt2.attention.head_count": "12", "gpt2.embedding_length": "768"})
    >>> kept.cached
    (CachedLayers(layers=12, heads=12, key=64, value=64, window=None, parts=(), expanded=None, length=None),)
    """
    name = metadata.get("general.architecture", "")
    if name not in _PLAIN and name not in (*_WINDOWS, *_HYBRID, "deepseek2", "mamba"):
        return None
    fields = ConfigFields(_numbers(metadata, name), "GGUF metadata", f"{name}.")
    size = fields.size("embedding_length")
    cached, recurrent = _layers(fields, name)
    return CacheLayout(
        family=_WINDOWS[name][1] if name in _WINDOWS else name,
        cached=tuple(kind for kind in cached if kind.layers),
        recurrent=recurrent,
        dtype="float16",
        positions=fields.size("context_length", default=None),
        hidden=size,
        widest=max([5 * size + _network(fields, size), *_latent_widths(cached, size)]),
        heads=fields.size("attention.head_count", default=0),
        vocabulary=fields.size("vocab_size", default=vocabulary),
        provenance=_BY_METADATA,
    )


def _numbers(metadata: Mapping[str, str], name: str) -> dict[str, int | str]:
    """Return an architecture's own keys; a text that is not a number stays one."""
    prefix = f"{name}."
    return {
        key.removeprefix(prefix): int(value) if value[:12].isdecimal() else value
        for key, value in metadata.items()
        if key.startswith(prefix) and len(value) < 20
    }


def _layers(
    fields: ConfigFields, name: str
) -> tuple[list[CachedLayers], tuple[RecurrentLayers, ...]]:
    """Return layers by kind; those that predict further tokens are not run."""
    layers = fields.layers("block_count") - fields.index("nextn_predict_layers", default=0)
    if name == "mamba":
        return [], (_state(fields, layers),)
    if name == "deepseek2":
        return [_latent(fields, layers)], ()
    if name in _HYBRID:
        full = layers // fields.size("full_attention_interval", default=4)
        return [_heads(fields, full)], (_state(fields, layers - full),)
    window = fields.index("attention.sliding_window", default=0)
    if name not in _WINDOWS or not window:
        return [_heads(fields, layers)], ()
    full = layers // _WINDOWS[name][0]
    return [_heads(fields, layers - full, window), _heads(fields, full)], ()


def _heads(fields: ConfigFields, layers: int, window: int | None = None) -> CachedLayers:
    heads = fields.size("attention.head_count")
    each = max(1, fields.size("embedding_length") // heads)
    return CachedLayers(
        layers,
        fields.size("attention.head_count_kv", default=heads),
        fields.size("attention.key_length", default=each),
        fields.size("attention.value_length", default=each),
        window,
    )


def _latent(fields: ConfigFields, layers: int) -> CachedLayers:
    """Return latent attention; older files have the keys of all heads in its place."""
    if not fields.has("attention.key_length_mla"):
        return _heads(fields, layers)
    latent, rotary = (
        fields.size("attention.kv_lora_rank"),
        fields.size("rope.dimension_count"),
    )
    expanded = (
        fields.size("attention.head_count"),
        fields.size("attention.key_length_mla"),
        fields.size("attention.value_length_mla"),
    )
    return CachedLayers(
        layers, 0, latent + rotary, 0, None, (latent, rotary), expanded=expanded
    )


def _latent_widths(cached: list[CachedLayers], size: int) -> list[int]:
    return [
        latent_width(kind.expanded[0], kind.key, kind.parts[1], size)
        for kind in cached
        if kind.expanded is not None
    ]


def _state(fields: ConfigFields, layers: int) -> RecurrentLayers:
    """Return states as n_embd_r and n_embd_s in src/llama-hparams.cpp."""
    inner, state = fields.size("ssm.inner_size"), fields.size("ssm.state_size")
    groups, kernel = (
        fields.index("ssm.group_count", default=0),
        fields.size("ssm.conv_kernel"),
    )
    return RecurrentLayers(
        layers, (kernel - 1) * (inner + 2 * groups * state), state * inner
    )


def _network(fields: ConfigFields, size: int) -> int:
    """Return the numbers of a token in the widest feed-forward network."""
    number = fields.index("expert_used_count", default=0)
    expert = fields.index("expert_feed_forward_length", default=0)
    dense = fields.index("feed_forward_length", default=0)
    return max(3 * dense, number * (3 * expert + size) if expert else 0)
