"""GPT-NeoX and Pythia (Black et al. 2022, Biderman et al. 2023)."""

from explorer.architectures.architecture import Architecture, Block
from explorer.architectures.families.classic import (
    equal_heads,
    layer_norm,
    layer_norm_rows,
    plain_mlp,
)
from explorer.architectures.families.parts import (
    activation_of,
    class_of,
    grouped_attention,
    language_model,
)
from explorer.architectures.families.rotary import rope_of
from explorer.architectures.fields import Fields
from explorer.architectures.names import Form, Names, Row, linear, row

__all__ = ["names", "translate"]

_SPARE_HEADS = (
    row("embed_out.weight", "embed/embedding"),
    row("lm_head.weight", "embed/embedding"),
)


def translate(fields: Fields, model_type: str) -> Architecture:
    """Return the architecture of a gpt_neox config."""
    class_name = class_of(fields, "GPTNeoXForCausalLM", "GPTNeoXModel")
    size = fields.size("hidden_size")
    heads = equal_heads(fields)
    norm = layer_norm(size, fields.number("layer_norm_eps", default=1e-5))
    attention = grouped_attention(
        size,
        heads,
        bias=fields.flag("attention_bias", default=True),
        rope=rope_of(fields, heads[2], share=0.25),
    )
    block = Block(
        attention_norm=norm,
        attention=attention,
        mlp_norm=norm,
        mlp=plain_mlp(
            size,
            fields.size("intermediate_size"),
            activation_of(fields, "hidden_act", default="gelu"),
        ),
        parallel=fields.flag("use_parallel_residual", default=True),
    )
    blocks = [block] * fields.layers("num_hidden_layers")
    return language_model(fields, model_type, class_name, blocks, norm)


def _fused(heads: int) -> tuple[Row, Row]:
    """Return the rows of queries, keys and values that lie head by head."""
    kernels = [f"attention/{part}/kernel" for part in ("query", "key", "value")]
    biases = [f"attention/{part}/bias" for part in ("query", "key", "value")]
    stored = "attention.query_key_value"
    return (
        row(f"{stored}.weight", *kernels, form=Form(axes=(1, 0), groups=heads)),
        row(f"{stored}.bias", *biases, form=Form(groups=heads)),
    )


def names(architecture: Architecture) -> Names:
    """Return how checkpoints of GPT-NeoX name its tensors."""
    heads = next(architecture.blocks()).attention.heads
    return Names(
        base="gpt_neox.",
        layer="gpt_neox.layers.{i}.",
        whole=(
            row("gpt_neox.embed_in.weight", "embed/embedding"),
            *layer_norm_rows("gpt_neox.final_layer_norm", "final_norm"),
            *linear("embed_out", "lm_head"),
            *linear("lm_head", "lm_head"),
        ),
        layers=(
            *layer_norm_rows("input_layernorm", "attention_norm"),
            *_fused(heads),
            *linear("attention.dense", "attention/out"),
            *layer_norm_rows("post_attention_layernorm", "mlp_norm"),
            *linear("mlp.dense_h_to_4h", "mlp/up_proj"),
            *linear("mlp.dense_4h_to_h", "mlp/down_proj"),
        ),
        spare=_SPARE_HEADS if architecture.tied else (),
    )
