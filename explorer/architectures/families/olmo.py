"""OLMo and OLMo 2: LLaMA with norms that learn nothing, then with norms after branches.

Groeneveld et al. 2024 (OLMo), OLMo Team 2025 (OLMo 2).
"""

from explorer.architectures.architecture import Architecture, Block
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
from explorer.architectures.specs import Mlp, Norm

__all__ = ["names", "translate"]

_PREFIXES = {"olmo": "Olmo", "olmo2": "Olmo2"}


def translate(fields: Fields, model_type: str) -> Architecture:
    """Return the architecture of an olmo or olmo2 config."""
    prefix = _PREFIXES[model_type]
    class_name = class_of(fields, f"{prefix}ForCausalLM", f"{prefix}Model")
    norm, block = (_first if model_type == "olmo" else _second)(fields)
    blocks = [block] * fields.layers("num_hidden_layers")
    return language_model(fields, model_type, class_name, blocks, norm)


def _first(fields: Fields) -> tuple[Norm, Block]:
    size, heads = fields.size("hidden_size"), heads_of(fields)
    norm = Norm(size, 1e-5, kind="layer", gain=False)
    attention = grouped_attention(
        size,
        heads,
        bias=fields.flag("attention_bias", default=False),
        rope=rope_of(fields, heads[2]),
        clip=fields.number("clip_qkv", default=None),
    )
    mlp = _mlp(fields, size)
    return norm, Block(attention_norm=norm, attention=attention, mlp_norm=norm, mlp=mlp)


def _second(fields: Fields) -> tuple[Norm, Block]:
    size, heads = fields.size("hidden_size"), heads_of(fields)
    number, kv_number, each = heads
    norm = Norm(size, fields.number("rms_norm_eps", default=1e-5))
    attention = grouped_attention(
        size,
        heads,
        bias=fields.flag("attention_bias", default=False),
        query_norm=Norm(number * each, norm.eps),
        key_norm=Norm(kv_number * each, norm.eps),
        rope=rope_of(fields, each),
    )
    return norm, Block(
        attention=attention,
        attention_post_norm=norm,
        mlp=_mlp(fields, size),
        mlp_post_norm=norm,
    )


def _mlp(fields: Fields, size: int) -> Mlp:
    inner = fields.size("intermediate_size")
    return gated_mlp(size, inner, activation_of(fields, "hidden_act"))


_POST_NORM_ROWS = (
    row("post_attention_layernorm.weight", "attention_post_norm/scale"),
    row("post_feedforward_layernorm.weight", "mlp_post_norm/scale"),
)


def names(architecture: Architecture) -> Names:
    """Return the names that both checkpoints share; the first has no norm to name."""
    return Names(
        base="model.",
        layer="model.layers.{i}.",
        whole=BODY_ROWS,
        layers=(*ATTENTION_ROWS, *MLP_ROWS, *_POST_NORM_ROWS),
        spare=SPARE_HEAD if architecture.tied else (),
    )
