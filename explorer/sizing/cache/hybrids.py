"""Families with recurrent states: which layers have one, how large it is, which have attention.

Field names and state shapes are those of transformers' classes, and of llama.cpp (n_embd_r
and n_embd_s in src/llama-hparams.cpp) and vllm (MambaStateShapeCalculator in
vllm/model_executor/layers/mamba/mamba_utils.py).
"""

from collections.abc import Callable, Mapping

from explorer.architectures.config_fields import ConfigFields
from explorer.sizing.cache.layers import CachedLayers, RecurrentLayers

__all__ = ["HYBRIDS", "Parts", "attention_of", "kinds_of"]

Parts = tuple[list[CachedLayers], list[RecurrentLayers]]


def attention_of(
    fields: ConfigFields, layers: int, window: int | None = None
) -> CachedLayers:
    """Return layers with the grouped heads of a config."""
    heads = fields.size("num_attention_heads")
    kv_heads = fields.size("num_key_value_heads", default=heads)
    size = fields.size(
        "head_dim", "attention_head_dim", default=fields.size("hidden_size") // heads
    )
    return CachedLayers(layers, kv_heads, size, size, window)


def kinds_of(fields: ConfigFields, *allowed: str) -> list[str]:
    """Return the kind of each layer, which must be given."""
    layers = fields.layers("num_hidden_layers")
    found = fields.words(allowed, layers, "layer_types", "layers_block_type")
    if found is None:
        raise fields.invalid("layer_types", f"one of {', '.join(allowed)} per layer")
    return found


def _qwen(fields: ConfigFields) -> Parts:
    """Qwen3-Next, Qwen3.5: gated delta nets, and attention in every fourth layer."""
    layers = fields.layers("num_hidden_layers")
    kinds = fields.words(("linear_attention", "full_attention"), layers, "layer_types")
    every = fields.size("full_attention_interval", default=4)
    full = layers // every if kinds is None else kinds.count("full_attention")
    keys = fields.size("linear_num_key_heads") * fields.size("linear_key_head_dim")
    values = fields.size("linear_num_value_heads") * fields.size("linear_value_head_dim")
    kernel = fields.size("linear_conv_kernel_dim", default=4)
    state = values * fields.size("linear_key_head_dim")
    recurrent = RecurrentLayers(layers - full, (kernel - 1) * (2 * keys + values), state)
    return [attention_of(fields, full)], [recurrent]


def _mamba(fields: ConfigFields) -> Parts:
    """Mamba (Gu and Dao 2023): a state in every layer."""
    expanded = fields.size("expand", default=2) * fields.size("hidden_size")
    units = fields.size("intermediate_size", default=expanded)
    return [], [_first_mamba(fields, fields.layers("num_hidden_layers"), units, "")]


def _first_mamba(
    fields: ConfigFields, layers: int, units: int, prefix: str
) -> RecurrentLayers:
    kernel = fields.size("mamba_d_conv" if prefix else "conv_kernel", default=4)
    state = fields.size("mamba_d_state" if prefix else "state_size", default=16)
    return RecurrentLayers(layers, (kernel - 1) * units, units * state)


def _second_mamba(
    fields: ConfigFields, layers: int, names: Mapping[str, str]
) -> RecurrentLayers:
    """Mamba 2 (Dao and Gu 2024): the convolution is over inputs, B and C."""
    if fields.content.get(names["size"]) == "auto":
        units = fields.size("mamba_expand", default=2) * fields.size("hidden_size")
    else:
        units = fields.size(names["heads"]) * fields.size(names["size"])
    state, kernel = fields.size(names["state"]), fields.size(names["kernel"], default=4)
    groups = fields.size(names["groups"], default=1)
    convolution = (kernel - 1) * (units + 2 * groups * state)
    return RecurrentLayers(layers, convolution, units * state)


_MAMBA2 = {
    "heads": "num_heads", "size": "head_dim", "state": "state_size", "kernel": "conv_kernel",
    "groups": "n_groups",
}  # fmt: skip
_PREFIXED = {
    "heads": "mamba_n_heads", "size": "mamba_d_head", "state": "mamba_d_state",
    "kernel": "mamba_d_conv", "groups": "mamba_n_groups",
}  # fmt: skip
_NEMOTRON = {
    "heads": "mamba_num_heads", "size": "mamba_head_dim", "state": "ssm_state_size",
    "kernel": "conv_kernel", "groups": "n_groups",
}  # fmt: skip


def _mamba2(fields: ConfigFields) -> Parts:
    return [], [_second_mamba(fields, fields.layers("num_hidden_layers"), _MAMBA2)]


def _jamba(fields: ConfigFields) -> Parts:
    """Jamba: Mamba, and attention in one layer of a period."""
    layers = fields.layers("num_hidden_layers")
    period = fields.size("attn_layer_period", default=8)
    offset = fields.index("attn_layer_offset", default=4)
    full = sum(index % period == offset for index in range(layers))
    units = fields.size("mamba_expand", default=2) * fields.size("hidden_size")
    recurrent = _first_mamba(fields, layers - full, units, "mamba_")
    return [attention_of(fields, full)], [recurrent]


def _bamba(fields: ConfigFields) -> Parts:
    """Bamba: Mamba 2, and attention in the layers of a list."""
    layers, full = (
        fields.layers("num_hidden_layers"),
        fields.content.get("attn_layer_indices"),
    )
    indices = set(full) if isinstance(full, list) and len(full) <= layers else {-1}
    if not indices <= set(range(layers)):
        raise fields.invalid("attn_layer_indices", f"a list of 0 to {layers - 1}")
    recurrent = _second_mamba(fields, layers - len(indices), _PREFIXED)
    return [attention_of(fields, len(indices))], [recurrent]


def _granite(fields: ConfigFields) -> Parts:
    """Granite 4: Mamba 2 and attention, layer by layer."""
    kinds = kinds_of(fields, "mamba", "attention")
    recurrent = _second_mamba(fields, kinds.count("mamba"), _PREFIXED)
    return [attention_of(fields, kinds.count("attention"))], [recurrent]


def _falcon_h1(fields: ConfigFields) -> Parts:
    """Falcon-H1: attention and Mamba 2 side by side in every layer."""
    layers = fields.layers("num_hidden_layers")
    return [attention_of(fields, layers)], [_second_mamba(fields, layers, _PREFIXED)]


def _nemotron_h(fields: ConfigFields) -> Parts:
    """Nemotron-H: a pattern of M (Mamba 2), * (attention), - and E (networks)."""
    pattern = fields.content.get("hybrid_override_pattern")
    if not isinstance(pattern, str) or len(pattern) > 10_000 or set(pattern) - set("M*-E"):
        raise fields.invalid("hybrid_override_pattern", "a letter M, *, - or E per layer")
    recurrent = _second_mamba(fields, pattern.count("M"), _NEMOTRON)
    return [attention_of(fields, pattern.count("*"))], [recurrent]


def _recurrent_gemma(fields: ConfigFields) -> Parts:
    """Griffin (De et al. 2024): linear recurrences, and windows in every third layer."""
    layers = fields.layers("num_hidden_layers")
    pattern = fields.content.get("block_types") or ["recurrent", "recurrent", "attention"]
    if not isinstance(pattern, list) or set(map(str, pattern)) - {"recurrent", "attention"}:
        raise fields.invalid("block_types", "recurrent or attention, a period of layers")
    windowed = sum(pattern[i % len(pattern)] == "attention" for i in range(layers))
    width = fields.size("lru_width", default=fields.size("hidden_size"))
    kernel = fields.size("conv1d_width", default=4)
    window = fields.size("attention_window_size", default=2048)
    recurrent = RecurrentLayers(layers - windowed, (kernel - 1) * width, width)
    return [attention_of(fields, windowed, window)], [recurrent]


def _lfm2(fields: ConfigFields) -> Parts:
    """LFM2: short convolutions and attention, layer by layer."""
    kinds = kinds_of(fields, "conv", "full_attention")
    inputs = (fields.size("conv_L_cache", default=3) - 1) * fields.size("hidden_size")
    recurrent = RecurrentLayers(kinds.count("conv"), inputs, 0)
    return [attention_of(fields, kinds.count("full_attention"))], [recurrent]


HYBRIDS: dict[str, Callable[[ConfigFields], Parts]] = {
    **dict.fromkeys(
        ("qwen3_next", "qwen3_5", "qwen3_5_text", "qwen3_5_moe", "qwen3_5_moe_text"), _qwen
    ),
    **dict.fromkeys(("mamba", "falcon_mamba"), _mamba),
    "mamba2": _mamba2,
    "jamba": _jamba,
    "granitemoehybrid": _granite,
    "bamba": _bamba,
    "falcon_h1": _falcon_h1,
    "nemotron_h": _nemotron_h,
    "recurrent_gemma": _recurrent_gemma,
    "lfm2": _lfm2,
}
