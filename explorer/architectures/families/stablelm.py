"""StableLM: LLaMA with LayerNorms and partial rotary positions (Stability AI 2023)."""

from explorer.architectures.architecture import Architecture, BlockSpec
from explorer.architectures.checkpoint_names import CheckpointNames, layer_norm_rows, row
from explorer.architectures.config_fields import ConfigFields
from explorer.architectures.families import building, naming, reading
from explorer.architectures.families.classes import decoder_classes
from explorer.architectures.families.rotary import rope_of

__all__ = ["checkpoint_names", "translate"]


def translate(fields: ConfigFields, model_type: str) -> Architecture:
    """Return the architecture of a stablelm config."""
    class_name = reading.class_of(fields, *decoder_classes(model_type))
    reading.reject(fields, "qk_layernorm")  # a separate norm for each head
    size, heads = fields.size("hidden_size"), reading.heads_of(fields, 32, read_size=False)
    norm = building.layer_norm(size, fields.number("layer_norm_eps", default=1e-5))
    parallel = fields.flag("use_parallel_residual", default=False)
    block = BlockSpec(
        attention_norm=norm,
        attention=building.grouped_attention(
            size,
            heads,
            bias=fields.flag("use_qkv_bias", default=False),
            out_bias=False,
            rope=rope_of(fields, heads[2], share=0.25),
        ),
        mlp_norm=None if parallel else norm,
        mlp=building.gated_mlp(
            size,
            fields.size("intermediate_size"),
            reading.activation_of(fields, "hidden_act"),
        ),
        parallel=parallel,
    )
    blocks = [block] * fields.layers("num_hidden_layers")
    return building.language_model(fields, model_type, class_name, blocks, norm)


def checkpoint_names(architecture: Architecture) -> CheckpointNames:
    """Return the names of its checkpoints: LLaMA's, and biases of norms."""
    return naming.llama_names(
        architecture,
        *naming.ATTENTION_ROWS,
        *naming.MLP_ROWS,
        *layer_norm_rows("input_layernorm", "attention_norm"),
        *layer_norm_rows("post_attention_layernorm", "mlp_norm"),
        top_level=(*naming.BODY_ROWS, row("model.norm.bias", "final_norm/bias")),
    )
