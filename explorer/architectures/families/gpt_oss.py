"""gpt-oss: experts in every layer, windows in every other, sinks in attention.

OpenAI 2025. A gate is bounded from above, `up` on both sides, and 1 is added to it.
"""

from msgspec.structs import replace

from explorer.architectures.architecture import Architecture, Block
from explorer.architectures.families.llama import (
    ATTENTION_ROWS,
    BODY_ROWS,
    NORM_ROWS,
    SPARE_HEAD,
)
from explorer.architectures.families.parts import (
    class_of,
    gated_mlp,
    grouped_attention,
    heads_of,
    language_model,
    patterned_windows,
    router_of,
)
from explorer.architectures.families.rotary import rope_of
from explorer.architectures.fields import Fields
from explorer.architectures.names import Form, Names, linear, row
from explorer.architectures.specs import Experts, Norm, Sinks

__all__ = ["names", "translate"]

_THETA = 150_000.0
# how positions are stretched where a config is silent
_YARN = {
    "rope_type": "yarn",
    "factor": 32.0,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "truncate": False,
    "original_max_position_embeddings": 4096,
}
_ALPHA = 1.702  # of quick_gelu


def translate(fields: Fields, model_type: str) -> Architecture:
    """Return the architecture of a gpt_oss config."""
    class_name = class_of(fields, "GptOssForCausalLM", "GptOssModel")
    norm = Norm(fields.size("hidden_size"), fields.number("rms_norm_eps", default=1e-5))
    heads = heads_of(fields, 8, 64)
    given = fields.inner("rope_parameters", "rope_scaling")
    attention = grouped_attention(
        norm.size,
        heads,
        bias=fields.flag("attention_bias", default=True),
        sinks=Sinks(heads[0]),
        rope=rope_of(
            fields, heads[2], _THETA, scaling=given or Fields(_YARN, fields.place)
        ),
    )
    experts = _experts(fields)
    silent = 128 if "sliding_window" not in fields.content else None
    window = fields.size("sliding_window", default=silent)
    windows = patterned_windows(fields, fields.layers("num_hidden_layers"), window, 2)
    kinds = {
        each: Block(
            attention_norm=norm,
            attention=replace(attention, window=each),
            mlp_norm=norm,
            moe=experts,
        )
        for each in set(windows)
    }
    blocks = [kinds[each] for each in windows]
    return language_model(fields, model_type, class_name, blocks, norm)


def _experts(fields: Fields) -> Experts:
    if fields.number("swiglu_alpha", default=_ALPHA) != _ALPHA:
        raise fields.wrong("swiglu_alpha", str(_ALPHA))
    router = router_of(
        fields, "num_local_experts", "num_experts", normalize=True, bias=True
    )
    inner = fields.size("intermediate_size")
    experts = gated_mlp(router.size, inner, "quick_gelu", bias=True, stack=router.experts)
    limit = fields.number("swiglu_limit", default=7.0)
    return Experts(router=router, experts=replace(experts, limit=limit, up_offset=1.0))


def names(architecture: Architecture) -> Names:
    """Return the names of its checkpoints; gate and up alternate, unit by unit."""
    moe = architecture.stages[0].blocks[0].moe
    units = moe.experts.up_proj.outputs if moe else 1
    gate, up, down = (f"moe/experts/{name}_proj" for name in ("gate", "up", "down"))
    return Names(
        base="model.",
        layer="model.layers.{i}.",
        whole=BODY_ROWS,
        layers=(
            row("self_attn.sinks", "attention/sinks/sinks"),
            *ATTENTION_ROWS,
            *linear("mlp.router", "moe/router"),
            row(
                "mlp.experts.gate_up_proj",
                f"{gate}/kernel",
                f"{up}/kernel",
                form=Form(axis=2, groups=units),
            ),
            row(
                "mlp.experts.gate_up_proj_bias",
                f"{gate}/bias",
                f"{up}/bias",
                form=Form(axis=1, groups=units),
            ),
            row("mlp.experts.down_proj", f"{down}/kernel"),
            row("mlp.experts.down_proj_bias", f"{down}/bias"),
            *NORM_ROWS,
        ),
        spare=SPARE_HEAD if architecture.tied else (),
    )
