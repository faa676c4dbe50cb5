"""OLMo and OLMo 2: LLaMA with norms without parameters, then with norms after branches.

Groeneveld et al. 2024 (OLMo), OLMo Team 2025 (OLMo 2).
"""

from explorer.architectures.architecture import Architecture, BlockSpec
from explorer.architectures.checkpoint_names import CheckpointNames, row
from explorer.architectures.config_fields import ConfigFields
from explorer.architectures.families import building, naming, reading
from explorer.architectures.families.classes import decoder_classes
from explorer.architectures.families.rotary import rope_of
from explorer.architectures.specs import MlpSpec, NormSpec

__all__ = ["checkpoint_names", "translate"]


def translate(fields: ConfigFields, model_type: str) -> Architecture:
    """Return the architecture of an olmo or olmo2 config."""
    class_name = reading.class_of(fields, *decoder_classes(model_type))
    norm, block = (_first if model_type == "olmo" else _second)(fields)
    blocks = [block] * fields.layers("num_hidden_layers")
    return building.language_model(fields, model_type, class_name, blocks, norm)


def _first(fields: ConfigFields) -> tuple[NormSpec, BlockSpec]:
    size, heads = fields.size("hidden_size"), reading.heads_of(fields)
    norm = NormSpec(size, 1e-5, kind="layer", gain=False)
    attention = building.grouped_attention(
        size,
        heads,
        bias=fields.flag("attention_bias", default=False),
        rope=rope_of(fields, heads[2]),
        clip=fields.number("clip_qkv", default=None),
    )
    mlp = _mlp(fields, size)
    return norm, BlockSpec(attention_norm=norm, attention=attention, mlp_norm=norm, mlp=mlp)


def _second(fields: ConfigFields) -> tuple[NormSpec, BlockSpec]:
    size, heads = fields.size("hidden_size"), reading.heads_of(fields)
    number, kv_number, each = heads
    norm = NormSpec(size, fields.number("rms_norm_eps", default=1e-5))
    attention = building.grouped_attention(
        size,
        heads,
        bias=fields.flag("attention_bias", default=False),
        query_norm=NormSpec(number * each, norm.eps),
        key_norm=NormSpec(kv_number * each, norm.eps),
        rope=rope_of(fields, each),
    )
    return norm, BlockSpec(
        attention=attention,
        attention_post_norm=norm,
        mlp=_mlp(fields, size),
        mlp_post_norm=norm,
    )


def _mlp(fields: ConfigFields, size: int) -> MlpSpec:
    inner = fields.size("intermediate_size")
    return building.gated_mlp(size, inner, reading.activation_of(fields, "hidden_act"))


_POST_NORM_ROWS = (
    row("post_attention_layernorm.weight", "attention_post_norm/scale"),
    row("post_feedforward_layernorm.weight", "mlp_post_norm/scale"),
)


def checkpoint_names(architecture: Architecture) -> CheckpointNames:
    """Return the names of both families' checkpoints; OLMo's norms store nothing."""
    return naming.llama_names(
        architecture, *naming.ATTENTION_ROWS, *naming.MLP_ROWS, *_POST_NORM_ROWS
    )
