"""StableLM: LLaMA with LayerNorms and positions over a part of a head (Stability AI 2023)."""

from explorer.architectures.architecture import Architecture, Block
from explorer.architectures.families.classic import layer_norm, layer_norm_rows, refuse
from explorer.architectures.families.llama import (
    ATTENTION_ROWS,
    BODY_ROWS,
    MLP_ROWS,
    SPARE_HEAD,
)
from explorer.architectures.families.parts import (
    activation_of,
    class_of,
    gated_mlp,
    grouped_attention,
    heads_of,
    language_model,
)
from explorer.architectures.families.rotary import rope_of
from explorer.architectures.fields import Fields
from explorer.architectures.names import Names, row

__all__ = ["names", "translate"]


def translate(fields: Fields, model_type: str) -> Architecture:
    """Return the architecture of a stablelm config."""
    class_name = class_of(fields, "StableLmForCausalLM", "StableLmModel")
    refuse(fields, "qk_layernorm")  # a norm of its own for each head
    size, heads = fields.size("hidden_size"), heads_of(fields, 32)
    norm = layer_norm(size, fields.number("layer_norm_eps", default=1e-5))
    parallel = fields.flag("use_parallel_residual", default=False)
    block = Block(
        attention_norm=norm,
        attention=grouped_attention(
            size,
            heads,
            bias=fields.flag("use_qkv_bias", default=False),
            out_bias=False,
            rope=rope_of(fields, heads[2], share=0.25),
        ),
        mlp_norm=None if parallel else norm,
        mlp=gated_mlp(
            size, fields.size("intermediate_size"), activation_of(fields, "hidden_act")
        ),
        parallel=parallel,
    )
    blocks = [block] * fields.layers("num_hidden_layers")
    return language_model(fields, model_type, class_name, blocks, norm)


def names(architecture: Architecture) -> Names:
    """Return the names of its checkpoints: LLaMA's, and biases of norms."""
    return Names(
        base="model.",
        layer="model.layers.{i}.",
        whole=(*BODY_ROWS, row("model.norm.bias", "final_norm/bias")),
        layers=(
            *ATTENTION_ROWS,
            *MLP_ROWS,
            *layer_norm_rows("input_layernorm", "attention_norm"),
            *layer_norm_rows("post_attention_layernorm", "mlp_norm"),
        ),
        spare=SPARE_HEAD if architecture.tied else (),
    )
