"""Phi: parallel attention and feed-forward branches that share a norm (Microsoft 2023)."""

from msgspec.structs import replace

from explorer.architectures.architecture import Architecture, BlockSpec
from explorer.architectures.checkpoint_names import (
    CheckpointNames,
    layer_norm_rows,
    linear_rows,
    row,
)
from explorer.architectures.config_fields import ConfigFields
from explorer.architectures.families import building, naming, reading
from explorer.architectures.families.classes import decoder_classes
from explorer.architectures.families.rotary import rope_of

__all__ = ["checkpoint_names", "translate"]


def translate(fields: ConfigFields, model_type: str) -> Architecture:
    """Return the architecture of a phi config."""
    class_name = reading.class_of(fields, *decoder_classes(model_type))
    if class_name.endswith("ForCausalLM"):  # a tied head would still have its own bias
        reading.reject(fields, "tie_word_embeddings")
    size, heads = fields.size("hidden_size"), reading.heads_of(fields)
    norm = building.layer_norm(size, fields.number("layer_norm_eps", default=1e-5))
    head_norm = None
    if fields.flag("qk_layernorm", default=False):
        head_norm = replace(norm, size=heads[2])
    block = BlockSpec(
        attention_norm=norm,
        attention=building.grouped_attention(
            size,
            heads,
            bias=True,
            query_norm=head_norm,
            key_norm=head_norm,
            rope=rope_of(fields, heads[2], share=0.5),
        ),
        mlp=building.plain_mlp(
            size,
            fields.size("intermediate_size"),
            reading.activation_of(fields, "hidden_act", default="gelu_new"),
        ),
        parallel=True,
    )
    blocks = [block] * fields.layers("num_hidden_layers")
    return building.language_model(
        fields, model_type, class_name, blocks, norm, head_bias=True
    )


def checkpoint_names(architecture: Architecture) -> CheckpointNames:
    """Return the names of Phi's checkpoints."""
    return CheckpointNames(
        base_prefix="model.",
        layer_prefix="model.layers.{i}.",
        top_level=(
            row("model.embed_tokens.weight", "embed/embedding"),
            *layer_norm_rows("model.final_layernorm", "final_norm"),
            *linear_rows("lm_head", "lm_head"),
            *naming.classifier_rows(architecture),
        ),
        layers=(
            *layer_norm_rows("input_layernorm", "attention_norm"),
            *naming.QUERY_KEY_VALUE_ROWS,
            *linear_rows("self_attn.dense", "attention/out"),
            *layer_norm_rows("self_attn.q_layernorm", "attention/query_norm"),
            *layer_norm_rows("self_attn.k_layernorm", "attention/key_norm"),
            *linear_rows("mlp.fc1", "mlp/up_proj"),
            *linear_rows("mlp.fc2", "mlp/down_proj"),
        ),
    )
