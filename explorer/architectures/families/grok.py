"""Grok-1: a mixture of eight large experts, as xAI's Haiku code defines it (2024).

Its release has no config.json; fields have the names that later ports gave them, and
defaults are the release's own settings.
"""

from explorer.architectures.architecture import Architecture, Block
from explorer.architectures.families.parts import (
    class_of,
    gated_mlp,
    grouped_attention,
    heads_of,
    language_model,
    router_of,
)
from explorer.architectures.families.rotary import rope_of
from explorer.architectures.fields import Fields
from explorer.architectures.names import Names, row
from explorer.architectures.specs import Experts, Norm

__all__ = ["names", "translate"]

_EMBEDDING_SCALE = 78.38367176906169
_LOGIT_SCALE = 0.5773502691896257
_ATTENTION_SCALE = 0.08838834764831845
_MOST_ATTENTION = 30.0


def translate(fields: Fields, model_type: str) -> Architecture:
    """Return the architecture of a grok-1 config."""
    class_name = class_of(fields, "Grok1ForCausalLM", "Grok1ModelForCausalLM", "Grok1Model")
    if not fields.flag("tie_word_embeddings", default=True):
        raise fields.wrong("tie_word_embeddings", "true")
    size = fields.size("hidden_size")
    norm = Norm(size, fields.number("rms_norm_eps", default=1e-5))
    heads = heads_of(fields)
    attention = grouped_attention(
        size,
        heads,
        scale=fields.number("attn_output_multiplier", default=_ATTENTION_SCALE),
        softcap=fields.number("max_attn_val", "max_attn_value", default=_MOST_ATTENTION),
        rope=rope_of(fields, heads[2]),
    )
    router = router_of(fields, "num_experts", "num_local_experts")
    experts = gated_mlp(size, _inner_of(fields, size), "gelu_tanh", stack=router.experts)
    block = Block(
        attention_norm=norm,
        attention=attention,
        attention_post_norm=norm,
        mlp_norm=norm,
        moe=Experts(router=router, experts=experts),
        mlp_post_norm=norm,
    )
    return language_model(
        fields,
        model_type,
        class_name,
        [block] * fields.layers("num_hidden_layers"),
        norm,
        tied=True,
        embed_scale=fields.number("embedding_multiplier_scale", default=_EMBEDDING_SCALE),
        logit_scale=fields.number("output_multiplier_scale", default=_LOGIT_SCALE),
    )


def _inner_of(fields: Fields, size: int) -> int:
    """Return the units of an expert: two thirds of the widened stream, a multiple of 8."""
    if not fields.has("intermediate_size") and fields.has("widening_factor"):
        widened = fields.size("widening_factor") * size * 2 // 3
        return widened + -widened % 8
    return fields.size("intermediate_size")


# each layer's norms are numbered in the order of their use
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


def names(architecture: Architecture) -> Names:
    """Return the names of the Haiku tree that was released."""
    return Names(
        base="language_model/",
        layer="language_model/transformer/decoder_layer_{i}/",
        whole=(
            row("language_model/in_out_embed/embeddings", "embed/embedding"),
            row("language_model/rms_norm/scale", "final_norm/scale"),
        ),
        layers=_LAYER_ROWS,
    )
