"""Phi: attention and feed-forward side by side, on one norm (Microsoft 2023)."""

from msgspec.structs import replace

from explorer.architectures.architecture import Architecture, Block
from explorer.architectures.families.classic import (
    layer_norm,
    layer_norm_rows,
    plain_mlp,
    refuse,
)
from explorer.architectures.families.parts import (
    activation_of,
    class_of,
    grouped_attention,
    heads_of,
    language_model,
)
from explorer.architectures.families.rotary import rope_of
from explorer.architectures.fields import Fields
from explorer.architectures.names import Names, linear, row

__all__ = ["names", "translate"]


def translate(fields: Fields, model_type: str) -> Architecture:
    """Return the architecture of a phi config."""
    class_name = class_of(fields, "PhiForCausalLM", "PhiModel")
    # a tied head would keep a bias of its own
    refuse(fields, "tie_word_embeddings")
    size, heads = fields.size("hidden_size"), heads_of(fields)
    norm = layer_norm(size, fields.number("layer_norm_eps", default=1e-5))
    own = None
    if fields.flag("qk_layernorm", default=False):
        own = replace(norm, size=heads[2])  # over one head
    block = Block(
        attention_norm=norm,
        attention=grouped_attention(
            size,
            heads,
            bias=True,
            query_norm=own,
            key_norm=own,
            rope=rope_of(fields, heads[2], share=0.5),
        ),
        mlp=plain_mlp(
            size,
            fields.size("intermediate_size"),
            activation_of(fields, "hidden_act", default="gelu_new"),
        ),
        parallel=True,
    )
    blocks = [block] * fields.layers("num_hidden_layers")
    return language_model(fields, model_type, class_name, blocks, norm, head_bias=True)


def names(architecture: Architecture) -> Names:
    """Return the names of its checkpoints."""
    return Names(
        base="model.",
        layer="model.layers.{i}.",
        whole=(
            row("model.embed_tokens.weight", "embed/embedding"),
            *layer_norm_rows("model.final_layernorm", "final_norm"),
            *linear("lm_head", "lm_head"),
        ),
        layers=(
            *layer_norm_rows("input_layernorm", "attention_norm"),
            *linear("self_attn.q_proj", "attention/query"),
            *linear("self_attn.k_proj", "attention/key"),
            *linear("self_attn.v_proj", "attention/value"),
            *linear("self_attn.dense", "attention/out"),
            *layer_norm_rows("self_attn.q_layernorm", "attention/query_norm"),
            *layer_norm_rows("self_attn.k_layernorm", "attention/key_norm"),
            *linear("mlp.fc1", "mlp/up_proj"),
            *linear("mlp.fc2", "mlp/down_proj"),
        ),
    )
