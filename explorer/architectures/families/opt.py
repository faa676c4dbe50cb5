"""OPT (Zhang et al. 2022), in the sizes that normalise before each branch."""

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
from explorer.architectures.specs import EmbeddingSpec, NormSpec

__all__ = ["checkpoint_names", "translate"]

# the first rows of the position table are unused
_OFFSET = 2


def translate(fields: ConfigFields, model_type: str) -> Architecture:
    """Return the architecture of an opt config."""
    class_name = reading.class_of(fields, *decoder_classes(model_type))
    size = fields.size("hidden_size")
    _reject_post_norm(fields, size)
    learned = fields.flag("layer_norm_elementwise_affine", default=True)
    norm = NormSpec(size, 1e-5, "layer", gain=learned, bias=learned)
    bias = fields.flag("enable_bias", default=True)
    block = BlockSpec(
        attention_norm=norm,
        attention=building.grouped_attention(size, reading.equal_heads(fields), bias=bias),
        mlp_norm=norm,
        mlp=building.plain_mlp(
            size,
            fields.size("ffn_dim"),
            reading.activation_of(fields, "activation_function", default="relu"),
            bias,
        ),
    )
    positions = fields.size("max_position_embeddings") + _OFFSET
    return building.language_model(
        fields,
        model_type,
        class_name,
        [block] * fields.layers("num_hidden_layers"),
        norm,
        tied=True,
        position_embed=EmbeddingSpec(positions, size, _OFFSET),
    )


def _reject_post_norm(fields: ConfigFields, size: int) -> None:
    """Raise for OPT-350M, which projects its embeddings and normalises after a branch."""
    if not fields.flag("do_layer_norm_before", default=True):
        raise fields.invalid("do_layer_norm_before", "true")
    if fields.size("word_embed_proj_dim", default=size) != size:
        raise fields.invalid("word_embed_proj_dim", f"{size}, the hidden_size")
    reading.reject(fields, "_remove_final_layer_norm")


def checkpoint_names(architecture: Architecture) -> CheckpointNames:
    """Return the names of OPT's checkpoints."""
    return CheckpointNames(
        base_prefix="model.",
        layer_prefix="model.decoder.layers.{i}.",
        top_level=(
            row("model.decoder.embed_tokens.weight", "embed/embedding"),
            row("model.decoder.embed_positions.weight", "position_embed/embedding"),
            *layer_norm_rows("model.decoder.final_layer_norm", "final_norm"),
            *linear_rows("lm_head", "lm_head"),
            *naming.classifier_rows(architecture),
        ),
        layers=(
            *layer_norm_rows("self_attn_layer_norm", "attention_norm"),
            *naming.QUERY_KEY_VALUE_ROWS,
            *linear_rows("self_attn.out_proj", "attention/out"),
            *layer_norm_rows("final_layer_norm", "mlp_norm"),
            *linear_rows("fc1", "mlp/up_proj"),
            *linear_rows("fc2", "mlp/down_proj"),
        ),
        aliases=naming.tied_head(architecture),
    )
