"""GPT-2 (Radford et al. 2019)."""

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
from explorer.architectures.names import Form, Names, Row, linear, row
from explorer.architectures.specs import Embedding

__all__ = ["names", "translate"]


def translate(fields: Fields, model_type: str) -> Architecture:
    """Return the architecture of a gpt2 config."""
    class_name = class_of(fields, "GPT2LMHeadModel", "GPT2Model")
    refuse(fields, "add_cross_attention")
    size = fields.size("n_embd")
    heads = equal_heads(fields, "n_embd", "n_head")
    norm = layer_norm(size, fields.number("layer_norm_epsilon", default=1e-5))
    mlp = plain_mlp(
        size,
        fields.size("n_inner", default=4 * size),
        activation_of(fields, "activation_function", default="gelu_new"),
    )
    scales = _scales(fields, heads[2])
    kinds = {
        scale: Block(
            attention_norm=norm,
            attention=grouped_attention(size, heads, bias=True, scale=scale),
            mlp_norm=norm,
            mlp=mlp,
        )
        for scale in dict.fromkeys(scales)
    }
    return language_model(
        fields,
        model_type,
        class_name,
        [kinds[scale] for scale in scales],
        norm,
        tied=True,
        position_embed=Embedding(fields.size("n_positions"), size),
    )


def _scales(fields: Fields, head_size: int) -> list[float]:
    """Return what multiplies the attention logits of each layer."""
    scaled = fields.flag("scale_attn_weights", default=True)
    scale = head_size**-0.5 if scaled else 1.0
    layers = fields.layers("n_layer")
    if fields.flag("scale_attn_by_inverse_layer_idx", default=False):
        return [scale / (index + 1) for index in range(layers)]
    return [scale] * layers


def _conv1d(stored: str, *flax: str) -> tuple[Row, Row]:
    """Return the rows of a kernel stored as [inputs, outputs] and its bias.

    Several layers lie side by side along the outputs.
    """
    return (
        row(f"{stored}.weight", *(f"{each}/kernel" for each in flax), form=Form(axis=1)),
        row(f"{stored}.bias", *(f"{each}/bias" for each in flax)),
    )


def names(architecture: Architecture) -> Names:
    """Return how checkpoints of GPT-2 name its tensors."""
    return Names(
        base="transformer.",
        layer="transformer.h.{i}.",
        whole=(
            row("transformer.wte.weight", "embed/embedding"),
            row("transformer.wpe.weight", "position_embed/embedding"),
            *layer_norm_rows("transformer.ln_f", "final_norm"),
            *linear("lm_head", "lm_head"),
        ),
        layers=(
            *layer_norm_rows("ln_1", "attention_norm"),
            *_conv1d("attn.c_attn", "attention/query", "attention/key", "attention/value"),
            *_conv1d("attn.c_proj", "attention/out"),
            *layer_norm_rows("ln_2", "mlp_norm"),
            *_conv1d("mlp.c_fc", "mlp/up_proj"),
            *_conv1d("mlp.c_proj", "mlp/down_proj"),
        ),
        spare=(row("lm_head.weight", "embed/embedding"),) if architecture.tied else (),
    )
