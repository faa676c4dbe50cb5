"""Phi-3: LLaMA whose checkpoints fuse projections (Microsoft 2024)."""

from explorer.architectures.architecture import Architecture, BlockSpec
from explorer.architectures.attention_specs import RopeSpec
from explorer.architectures.checkpoint_names import CheckpointNames, row
from explorer.architectures.config_fields import ConfigFields
from explorer.architectures.families import building, naming, reading
from explorer.architectures.families.classes import decoder_classes
from explorer.architectures.families.rotary import rope_of
from explorer.architectures.specs import NormSpec
from explorer.architectures.tensor_layout import TRANSPOSED

__all__ = ["checkpoint_names", "translate"]

_SCALINGS = ("default", "longrope", "su")
_ORIGINAL_LENGTH = 4096  # training length if the config does not specify it


def translate(fields: ConfigFields, model_type: str) -> Architecture:
    """Return the architecture of a phi3 config."""
    class_name = reading.class_of(fields, *decoder_classes(model_type))
    norm = NormSpec(fields.size("hidden_size"), fields.number("rms_norm_eps", default=1e-5))
    heads = reading.heads_of(fields)
    attention = building.grouped_attention(
        norm.size,
        heads,
        rope=_rope(fields, heads[2]),
        window=fields.size("sliding_window", default=None),
    )
    mlp = building.gated_mlp(
        norm.size,
        fields.size("intermediate_size"),
        reading.activation_of(fields, "hidden_act"),
    )
    block = BlockSpec(attention_norm=norm, attention=attention, mlp_norm=norm, mlp=mlp)
    blocks = [block] * fields.layers("num_hidden_layers")
    return building.language_model(fields, model_type, class_name, blocks, norm)


def _rope(fields: ConfigFields, head_size: int) -> RopeSpec:
    """Return rotary positions; the config keeps the training length outside the scaling."""
    scaling = fields.nested("rope_parameters", "rope_scaling")
    if scaling is None:
        return rope_of(fields, head_size)
    for each in ("rope_type", "type"):
        kind = scaling.content.get(each)
        if isinstance(kind, str) and kind not in _SCALINGS:
            scaling.not_built(each, ", ".join(_SCALINGS))
            return rope_of(fields, head_size, scaling=fields.inner({}))
    name = "original_max_position_embeddings"
    original = fields.size(name, default=_ORIGINAL_LENGTH)
    content = {**scaling.content, name: original}
    return rope_of(fields, head_size, scaling=fields.inner(content, scaling.prefix))


_FUSED_ROWS = (
    row(
        "self_attn.qkv_proj.weight",
        *(f"attention/{name}/kernel" for name in ("query", "key", "value")),
        layout=TRANSPOSED,
    ),
    row(
        "mlp.gate_up_proj.weight",
        *(f"mlp/{name}_proj/kernel" for name in ("gate", "up")),
        layout=TRANSPOSED,
    ),
)


def checkpoint_names(architecture: Architecture) -> CheckpointNames:
    """Return the names of its checkpoints: queries, keys and values fused, gate and up too."""
    return naming.llama_names(
        architecture,
        *_FUSED_ROWS,
        *naming.ATTENTION_ROWS,
        *naming.MLP_ROWS,
        *naming.NORM_ROWS,
    )
