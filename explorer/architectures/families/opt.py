"""OPT (Zhang et al. 2022), those sizes that normalise before each branch."""

from explorer.architectures.architecture import Architecture, Block
from explorer.architectures.families.classic import (
    equal_heads,
    layer_norm_rows,
    plain_mlp,
    refuse,
)
from explorer.architectures.families.parts import (
    activation_of,
    class_of,
    grouped_attention,
    language_model,
)
from explorer.architectures.fields import Fields
from explorer.architectures.names import Names, linear, row
from explorer.architectures.specs import Embedding, Norm

__all__ = ["names", "translate"]

# the first rows of the table of positions belong to no position
_OFFSET = 2


def translate(fields: Fields, model_type: str) -> Architecture:
    """Return the architecture of an opt config."""
    class_name = class_of(fields, "OPTForCausalLM", "OPTModel")
    size = fields.size("hidden_size")
    _refuse_other_orders(fields, size)
    learned = fields.flag("layer_norm_elementwise_affine", default=True)
    norm = Norm(size, 1e-5, "layer", gain=learned, bias=learned)
    bias = fields.flag("enable_bias", default=True)
    block = Block(
        attention_norm=norm,
        attention=grouped_attention(size, equal_heads(fields), bias=bias),
        mlp_norm=norm,
        mlp=plain_mlp(
            size,
            fields.size("ffn_dim"),
            activation_of(fields, "activation_function", default="relu"),
            bias,
        ),
    )
    positions = fields.size("max_position_embeddings") + _OFFSET
    return language_model(
        fields,
        model_type,
        class_name,
        [block] * fields.layers("num_hidden_layers"),
        norm,
        tied=True,
        position_embed=Embedding(positions, size, _OFFSET),
    )


def _refuse_other_orders(fields: Fields, size: int) -> None:
    """Raise for the size that projects its embeddings and normalises after a branch."""
    if not fields.flag("do_layer_norm_before", default=True):
        raise fields.wrong("do_layer_norm_before", "true")
    if fields.size("word_embed_proj_dim", default=size) != size:
        raise fields.wrong("word_embed_proj_dim", f"{size}, as hidden_size is")
    refuse(fields, "_remove_final_layer_norm")


def names(architecture: Architecture) -> Names:
    """Return how checkpoints of OPT name its tensors."""
    return Names(
        base="model.",
        layer="model.decoder.layers.{i}.",
        whole=(
            row("model.decoder.embed_tokens.weight", "embed/embedding"),
            row("model.decoder.embed_positions.weight", "position_embed/embedding"),
            *layer_norm_rows("model.decoder.final_layer_norm", "final_norm"),
            *linear("lm_head", "lm_head"),
        ),
        layers=(
            *layer_norm_rows("self_attn_layer_norm", "attention_norm"),
            *linear("self_attn.q_proj", "attention/query"),
            *linear("self_attn.k_proj", "attention/key"),
            *linear("self_attn.v_proj", "attention/value"),
            *linear("self_attn.out_proj", "attention/out"),
            *layer_norm_rows("final_layer_norm", "mlp_norm"),
            *linear("fc1", "mlp/up_proj"),
            *linear("fc2", "mlp/down_proj"),
        ),
        spare=(row("lm_head.weight", "embed/embedding"),) if architecture.tied else (),
    )
