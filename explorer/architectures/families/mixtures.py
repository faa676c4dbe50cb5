"""Mixtures of experts with LLaMA's attention: Mixtral, Qwen3-MoE, OLMoE.

Jiang et al. 2024 (Mixtral), Qwen Team 2025 (Qwen3), Muennighoff et al. 2024 (OLMoE).
"""

from explorer.architectures.architecture import Architecture, BlockSpec
from explorer.architectures.attention_specs import AttentionSpec
from explorer.architectures.checkpoint_names import CheckpointNames, row
from explorer.architectures.config_fields import ConfigFields
from explorer.architectures.families import building, naming, reading
from explorer.architectures.families.classes import decoder_classes
from explorer.architectures.families.rotary import rope_of
from explorer.architectures.specs import ExpertsSpec, NormSpec
from explorer.architectures.tensor_layout import TRANSPOSED

__all__ = ["checkpoint_names", "translate"]

# the default of each reference class
_KV_HEADS = {"mixtral": 8, "qwen3_moe": 4, "olmoe": None}
_EPS = {"mixtral": 1e-5, "qwen3_moe": 1e-6, "olmoe": 1e-5}
_THETA = {"mixtral": 1_000_000.0, "qwen3_moe": 10_000.0, "olmoe": 10_000.0}


def translate(fields: ConfigFields, model_type: str) -> Architecture:
    """Return the architecture of a mixtral, qwen3_moe or olmoe config."""
    class_name = reading.class_of(fields, *decoder_classes(model_type))
    norm = NormSpec(
        fields.size("hidden_size"), fields.number("rms_norm_eps", default=_EPS[model_type])
    )
    attention = _attention(fields, model_type, norm)
    sparse = BlockSpec(
        attention_norm=norm,
        attention=attention,
        mlp_norm=norm,
        moe=_experts(fields, model_type),
    )
    layers = fields.layers("num_hidden_layers")
    blocks = [sparse] * layers
    if model_type == "qwen3_moe":
        every = fields.size("decoder_sparse_step", default=1)
        never = frozenset(fields.numbers("mlp_only_layers", default=()))
        dense = _dense(fields, norm, attention)
        blocks = [
            dense if index in never or (index + 1) % every else sparse
            for index in range(layers)
        ]
    return building.language_model(fields, model_type, class_name, blocks, norm)


def _experts(fields: ConfigFields, model_type: str) -> ExpertsSpec:
    names = ("num_experts", "num_local_experts")
    if model_type == "mixtral":
        router = building.router_of(fields, *reversed(names), normalize=True)
    else:
        normalize = fields.flag("norm_topk_prob", default=False)
        router = building.router_of(fields, *names, normalize=normalize)
    inner = "moe_intermediate_size" if model_type == "qwen3_moe" else "intermediate_size"
    activation = reading.activation_of(fields, "hidden_act")
    experts = building.gated_mlp(
        router.size, fields.size(inner), activation, stack=router.experts
    )
    return ExpertsSpec(router=router, experts=experts)


def _dense(fields: ConfigFields, norm: NormSpec, attention: AttentionSpec) -> BlockSpec:
    inner, activation = (
        fields.size("intermediate_size"),
        reading.activation_of(fields, "hidden_act"),
    )
    mlp = building.gated_mlp(norm.size, inner, activation)
    return BlockSpec(attention_norm=norm, attention=attention, mlp_norm=norm, mlp=mlp)


def _attention(fields: ConfigFields, model_type: str, norm: NormSpec) -> AttentionSpec:
    heads = reading.heads_of(fields, _KV_HEADS[model_type])
    if model_type == "olmoe":  # its norms of queries and keys have hidden_size entries
        reading.require_even_heads(fields)
    number, kv_number, each = heads
    rope = rope_of(fields, each, _THETA[model_type])
    if model_type == "mixtral":
        window = fields.size("sliding_window", default=None)
        return building.grouped_attention(norm.size, heads, rope=rope, window=window)
    bias = fields.flag("attention_bias", default=False)
    if model_type == "qwen3_moe":
        head_norm = NormSpec(each, norm.eps)
        window = None
        if fields.flag("use_sliding_window", default=False):
            window = fields.size("sliding_window", default=4096)
        return building.grouped_attention(
            norm.size,
            heads,
            bias=bias,
            query_norm=head_norm,
            key_norm=head_norm,
            rope=rope,
            window=window,
        )
    return building.grouped_attention(
        norm.size,
        heads,
        bias=bias,
        query_norm=NormSpec(number * each, norm.eps),
        key_norm=NormSpec(kv_number * each, norm.eps),
        rope=rope,
        clip=fields.number("clip_qkv", default=None),
    )


_MIXTRAL_ROWS = (
    row("block_sparse_moe.gate.weight", *naming.ROUTER_ROW.leaves, layout=TRANSPOSED),
    *naming.expert_rows("block_sparse_moe.experts", "w1", "w3", "w2"),
)


def checkpoint_names(architecture: Architecture) -> CheckpointNames:
    """Return the names of a family's checkpoints: experts stored separately, or all fused."""
    is_mixtral = architecture.family == "mixtral"
    return naming.llama_names(
        architecture,
        *naming.ATTENTION_ROWS,
        *(_MIXTRAL_ROWS if is_mixtral else naming.EXPERT_ROWS),
        naming.ROUTER_ROW,
        *naming.FUSED_EXPERT_ROWS,
        *naming.MLP_ROWS,
        *naming.NORM_ROWS,
    )
