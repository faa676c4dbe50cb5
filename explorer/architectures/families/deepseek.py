"""DeepSeek-V2 and V3, and Kimi-K2: latent attention, shared and routed experts.

DeepSeek-AI 2024 (V2, V3), Moonshot AI 2025 (Kimi-K2, a V3 of other sizes). Where the
publishers' code and transformers differ, this follows the publishers: `moe_layer_freq`,
and V2's `norm_topk_prob`, which replaces the scaling factor.
"""

from msgspec.structs import replace

from explorer.architectures.architecture import Architecture, BlockSpec
from explorer.architectures.attention_specs import LatentAttentionSpec, RopeSpec
from explorer.architectures.checkpoint_names import CheckpointNames, linear_rows, row
from explorer.architectures.config_fields import ConfigFields
from explorer.architectures.families import building, naming, reading
from explorer.architectures.families.classes import decoder_classes
from explorer.architectures.families.rotary import rope_of, yarn_magnitude
from explorer.architectures.specs import (
    Activation,
    ExpertsSpec,
    LinearSpec,
    NormSpec,
    RouterSpec,
)

__all__ = ["checkpoint_names", "translate"]

_METHODS = ("greedy", "group_limited_greedy", "noaux_tc")
_SCORES = {"softmax": "softmax", "sigmoid": "sigmoid"}
_INNER_EPS = 1e-6  # of the norms inside attention, whatever rms_norm_eps is


def translate(fields: ConfigFields, model_type: str) -> Architecture:
    """Return the architecture of a deepseek_v2, deepseek_v3 or kimi_k2 config."""
    second = model_type == "deepseek_v2"
    class_name = reading.class_of(fields, *decoder_classes(model_type))
    norm = NormSpec(fields.size("hidden_size"), fields.number("rms_norm_eps", default=1e-6))
    activation = reading.activation_of(fields, "hidden_act")
    attention = _attention(fields, norm.size, second)
    inner = fields.size("intermediate_size")
    dense = BlockSpec(
        attention_norm=norm,
        attention=attention,
        mlp_norm=norm,
        mlp=building.gated_mlp(norm.size, inner, activation, _has_mlp_bias(fields, second)),
    )
    sparse = BlockSpec(
        attention_norm=norm,
        attention=attention,
        mlp_norm=norm,
        moe=_experts(fields, norm.size, activation, second),
    )
    first = fields.index("first_k_dense_replace", default=0 if second else 3)
    every = fields.size("moe_layer_freq", default=1)
    if every > 1:
        fields.assume(
            f"one layer in {every} has experts, by moe_layer_freq, which the publisher's code "
            "reads and transformers' does not"
        )
    blocks = [
        sparse if index >= first and index % every == 0 else dense
        for index in range(fields.layers("num_hidden_layers"))
    ]
    return building.language_model(fields, model_type, class_name, blocks, norm)


def _has_mlp_bias(fields: ConfigFields, second: bool) -> bool:
    return second and fields.flag("mlp_bias", default=False)


def _attention(fields: ConfigFields, size: int, second: bool) -> LatentAttentionSpec:
    heads = fields.size("num_attention_heads")
    nope, rotary = fields.size("qk_nope_head_dim"), fields.size("qk_rope_head_dim")
    value, latent = fields.size("v_head_dim"), fields.size("kv_lora_rank")
    bias = fields.flag("attention_bias", default=False)
    rope = rope_of(fields, rotary)
    interleaved = second or fields.flag("rope_interleave", default=True)
    return LatentAttentionSpec(
        **_queries(fields, size, heads * (nope + rotary), bias),
        latent_down=LinearSpec(size, latent + rotary, bias),
        latent_norm=NormSpec(latent, _INNER_EPS),
        latent_up=LinearSpec(latent, heads * (nope + value)),
        out=LinearSpec(heads * value, size, bias),
        heads=heads,
        nope=nope,
        value_size=value,
        rope=replace(rope, interleaved=interleaved),
        scale=(nope + rotary) ** -0.5 * _sharpening(fields, rope),
    )


def _queries(fields: ConfigFields, size: int, outputs: int, bias: bool) -> dict:
    """Return the layers of queries: low-rank unless the rank is null."""
    unset = None if "q_lora_rank" in fields.content else 1536
    rank = fields.size("q_lora_rank", default=unset)
    if rank is None:
        return {"query": LinearSpec(size, outputs)}
    return {
        "query_down": LinearSpec(size, rank, bias),
        "query_norm": NormSpec(rank, _INNER_EPS),
        "query_up": LinearSpec(rank, outputs),
    }


def _sharpening(fields: ConfigFields, rope: RopeSpec) -> float:
    """Return the factor by which scaled rotary positions sharpen attention."""
    inner = fields.nested("rope_parameters", "rope_scaling")
    if inner is None or rope.scaling is None:
        return 1.0
    weight = inner.number("mscale_all_dim", default=0.0, positive=False)
    magnitude = yarn_magnitude(rope.scaling.factor, weight)
    return magnitude * magnitude


def _experts(
    fields: ConfigFields, size: int, activation: Activation, second: bool
) -> ExpertsSpec:
    router = _router(fields, second)
    inner = fields.size("moe_intermediate_size")
    # null means none
    unset = 0 if "n_shared_experts" in fields.content else (2 if second else 1)
    shared = fields.index("n_shared_experts", default=unset)
    return ExpertsSpec(
        router=router,
        experts=building.gated_mlp(size, inner, activation, stack=router.experts),
        shared_experts=building.gated_mlp(
            size, shared * inner, activation, _has_mlp_bias(fields, second)
        )
        if shared
        else None,
    )


def _router(fields: ConfigFields, second: bool) -> RouterSpec:
    methods = {name: name for name in _METHODS}
    method = fields.choice(
        methods, "topk_method", default="greedy" if second else "noaux_tc"
    )
    router = building.router_of(
        fields,
        "n_routed_experts",
        "num_experts" if second else "num_local_experts",
        score=fields.choice(
            _SCORES, "scoring_func", default="softmax" if second else "sigmoid"
        ),
        normalize=fields.flag("norm_topk_prob", default=not second),
        scale=fields.number("routed_scaling_factor", default=1.0 if second else 2.5),
        correction=method == "noaux_tc",
        group_score="two_best" if method == "noaux_tc" else "best",
    )
    if router.per_token == 1:  # a single weight would always be 1
        router = replace(router, normalize=False)
    if second and router.normalize:
        router = replace(router, scale=1.0)
    return router if method == "greedy" else _grouped(fields, router, second)


def _grouped(fields: ConfigFields, router: RouterSpec, second: bool) -> RouterSpec:
    """Return a router that first selects groups of experts."""
    groups = fields.size("n_group", default=1 if second else 8)
    top = fields.size("topk_group", default=1 if second else 4)
    each = fields.divides("n_group", groups, "n_routed_experts", router.experts)
    if top > groups:
        raise fields.error(
            found=f"topk_group {top} is above n_group {groups}", expected=f"1 to {groups}"
        )
    if router.group_score == "two_best" and each < 2:
        raise fields.error(
            found=f"n_group {groups} leaves one expert per group", expected="two or more"
        )
    if router.per_token > top * each:
        raise fields.error(
            found=f"num_experts_per_tok {router.per_token} is above the {top * each} "
            f"experts of topk_group {top}",
            expected=f"1 to {top * each}",
        )
    return replace(router, groups=groups, top_groups=top)


_ATTENTION_ROWS = (
    *linear_rows("self_attn.q_proj", "attention/query"),
    *linear_rows("self_attn.q_a_proj", "attention/query_down"),
    row("self_attn.q_a_layernorm.weight", "attention/query_norm/scale"),
    *linear_rows("self_attn.q_b_proj", "attention/query_up"),
    *linear_rows("self_attn.kv_a_proj_with_mqa", "attention/latent_down"),
    row("self_attn.kv_a_layernorm.weight", "attention/latent_norm/scale"),
    *linear_rows("self_attn.kv_b_proj", "attention/latent_up"),
    *linear_rows("self_attn.o_proj", "attention/out"),
)
_MOE_ROWS = (
    naming.ROUTER_ROW,
    row("mlp.gate.e_score_correction_bias", "moe/router/e_score_correction_bias"),
    *naming.EXPERT_ROWS,
    *naming.FUSED_EXPERT_ROWS,
    *linear_rows("mlp.shared_experts.gate_proj", "moe/shared_experts/gate_proj"),
    *linear_rows("mlp.shared_experts.up_proj", "moe/shared_experts/up_proj"),
    *linear_rows("mlp.shared_experts.down_proj", "moe/shared_experts/down_proj"),
)


def checkpoint_names(architecture: Architecture) -> CheckpointNames:
    """Return the names of DeepSeek's and Kimi's checkpoints."""
    return naming.llama_names(
        architecture, *_ATTENTION_ROWS, *_MOE_ROWS, *naming.MLP_ROWS, *naming.NORM_ROWS
    )
