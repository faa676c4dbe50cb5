"""LLaMA and families that differ by a bias, a window or norms of queries and keys.

Touvron et al. 2023 (LLaMA), Jiang et al. 2023 (Mistral), Qwen2 2024, Qwen3 2025.
"""

from explorer.architectures.architecture import Architecture, BlockSpec
from explorer.architectures.attention_specs import AttentionSpec
from explorer.architectures.checkpoint_names import CheckpointNames
from explorer.architectures.config_fields import ConfigFields
from explorer.architectures.families import building, naming, reading
from explorer.architectures.families.classes import decoder_classes
from explorer.architectures.families.rotary import rope_of
from explorer.architectures.specs import NormSpec

__all__ = ["checkpoint_names", "translate"]

# the default of each reference class
_KV_HEADS = {"mistral": 8, "qwen2": 32, "qwen3": 32}
_HEAD_SIZES = {"qwen3": 128}
# the reference code of the others does not read attention_bias
_READ_BIAS = ("llama", "qwen3")


def translate(fields: ConfigFields, model_type: str) -> Architecture:
    """Return the architecture of a llama, mistral, qwen2 or qwen3 config."""
    class_name = reading.class_of(fields, *decoder_classes(model_type))
    size = fields.size("hidden_size")
    norm = NormSpec(size, fields.number("rms_norm_eps", default=1e-6))
    mlp = building.gated_mlp(
        size,
        fields.size("intermediate_size"),
        reading.activation_of(fields, "hidden_act"),
        model_type == "llama" and fields.flag("mlp_bias", default=False),
    )

    def block(window: int | None) -> BlockSpec:
        attention = _attention(fields, model_type, norm, window)
        return BlockSpec(attention_norm=norm, attention=attention, mlp_norm=norm, mlp=mlp)

    blocks = building.blocks_by(_windows(fields, model_type), block)
    return building.language_model(fields, model_type, class_name, blocks, norm)


def _attention(
    fields: ConfigFields, model_type: str, norm: NormSpec, window: int | None
) -> AttentionSpec:
    heads = reading.heads_of(fields, _KV_HEADS.get(model_type), _HEAD_SIZES.get(model_type))
    head_norm = NormSpec(heads[2], norm.eps) if model_type == "qwen3" else None
    bias = model_type in _READ_BIAS and fields.flag("attention_bias", default=False)
    return building.grouped_attention(
        norm.size,
        heads,
        bias=bias or model_type == "qwen2",
        out_bias=bias,
        query_norm=head_norm,
        key_norm=head_norm,
        rope=rope_of(fields, heads[2]),
        window=window,
    )


def _windows(fields: ConfigFields, model_type: str) -> list[int | None]:
    """Return each layer's window; None for full attention."""
    layers = fields.layers("num_hidden_layers")
    if model_type == "llama":
        return [None] * layers
    if model_type == "mistral":
        # null means no window; if the field is absent, that of the first release
        unset = "sliding_window" not in fields.content
        window = 4096 if unset else fields.size("sliding_window", default=None)
        return [window] * layers
    window = None
    if fields.flag("use_sliding_window", default=False):
        window = fields.size("sliding_window", default=4096)
    kinds = reading.windows_of(fields, layers, window) if window else None
    if kinds is not None:
        return kinds
    full = fields.index("max_window_layers", default=28)
    return [window if index >= full else None for index in range(layers)]


def checkpoint_names(architecture: Architecture) -> CheckpointNames:
    """Return the names that the LLaMA-like families share."""
    return naming.llama_names(
        architecture, *naming.ATTENTION_ROWS, *naming.MLP_ROWS, *naming.NORM_ROWS
    )
