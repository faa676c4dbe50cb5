"""Mixtures of experts on LLaMA's attention: Mixtral, Qwen3-MoE, OLMoE.

Jiang et al. 2024 (Mixtral), Qwen Team 2025 (Qwen3), Muennighoff et al. 2024 (OLMoE).
"""

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
    router_of,
)
from explorer.architectures.families.rotary import rope_of
from explorer.architectures.fields import Fields
from explorer.architectures.names import TRANSPOSED, Form, Names, Row, row
from explorer.architectures.specs import Attention, Experts, Norm

__all__ = ["EXPERT_ROWS", "FUSED_EXPERT_ROWS", "ROUTER_ROW", "names", "translate"]

_PREFIXES = {"mixtral": "Mixtral", "qwen3_moe": "Qwen3Moe", "olmoe": "Olmoe"}
# what a config that is silent means, by the reference's classes
_KV_HEADS = {"mixtral": 8, "qwen3_moe": 4, "olmoe": None}
_EPS = {"mixtral": 1e-5, "qwen3_moe": 1e-6, "olmoe": 1e-5}
_THETA = {"mixtral": 1_000_000.0, "qwen3_moe": 10_000.0, "olmoe": 10_000.0}


def translate(fields: Fields, model_type: str) -> Architecture:
    """Return the architecture of a mixtral, qwen3_moe or olmoe config."""
    prefix = _PREFIXES[model_type]
    class_name = class_of(fields, f"{prefix}ForCausalLM", f"{prefix}Model")
    norm = Norm(
        fields.size("hidden_size"), fields.number("rms_norm_eps", default=_EPS[model_type])
    )
    attention = _attention(fields, model_type, norm)
    sparse = Block(
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
    return language_model(fields, model_type, class_name, blocks, norm)


def _experts(fields: Fields, model_type: str) -> Experts:
    names = ("num_experts", "num_local_experts")
    if model_type == "mixtral":
        router = router_of(fields, *reversed(names), normalize=True)
    else:
        normalize = fields.flag("norm_topk_prob", default=False)
        router = router_of(fields, *names, normalize=normalize)
    inner = "moe_intermediate_size" if model_type == "qwen3_moe" else "intermediate_size"
    activation = activation_of(fields, "hidden_act")
    experts = gated_mlp(router.size, fields.size(inner), activation, stack=router.experts)
    return Experts(router=router, experts=experts)


def _dense(fields: Fields, norm: Norm, attention: Attention) -> Block:
    inner, activation = (
        fields.size("intermediate_size"),
        activation_of(fields, "hidden_act"),
    )
    mlp = gated_mlp(norm.size, inner, activation)
    return Block(attention_norm=norm, attention=attention, mlp_norm=norm, mlp=mlp)


def _attention(fields: Fields, model_type: str, norm: Norm) -> Attention:
    heads = heads_of(fields, _KV_HEADS[model_type])
    number, kv_number, each = heads
    rope = rope_of(fields, each, _THETA[model_type])
    if model_type == "mixtral":
        window = fields.size("sliding_window", default=None)
        return grouped_attention(norm.size, heads, rope=rope, window=window)
    bias = fields.flag("attention_bias", default=False)
    if model_type == "qwen3_moe":
        own = Norm(each, norm.eps)  # over one head
        window = None
        if fields.flag("use_sliding_window", default=False):
            window = fields.size("sliding_window", default=4096)
        return grouped_attention(
            norm.size,
            heads,
            bias=bias,
            query_norm=own,
            key_norm=own,
            rope=rope,
            window=window,
        )
    return grouped_attention(
        norm.size,
        heads,
        bias=bias,
        query_norm=Norm(number * each, norm.eps),
        key_norm=Norm(kv_number * each, norm.eps),
        rope=rope,
        clip=fields.number("clip_qkv", default=None),
    )


_KERNELS = tuple(f"moe/experts/{name}_proj/kernel" for name in ("gate", "up", "down"))


def _per_expert(experts: str, *stored: str) -> tuple[Row, ...]:
    """Return the rows of one tensor an expert, for gate, up and down."""
    return tuple(
        row(f"{experts}.{{e}}.{name}.weight", kernel, form=TRANSPOSED)
        for name, kernel in zip(stored, _KERNELS, strict=True)
    )


ROUTER_ROW = row("mlp.gate.weight", "moe/router/kernel", form=TRANSPOSED)
EXPERT_ROWS = _per_expert("mlp.experts", "gate_proj", "up_proj", "down_proj")
# as transformers 5 holds them in memory: all experts, gate and up in one
FUSED_EXPERT_ROWS = (
    row("mlp.experts.gate_up_proj", *_KERNELS[:2], form=Form(axes=(0, 2, 1), axis=1)),
    row("mlp.experts.down_proj", _KERNELS[2], form=Form(axes=(0, 2, 1))),
)
_MIXTRAL_ROWS = (
    row("block_sparse_moe.gate.weight", *ROUTER_ROW.leaves, form=TRANSPOSED),
    *_per_expert("block_sparse_moe.experts", "w1", "w3", "w2"),
)


def names(architecture: Architecture) -> Names:
    """Return the names of a family's checkpoints: an expert's tensors apart, or all fused."""
    apart = _MIXTRAL_ROWS if architecture.family == "mixtral" else EXPERT_ROWS
    return Names(
        base="model.",
        layer="model.layers.{i}.",
        whole=BODY_ROWS,
        layers=(
            *ATTENTION_ROWS,
            *apart,
            ROUTER_ROW,
            *FUSED_EXPERT_ROWS,
            *MLP_ROWS,
            *NORM_ROWS,
        ),
        spare=SPARE_HEAD if architecture.tied else (),
    )
