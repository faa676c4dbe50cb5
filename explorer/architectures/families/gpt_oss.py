"""gpt-oss: experts in every layer, windows in every other layer, sinks in attention.

OpenAI 2025. The gate is clipped from above, `up` on both sides, and 1 is added to it.
"""

from msgspec.structs import replace

from explorer.architectures.architecture import Architecture, BlockSpec
from explorer.architectures.attention_specs import SinksSpec
from explorer.architectures.checkpoint_names import CheckpointNames, linear_rows, row
from explorer.architectures.config_fields import ConfigFields
from explorer.architectures.families import building, naming, reading
from explorer.architectures.families.classes import decoder_classes
from explorer.architectures.families.rotary import rope_of
from explorer.architectures.specs import ExpertsSpec, NormSpec
from explorer.architectures.tensor_layout import TensorLayout

__all__ = ["checkpoint_names", "translate"]

_THETA = 150_000.0
# the rotary scaling if the config does not specify one
_YARN = {
    "rope_type": "yarn",
    "factor": 32.0,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "truncate": False,
    "original_max_position_embeddings": 4096,
}
_ALPHA = 1.702  # of quick_gelu


def translate(fields: ConfigFields, model_type: str) -> Architecture:
    """Return the architecture of a gpt_oss config."""
    class_name = reading.class_of(fields, *decoder_classes(model_type))
    norm = NormSpec(fields.size("hidden_size"), fields.number("rms_norm_eps", default=1e-5))
    heads = reading.heads_of(fields, 8, 64)
    given = fields.nested("rope_parameters", "rope_scaling")
    attention = building.grouped_attention(
        norm.size,
        heads,
        bias=fields.flag("attention_bias", default=True),
        sinks=SinksSpec(heads[0]),
        rope=rope_of(fields, heads[2], _THETA, scaling=given or fields.inner(_YARN)),
    )
    experts = _experts(fields)
    unset = 128 if "sliding_window" not in fields.content else None
    window = fields.size("sliding_window", default=unset)
    windows = reading.windows_by_period(
        fields, fields.layers("num_hidden_layers"), window, 2
    )

    def block(window: int | None) -> BlockSpec:
        windowed = replace(attention, window=window)
        return BlockSpec(
            attention_norm=norm, attention=windowed, mlp_norm=norm, moe=experts
        )

    blocks = building.blocks_by(windows, block)
    return building.language_model(fields, model_type, class_name, blocks, norm)


def _experts(fields: ConfigFields) -> ExpertsSpec:
    if fields.number("swiglu_alpha", default=_ALPHA) != _ALPHA:
        fields.not_built("swiglu_alpha", str(_ALPHA))
    router = building.router_of(
        fields, "num_local_experts", "num_experts", normalize=True, bias=True
    )
    inner = fields.size("intermediate_size")
    experts = building.gated_mlp(
        router.size, inner, "quick_gelu", bias=True, stack=router.experts
    )
    limit = fields.number("swiglu_limit", default=7.0)
    return ExpertsSpec(router=router, experts=replace(experts, limit=limit, up_offset=1.0))


def checkpoint_names(architecture: Architecture) -> CheckpointNames:
    """Return the names of its checkpoints; gate and up alternate, one unit at a time."""
    moe = architecture.stages[0].blocks[0].moe
    units = moe.experts.up_proj.outputs if moe else 1
    gate, up, down = (f"moe/experts/{name}_proj" for name in ("gate", "up", "down"))
    return naming.llama_names(
        architecture,
        row("self_attn.sinks", "attention/sinks/sinks"),
        *naming.ATTENTION_ROWS,
        *linear_rows("mlp.router", "moe/router"),
        row(
            "mlp.experts.gate_up_proj",
            f"{gate}/kernel",
            f"{up}/kernel",
            layout=TensorLayout(axis=2, groups=units),
        ),
        row(
            "mlp.experts.gate_up_proj_bias",
            f"{gate}/bias",
            f"{up}/bias",
            layout=TensorLayout(axis=1, groups=units),
        ),
        row("mlp.experts.down_proj", f"{down}/kernel"),
        row("mlp.experts.down_proj_bias", f"{down}/bias"),
        *naming.NORM_ROWS,
    )
