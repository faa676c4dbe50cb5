"""GPT-J (Wang and Komatsuzaki 2021)."""

from explorer.architectures.architecture import Architecture, BlockSpec
from explorer.architectures.attention_specs import RopeSpec
from explorer.architectures.checkpoint_names import (
    CheckpointNames,
    layer_norm_rows,
    linear_rows,
    row,
)
from explorer.architectures.config_fields import ConfigFields
from explorer.architectures.families import building, naming, reading
from explorer.architectures.families.classes import decoder_classes

__all__ = ["checkpoint_names", "translate"]


def translate(fields: ConfigFields, model_type: str) -> Architecture:
    """Return the architecture of a gptj config."""
    class_name = reading.class_of(fields, *decoder_classes(model_type))
    if class_name.endswith("ForCausalLM"):  # a tied head would still have its own bias
        reading.reject(fields, "tie_word_embeddings")
    size = fields.shared_size(*reading.EMBED)
    heads = reading.equal_heads(fields, reading.EMBED, reading.HEADS)
    norm = building.layer_norm(size, fields.number("layer_norm_epsilon", default=1e-5))
    block = BlockSpec(
        attention_norm=norm,
        attention=building.grouped_attention(size, heads, rope=_rope(fields, heads[2])),
        mlp=building.plain_mlp(
            size,
            fields.size("n_inner", default=4 * size),
            reading.activation_of(fields, "activation_function", default="gelu_new"),
        ),
        parallel=True,
    )
    blocks = [block] * fields.layers(*reading.LAYERS)
    return building.language_model(
        fields, model_type, class_name, blocks, norm, head_bias=True
    )


def _rope(fields: ConfigFields, head_size: int) -> RopeSpec:
    """Return rotary positions over the first entries of a head, paired with neighbours."""
    rotated = fields.size("rotary_dim", default=min(64, head_size))
    if rotated % 2 or rotated > head_size:
        raise fields.invalid(
            "rotary_dim", f"an even number up to {head_size}, a head's size"
        )
    return RopeSpec(rotated, interleaved=True)


def checkpoint_names(architecture: Architecture) -> CheckpointNames:
    """Return the names of GPT-J's checkpoints."""
    return CheckpointNames(
        base_prefix="transformer.",
        layer_prefix="transformer.h.{i}.",
        top_level=(
            row("transformer.wte.weight", "embed/embedding"),
            *layer_norm_rows("transformer.ln_f", "final_norm"),
            *linear_rows("lm_head", "lm_head"),
            *naming.classifier_rows(architecture),
        ),
        layers=(
            *layer_norm_rows("ln_1", "attention_norm"),
            *linear_rows("attn.q_proj", "attention/query"),
            *linear_rows("attn.k_proj", "attention/key"),
            *linear_rows("attn.v_proj", "attention/value"),
            *linear_rows("attn.out_proj", "attention/out"),
            *linear_rows("mlp.fc_in", "mlp/up_proj"),
            *linear_rows("mlp.fc_out", "mlp/down_proj"),
        ),
    )
