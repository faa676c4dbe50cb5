"""Phi-3: LLaMA with its projections stored as two fused ones (Microsoft 2024)."""

from explorer.architectures.architecture import Architecture, Block
from explorer.architectures.families.llama import (
    ATTENTION_ROWS,
    BODY_ROWS,
    MLP_ROWS,
    NORM_ROWS,
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
from explorer.architectures.names import TRANSPOSED, Names, row
from explorer.architectures.specs import Norm, Rope

__all__ = ["names", "translate"]

_SCALINGS = {name: name for name in ("default", "longrope", "su")}
_ORIGINAL_LENGTH = 4096  # of training, where a config is silent


def translate(fields: Fields, model_type: str) -> Architecture:
    """Return the architecture of a phi3 config."""
    class_name = class_of(fields, "Phi3ForCausalLM", "Phi3Model")
    norm = Norm(fields.size("hidden_size"), fields.number("rms_norm_eps", default=1e-5))
    heads = heads_of(fields)
    attention = grouped_attention(
        norm.size,
        heads,
        rope=_rope(fields, heads[2]),
        window=fields.size("sliding_window", default=None),
    )
    mlp = gated_mlp(
        norm.size, fields.size("intermediate_size"), activation_of(fields, "hidden_act")
    )
    block = Block(attention_norm=norm, attention=attention, mlp_norm=norm, mlp=mlp)
    blocks = [block] * fields.layers("num_hidden_layers")
    return language_model(fields, model_type, class_name, blocks, norm)


def _rope(fields: Fields, head_size: int) -> Rope:
    """Return rotary positions; the length of training stands beside the scaling."""
    scaling = fields.inner("rope_parameters", "rope_scaling")
    if scaling is None:
        return rope_of(fields, head_size)
    scaling.choice(_SCALINGS, "rope_type", "type", default="default")
    name = "original_max_position_embeddings"
    original = fields.size(name, default=_ORIGINAL_LENGTH)
    content = {**scaling.content, name: original}
    return rope_of(fields, head_size, scaling=Fields(content, fields.place, scaling.prefix))


_FUSED_ROWS = (
    row(
        "self_attn.qkv_proj.weight",
        *(f"attention/{name}/kernel" for name in ("query", "key", "value")),
        form=TRANSPOSED,
    ),
    row(
        "mlp.gate_up_proj.weight",
        *(f"mlp/{name}_proj/kernel" for name in ("gate", "up")),
        form=TRANSPOSED,
    ),
)


def names(architecture: Architecture) -> Names:
    """Return the names of its checkpoints: queries, keys and values in one, gate and up."""
    return Names(
        base="model.",
        layer="model.layers.{i}.",
        whole=BODY_ROWS,
        layers=(*_FUSED_ROWS, *ATTENTION_ROWS, *MLP_ROWS, *NORM_ROWS),
        spare=SPARE_HEAD if architecture.tied else (),
    )
