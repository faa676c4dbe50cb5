"""GPT-2 (Radford et al. 2019)."""

from explorer.architectures.architecture import Architecture, BlockSpec
from explorer.architectures.checkpoint_names import (
    CheckpointNames,
    NameRow,
    layer_norm_rows,
    linear_rows,
    row,
)
from explorer.architectures.config_fields import ConfigFields
from explorer.architectures.families import building, naming, reading
from explorer.architectures.families.classes import decoder_classes
from explorer.architectures.specs import EmbeddingSpec
from explorer.architectures.tensor_layout import TensorLayout

__all__ = ["checkpoint_names", "translate"]

_POSITIONS = ("n_positions", "max_position_embeddings")


def translate(fields: ConfigFields, model_type: str) -> Architecture:
    """Return the architecture of a gpt2 config."""
    class_name = reading.class_of(fields, *decoder_classes(model_type))
    reading.reject(fields, "add_cross_attention")
    size = fields.shared_size(*reading.EMBED)
    heads = reading.equal_heads(fields, reading.EMBED, reading.HEADS)
    norm = building.layer_norm(size, fields.number("layer_norm_epsilon", default=1e-5))
    mlp = building.plain_mlp(
        size,
        fields.size("n_inner", default=4 * size),
        reading.activation_of(fields, "activation_function", default="gelu_new"),
    )

    def block(scale: float) -> BlockSpec:
        attention = building.grouped_attention(size, heads, bias=True, scale=scale)
        return BlockSpec(attention_norm=norm, attention=attention, mlp_norm=norm, mlp=mlp)

    return building.language_model(
        fields,
        model_type,
        class_name,
        building.blocks_by(_scales(fields, heads[2]), block),
        norm,
        tied=True,
        position_embed=EmbeddingSpec(fields.shared_size(*_POSITIONS), size),
    )


def _scales(fields: ConfigFields, head_size: int) -> list[float]:
    """Return the scale of each layer's attention logits."""
    scaled = fields.flag("scale_attn_weights", default=True)
    scale = head_size**-0.5 if scaled else 1.0
    layers = fields.layers(*reading.LAYERS)
    if fields.flag("scale_attn_by_inverse_layer_idx", default=False):
        return [scale / (index + 1) for index in range(layers)]
    return [scale] * layers


def _conv1d(stored: str, *flax: str) -> tuple[NameRow, NameRow]:
    """Return the rows of a kernel stored as [inputs, outputs] and its bias.

    Several layers are concatenated along the outputs.
    """
    return (
        row(
            f"{stored}.weight",
            *(f"{each}/kernel" for each in flax),
            layout=TensorLayout(axis=1),
        ),
        row(f"{stored}.bias", *(f"{each}/bias" for each in flax)),
    )


def checkpoint_names(architecture: Architecture) -> CheckpointNames:
    """Return the names of GPT-2's checkpoints."""
    return CheckpointNames(
        base_prefix="transformer.",
        layer_prefix="transformer.h.{i}.",
        top_level=(
            row("transformer.wte.weight", "embed/embedding"),
            row("transformer.wpe.weight", "position_embed/embedding"),
            *layer_norm_rows("transformer.ln_f", "final_norm"),
            *linear_rows("lm_head", "lm_head"),
            *naming.classifier_rows(architecture, "classifier"),
        ),
        layers=(
            *layer_norm_rows("ln_1", "attention_norm"),
            *_conv1d("attn.c_attn", "attention/query", "attention/key", "attention/value"),
            *_conv1d("attn.c_proj", "attention/out"),
            *layer_norm_rows("ln_2", "mlp_norm"),
            *_conv1d("mlp.c_fc", "mlp/up_proj"),
            *_conv1d("mlp.c_proj", "mlp/down_proj"),
        ),
        aliases=naming.tied_head(architecture),
    )
