"""The translation of DeepSeek-V2's and V3's GGUF metadata into config fields."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from explorer.architectures.config_fields import ConfigFields
from explorer.pretrained.gguf.rotary import rotary

if TYPE_CHECKING:
    import numpy as np

__all__ = ["deepseek"]

_SOFTMAX, _SIGMOID = 1, 2
# the converter writes a tenth of mscale_all_dim, which equals mscale in all these models
_TENTH = 0.1


def deepseek(fields: ConfigFields, factors: "Mapping[str, np.ndarray]") -> dict[str, Any]:
    """Return the config of a `deepseek2` file: V2, or V3 if scores are sigmoids.

    Args:
        fields: the metadata of the file's architecture.
        factors: rotary factors among its tensors.

    Raises:
        InputError: a key is missing or invalid.
    """
    heads = fields.size("attention.head_count")
    rotated = fields.size("rope.dimension_count")
    key = fields.size("attention.key_length_mla", "attention.key_length")
    if key <= rotated:
        raise fields.error(
            found=f"rotary positions over {rotated} of a key's {key} entries",
            expected="fewer than all of them",
        )
    return {
        "hidden_size": fields.size("embedding_length"),
        "num_hidden_layers": _layers(fields),
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "intermediate_size": fields.size("feed_forward_length"),
        "max_position_embeddings": fields.size("context_length"),
        "rms_norm_eps": fields.number("attention.layer_norm_rms_epsilon"),
        "q_lora_rank": fields.size("attention.q_lora_rank", default=None),
        "kv_lora_rank": fields.size("attention.kv_lora_rank"),
        "qk_rope_head_dim": rotated,
        "qk_nope_head_dim": key - rotated,
        "v_head_dim": fields.size("attention.value_length_mla", "attention.value_length"),
        **_experts(fields),
        **_positions(fields, factors, rotated),
    }


def _layers(fields: ConfigFields) -> int:
    """Return the number of layers without multi-token-prediction layers, stored as blocks."""
    blocks = fields.layers("block_count")
    prediction = fields.index("nextn_predict_layers", default=0)
    if prediction >= blocks:
        raise fields.invalid("nextn_predict_layers", f"fewer than {blocks}")
    return blocks - prediction


def _experts(fields: ConfigFields) -> dict[str, Any]:
    gating = fields.index("expert_gating_func", default=_SOFTMAX)
    if gating not in (_SOFTMAX, _SIGMOID):
        raise fields.invalid("expert_gating_func", "1 (softmax) or 2 (sigmoid)")
    third = gating == _SIGMOID
    # files from before October 2025 do not store groups; only V2-Lite, the model without
    # low-rank queries, is known to have none
    lite = {} if third or fields.has("attention.q_lora_rank") else {"default": 1}
    groups = fields.size("expert_group_count", **lite)
    return {
        "model_type": "deepseek_v3" if third else "deepseek_v2",
        "n_routed_experts": fields.size("expert_count"),
        "n_shared_experts": fields.size("expert_shared_count"),
        "num_experts_per_tok": fields.size("expert_used_count"),
        "moe_intermediate_size": fields.size("expert_feed_forward_length"),
        "first_k_dense_replace": fields.index("leading_dense_block_count"),
        "n_group": groups,
        "topk_group": fields.size("expert_group_used_count", **lite),
        "topk_method": "noaux_tc"
        if third
        else ("group_limited_greedy" if groups > 1 else "greedy"),
        "scoring_func": "sigmoid" if third else "softmax",
        "norm_topk_prob": fields.flag("expert_weights_norm", default=False),
        "routed_scaling_factor": fields.number("expert_weights_scale", default=1.0),
    }


def _positions(
    fields: ConfigFields, factors: "Mapping[str, np.ndarray]", rotated: int
) -> dict[str, Any]:
    positions = rotary(fields, factors, rotated)
    scaling = positions.get("rope_scaling", {})
    if scaling and fields.has("rope.scaling.yarn_log_multiplier"):
        magnitude = fields.number("rope.scaling.yarn_log_multiplier", positive=False)
        scaling["mscale"] = scaling["mscale_all_dim"] = round(magnitude / _TENTH, 6)
    return positions
