"""GPT-J (Wang and Komatsuzaki 2021)."""

from explorer.architectures.architecture import Architecture, Block
from explorer.architectures.families.classic import (
    equal_heads,
    layer_norm,
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
from explorer.architectures.specs import Rope

__all__ = ["names", "translate"]


def translate(fields: Fields, model_type: str) -> Architecture:
    """Return the architecture of a gptj config."""
    class_name = class_of(fields, "GPTJForCausalLM", "GPTJModel")
    # a tied head would keep a bias of its own
    refuse(fields, "tie_word_embeddings")
    size = fields.size("n_embd")
    heads = equal_heads(fields, "n_embd", "n_head")
    norm = layer_norm(size, fields.number("layer_norm_epsilon", default=1e-5))
    block = Block(
        attention_norm=norm,
        attention=grouped_attention(size, heads, rope=_rope(fields, heads[2])),
        mlp=plain_mlp(
            size,
            fields.size("n_inner", default=4 * size),
            activation_of(fields, "activation_function", default="gelu_new"),
        ),
        parallel=True,
    )
    blocks = [block] * fields.layers("n_layer")
    return language_model(fields, model_type, class_name, blocks, norm, head_bias=True)


def _rope(fields: Fields, head_size: int) -> Rope:
    """Return rotary positions over the first entries of a head, neighbours paired."""
    rotated = fields.size("rotary_dim", default=min(64, head_size))
    if rotated % 2 or rotated > head_size:
        raise fields.wrong("rotary_dim", f"an even number up to {head_size}, a head's size")
    return Rope(rotated, interleaved=True)


def names(architecture: Architecture) -> Names:
    """Return how checkpoints of GPT-J name its tensors."""
    return Names(
        base="transformer.",
        layer="transformer.h.{i}.",
        whole=(
            row("transformer.wte.weight", "embed/embedding"),
            *layer_norm_rows("transformer.ln_f", "final_norm"),
            *linear("lm_head", "lm_head"),
        ),
        layers=(
            *layer_norm_rows("ln_1", "attention_norm"),
            *linear("attn.q_proj", "attention/query"),
            *linear("attn.k_proj", "attention/key"),
            *linear("attn.v_proj", "attention/value"),
            *linear("attn.out_proj", "attention/out"),
            *linear("mlp.fc_in", "mlp/up_proj"),
            *linear("mlp.fc_out", "mlp/down_proj"),
        ),
    )
