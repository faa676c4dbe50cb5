"""Grok-1: a mixture of eight large experts, as defined by xAI's Haiku code (2024).

Its release has no config.json: fields have the names that later ports gave them, and
defaults are the release's settings.
"""

from explorer.architectures.architecture import Architecture, BlockSpec
from explorer.architectures.checkpoint_names import CheckpointNames, row
from explorer.architectures.config_fields import ConfigFields
from explorer.architectures.families import building, reading
from explorer.architectures.families.rotary import rope_of
from explorer.architectures.specs import ExpertsSpec, NormSpec

__all__ = ["checkpoint_names", "translate"]

_EMBEDDING_SCALE = 78.38367176906169
_LOGIT_SCALE = 0.5773502691896257
_ATTENTION_SCALE = 0.08838834764831845
_ATTENTION_CAP = 30.0


def translate(fields: ConfigFields, model_type: str) -> Architecture:
    """Return the architecture of a grok-1 config."""
    class_name = reading.class_of(
        fields, "Grok1ForCausalLM", "Grok1ModelForCausalLM", "Grok1Model"
    )
    if not fields.flag("tie_word_embeddings", default=True):
        raise fields.invalid("tie_word_embeddings", "true")
    size = fields.size("hidden_size")
    norm = NormSpec(size, fields.number("rms_norm_eps", default=1e-5))
    heads = reading.heads_of(fields)
    attention = building.grouped_attention(
        size,
        heads,
        scale=fields.number("attn_output_multiplier", default=_ATTENTION_SCALE),
        softcap=fields.number("max_attn_val", "max_attn_value", default=_ATTENTION_CAP),
        rope=rope_of(fields, heads[2]),
    )
    router = building.router_of(fields, "num_experts", "num_local_experts")
    experts = building.gated_mlp(
        size, _inner_of(fields, size), "gelu_tanh", stack=router.experts
    )
    block = BlockSpec(
        attention_norm=norm,
        attention=attention,
        attention_post_norm=norm,
        mlp_norm=norm,
        moe=ExpertsSpec(router=router, experts=experts),
        mlp_post_norm=norm,
    )
    return building.language_model(
        fields,
        model_type,
        class_name,
        [block] * fields.layers("num_hidden_layers"),
        norm,
        tied=True,
        embed_scale=fields.number("embedding_multiplier_scale", default=_EMBEDDING_SCALE),
        logit_scale=fields.number("output_multiplier_scale", default=_LOGIT_SCALE),
    )


def _inner_of(fields: ConfigFields, size: int) -> int:
    """Return the units of an expert: 2/3 of the widened size, rounded up to 8s."""
    if not fields.has("intermediate_size") and fields.has("widening_factor"):
        widened = fields.size("widening_factor") * size * 2 // 3
        return widened + -widened % 8
    return fields.size("intermediate_size")


# a layer's norms are numbered in the order in which they are applied
_LAYER_ROWS = (
    *(
        row(f"multi_head_attention/{stored}/w", f"attention/{flax}/kernel")
        for stored, flax in (
            ("query", "query"),
            ("key", "key"),
            ("value", "value"),
            ("linear", "out"),
        )
    ),
    row("router/w", "moe/router/kernel"),
    row("moe/linear/w", "moe/experts/gate_proj/kernel"),
    row("moe/linear_v/w", "moe/experts/up_proj/kernel"),
    row("moe/linear_1/w", "moe/experts/down_proj/kernel"),
    row("rms_norm/scale", "attention_norm/scale"),
    row("rms_norm_1/scale", "attention_post_norm/scale"),
    row("rms_norm_2/scale", "mlp_norm/scale"),
    row("rms_norm_3/scale", "mlp_post_norm/scale"),
)


def checkpoint_names(architecture: Architecture) -> CheckpointNames:
    """Return the names in the released Haiku tree."""
    return CheckpointNames(
        base_prefix="language_model/",
        layer_prefix="language_model/transformer/decoder_layer_{i}/",
        top_level=(
            row("language_model/in_out_embed/embeddings", "embed/embedding"),
            row("language_model/rms_norm/scale", "final_norm/scale"),
        ),
        layers=_LAYER_ROWS,
    )
