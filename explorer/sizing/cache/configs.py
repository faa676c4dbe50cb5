"""Configs of families that have no architecture here -> what their layers keep.

Only families whose fields say it; the names are those of transformers' classes.
"""

from collections.abc import Callable, Mapping
from typing import Any

from explorer.architectures.architecture import Architecture
from explorer.architectures.config_fields import ConfigFields
from explorer.architectures.families.reading import dtype_of, windows_by_period
from explorer.errors import InputError, printable
from explorer.sizing.cache.gguf_metadata import kept_of_gguf
from explorer.sizing.cache.hybrids import HYBRIDS, Parts, attention_of, kinds_of
from explorer.sizing.cache.layers import CachedLayers, CacheLayout
from explorer.sizing.subject import Subject

__all__ = ["CONFIG_FAMILIES", "kept_of_config", "model_of", "unknown_cache"]

_BY_FIELDS = "inferred (fields of the config)"


def kept_of_config(
    config: Mapping[str, Any], place: str = "config.json"
) -> CacheLayout | None:
    """Return what the layers of a config's model keep; None where its fields do not say.

    Raises:
        InputError: a family that is known, with a field missing or wrong.

    >>> config = {"model_type": "mamba", "hidden_size": 768, "num_hidden_layers": 24,
    ...           "state_size": 16, "conv_kernel": 4, "expand": 2, "vocab_size": 50280}
    >>> kept_of_config(config).recurrent
    (RecurrentLayers(layers=24, convolution=4608, state=24576),)
    """
    inner = config.get("text_config")
    if isinstance(inner, Mapping) and inner.get("model_type") in CONFIG_FAMILIES:
        config = {**{n: config.get(n) for n in ("torch_dtype", "dtype")}, **inner}
    family = config.get("model_type")
    if not isinstance(family, str) or family not in CONFIG_FAMILIES:
        return None
    fields = ConfigFields(config, place)
    cached, recurrent = CONFIG_FAMILIES[family](fields)
    return CacheLayout(
        family=family,
        cached=tuple(kind for kind in cached if kind.layers),
        recurrent=tuple(kind for kind in recurrent if kind.layers),
        dtype=dtype_of(fields),
        positions=fields.size(
            "max_position_embeddings", "max_target_positions", default=None
        ),
        hidden=fields.size("hidden_size", "d_model", default=0),
        widest=_width(fields),
        heads=fields.size("num_attention_heads", "num_heads", default=0),
        vocabulary=fields.size("vocab_size", default=0),
        provenance=_BY_FIELDS,
    )


def model_of(subject: Subject) -> Architecture | CacheLayout | None:
    """Return what says what a subject's layers keep; None where nothing does."""
    if subject.architecture is not None:
        return subject.architecture
    try:
        return _described(subject)
    except InputError:
        return None


def _described(subject: Subject) -> CacheLayout | None:
    """Return what a config, or the metadata of a GGUF file, says."""
    if subject.config is not None:
        return kept_of_config(subject.config)
    metadata = subject.inventory.metadata
    if "general.architecture" not in metadata:
        return None
    columns, table = subject.inventory.columns, "token_embd.weight"
    rows = columns.spec(columns.keys.index(table)).shape[0] if table in columns.keys else 0
    return kept_of_gguf(metadata, rows)


def _width(fields: ConfigFields) -> int:
    """Return the numbers of a token that are held at once, as of a block of an architecture."""
    size, names = (
        fields.size("hidden_size", "d_model", default=0),
        ("intermediate_size", "d_ff", "decoder_ffn_dim"),
    )
    dense = fields.size(*names, default=0) if _is_int(fields, *names) else 0
    number = fields.size("num_experts_per_tok", default=0)
    expert = fields.size("moe_intermediate_size", default=0)
    return 5 * size + max(3 * dense, number * (3 * expert + size) if expert else 0)


def _is_int(fields: ConfigFields, *names: str) -> bool:
    return all(isinstance(fields.content.get(name, 0), int | None) for name in names)


def _gemma3n(fields: ConfigFields) -> Parts:
    """Gemma 3n: the last layers read the keys and values of earlier ones."""
    kinds = kinds_of(fields, "sliding_attention", "full_attention")
    shared = fields.index("num_kv_shared_layers", default=15)
    if shared >= len(kinds):
        raise fields.invalid("num_kv_shared_layers", f"0 to {len(kinds) - 1}")
    own = kinds[: len(kinds) - shared]
    window = fields.size("sliding_window", default=512)
    return [
        attention_of(fields, own.count("sliding_attention"), window),
        attention_of(fields, own.count("full_attention")),
    ], []


def _grouped(fields: ConfigFields) -> Parts:
    """Decoders whose every layer has grouped heads, some of them a window."""
    layers = fields.layers("num_hidden_layers")
    window = fields.size("sliding_window", default=None)
    if fields.has("layer_types") or fields.has("sliding_window_pattern"):
        period = fields.size("sliding_window_pattern", default=4)
        windows = windows_by_period(fields, layers, window, period)
    elif window is not None and fields.flag("use_sliding_window", default=False):
        raise fields.invalid("use_sliding_window", "layer_types beside it")
    else:
        windows = [None] * layers
    kinds: list[int | None] = list(windows)
    numbers = {each: kinds.count(each) for each in dict.fromkeys(kinds)}
    return [attention_of(fields, n, each) for each, n in numbers.items()], []


def _t5(fields: ConfigFields) -> Parts:
    """T5: each decoder layer keeps its own tokens and all of the encoder's."""
    layers = fields.layers("num_decoder_layers", "num_layers")
    heads, size = fields.size("num_heads"), fields.size("d_kv", default=64)
    own = CachedLayers(2 * layers, heads, size, size)
    return [own], []


def _whisper(fields: ConfigFields) -> Parts:
    """Whisper: the encoder's output has a fixed length, 30 seconds of sound."""
    layers, heads = (
        fields.layers("decoder_layers"),
        fields.size("decoder_attention_heads"),
    )
    size = fields.divides(
        "decoder_attention_heads", heads, "d_model", fields.size("d_model")
    )
    length = fields.size("max_source_positions", default=1500)
    return [
        CachedLayers(layers, heads, size, size),
        CachedLayers(layers, heads, size, size, length=length),
    ], []


_GROUPED = (
    "apertus", "arcee", "cohere", "cohere2", "ernie4_5", "ernie4_5_moe", "exaone4", "glm",
    "glm4", "glm4_moe", "granite", "granitemoe", "hunyuan_v1_dense", "hunyuan_v1_moe",
    "nemotron", "olmo3", "qwen2_moe", "seed_oss", "smollm3",
)  # fmt: skip
CONFIG_FAMILIES: dict[str, Callable[[ConfigFields], Parts]] = {
    **dict.fromkeys(_GROUPED, _grouped),
    **HYBRIDS,
    **dict.fromkeys(("gemma3n", "gemma3n_text"), _gemma3n),
    **dict.fromkeys(("t5", "mt5", "umt5"), _t5),
    "whisper": _whisper,
}


def unknown_cache(subject: Subject) -> str:
    """Return the line for a model whose cache is not known."""
    said = subject.config or {}
    family = said.get("model_type", subject.inventory.metadata.get("general.architecture"))
    if not isinstance(family, str):
        return "the cache is not known: no config.json says what the layers keep"
    line = f"the cache of {printable(family, 40)} is not known"
    try:
        _described(subject)
    except InputError as error:
        return f"{line}: {error}"
    return f"{line}: nothing here says what its layers keep"
