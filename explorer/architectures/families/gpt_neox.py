"""GPT-NeoX and Pythia (Black et al. 2022, Biderman et al. 2023)."""

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
from explorer.architectures.families.rotary import rope_of
from explorer.architectures.tensor_layout import TensorLayout

__all__ = ["checkpoint_names", "translate"]


def translate(fields: ConfigFields, model_type: str) -> Architecture:
    """Return the architecture of a gpt_neox config."""
    class_name = reading.class_of(fields, *decoder_classes(model_type))
    size = fields.size("hidden_size")
    heads = reading.equal_heads(fields)
    norm = building.layer_norm(size, fields.number("layer_norm_eps", default=1e-5))
    attention = building.grouped_attention(
        size,
        heads,
        bias=fields.flag("attention_bias", default=True),
        rope=rope_of(fields, heads[2], share=0.25),
    )
    block = BlockSpec(
        attention_norm=norm,
        attention=attention,
        mlp_norm=norm,
        mlp=building.plain_mlp(
            size,
            fields.size("intermediate_size"),
            reading.activation_of(fields, "hidden_act", default="gelu"),
        ),
        parallel=fields.flag("use_parallel_residual", default=True),
    )
    blocks = [block] * fields.layers("num_hidden_layers")
    return building.language_model(fields, model_type, class_name, blocks, norm)


def _fused(heads: int) -> tuple[NameRow, NameRow]:
    """Return the rows of queries, keys and values, fused and grouped by head."""
    kernels = [f"attention/{part}/kernel" for part in ("query", "key", "value")]
    biases = [f"attention/{part}/bias" for part in ("query", "key", "value")]
    stored = "attention.query_key_value"
    return (
        row(f"{stored}.weight", *kernels, layout=TensorLayout(axes=(1, 0), groups=heads)),
        row(f"{stored}.bias", *biases, layout=TensorLayout(groups=heads)),
    )


def checkpoint_names(architecture: Architecture) -> CheckpointNames:
    """Return the names of GPT-NeoX's checkpoints."""
    heads = next(architecture.blocks()).attention.heads
    return CheckpointNames(
        base_prefix="gpt_neox.",
        layer_prefix="gpt_neox.layers.{i}.",
        top_level=(
            row("gpt_neox.embed_in.weight", "embed/embedding"),
            *layer_norm_rows("gpt_neox.final_layer_norm", "final_norm"),
            *linear_rows("embed_out", "lm_head"),
            *linear_rows("lm_head", "lm_head"),
            *naming.classifier_rows(architecture, "classifier"),
        ),
        layers=(
            *layer_norm_rows("input_layernorm", "attention_norm"),
            *_fused(heads),
            *linear_rows("attention.dense", "attention/out"),
            *layer_norm_rows("post_attention_layernorm", "mlp_norm"),
            *linear_rows("mlp.dense_h_to_4h", "mlp/up_proj"),
            *linear_rows("mlp.dense_4h_to_h", "mlp/down_proj"),
        ),
        aliases=naming.tied_head(architecture, "embed_out.weight", "lm_head.weight"),
    )
