"""The translation of each GGUF architecture's metadata into a Hugging Face config.

What llama.cpp keeps in its code instead of the file (Gemma's query scale, which routers
normalise their weights) is written here.

References:
    src/llama-model.cpp and conversion/*.py, github.com/ggml-org/llama.cpp (2025).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from explorer.architectures.config_fields import ConfigFields
from explorer.pretrained.gguf.deepseek import deepseek
from explorer.pretrained.gguf.rotary import rotary

if TYPE_CHECKING:
    import numpy as np

__all__ = ["TRANSLATIONS", "Config", "TensorFacts"]

Config = dict[str, Any]


class TensorFacts(NamedTuple):
    """What a file's tensors add to its metadata: all shapes, the values of rotary factors."""

    shapes: Mapping[str, tuple[int, ...]]
    factors: "Mapping[str, np.ndarray]"


_LAYERNORM, _RMS = "attention.layer_norm_epsilon", "attention.layer_norm_rms_epsilon"
_EXPERT_INNER = "expert_feed_forward_length"


def _decoder(
    fields: ConfigFields,
    tensors: TensorFacts,
    model_type: str,
    eps: str = "rms_norm_eps",
    inner: str = "feed_forward_length",
) -> Config:
    """Return the fields that most decoders' files have under the same keys."""
    size = fields.size("embedding_length")
    heads = fields.size("attention.head_count")
    config: Config = {
        "model_type": model_type,
        "hidden_size": size,
        "num_hidden_layers": fields.layers("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": fields.size("attention.head_count_kv", default=heads),
        "max_position_embeddings": fields.size("context_length"),
        "intermediate_size": fields.size(inner),
        eps: fields.number(_RMS if eps == "rms_norm_eps" else _LAYERNORM),
    }
    each = fields.size("attention.key_length", default=max(1, size // heads))
    if fields.has("attention.key_length"):
        config["head_dim"] = each
    _require_values(fields, each)
    return config | rotary(fields, tensors.factors, each)


def _require_values(fields: ConfigFields, each: int) -> None:
    if fields.size("attention.value_length", default=each) != each:
        raise fields.invalid(
            "attention.value_length", f"{each:,}, the length of queries and keys"
        )


def _llama(fields: ConfigFields, tensors: TensorFacts) -> Config:
    # Mistral's files also use this architecture, and do not store its window
    if fields.index("expert_count", default=0):
        return _decoder(fields, tensors, "mixtral") | {
            "num_local_experts": fields.size("expert_count"),
            "num_experts_per_tok": fields.size("expert_used_count"),
            "sliding_window": None,
        }
    return _decoder(fields, tensors, "llama") | {
        "attention_bias": "blk.0.attn_q.bias" in tensors.shapes,
        "mlp_bias": "blk.0.ffn_up.bias" in tensors.shapes,
    }


def _qwen2(fields: ConfigFields, tensors: TensorFacts) -> Config:
    return _decoder(fields, tensors, "qwen2")


def _qwen3(fields: ConfigFields, tensors: TensorFacts) -> Config:
    return _decoder(fields, tensors, "qwen3")


def _qwen3_moe(fields: ConfigFields, tensors: TensorFacts) -> Config:
    # feed_forward_length is that of dense layers, which no file has; some omit it
    inner = "feed_forward_length" if fields.has("feed_forward_length") else _EXPERT_INNER
    return _decoder(fields, tensors, "qwen3_moe", inner=inner) | {
        "num_experts": fields.size("expert_count"),
        "num_experts_per_tok": fields.size("expert_used_count"),
        "moe_intermediate_size": fields.size(_EXPERT_INNER),
        "norm_topk_prob": True,
    }


def _gemma(fields: ConfigFields, tensors: TensorFacts) -> Config:
    gelu = {"hidden_activation": "gelu_pytorch_tanh"}
    return _decoder(fields, tensors, "gemma") | gelu


def _gemma2(fields: ConfigFields, tensors: TensorFacts) -> Config:
    config = _decoder(fields, tensors, "gemma2")
    return config | {
        "hidden_activation": "gelu_pytorch_tanh",
        "attn_logit_softcapping": fields.number("attn_logit_softcapping"),
        "final_logit_softcapping": fields.number("final_logit_softcapping"),
        "sliding_window": fields.size("attention.sliding_window"),
        "query_pre_attn_scalar": _query_scalar(config, layers_of_27b=46),
    }


def _gemma3(fields: ConfigFields, tensors: TensorFacts) -> Config:
    config = _decoder(fields, tensors, "gemma3_text")
    window = fields.size("attention.sliding_window", default=None)
    layers = config["num_hidden_layers"]
    kinds = [
        "sliding_attention" if window and (index + 1) % 6 else "full_attention"
        for index in range(layers)
    ]
    if fields.has("final_logit_softcapping"):
        config["final_logit_softcapping"] = fields.number("final_logit_softcapping")
    return config | {
        "hidden_activation": "gelu_pytorch_tanh",
        "rope_local_base_freq": fields.number("rope.freq_base_swa", default=10_000.0),
        "sliding_window": window,
        "layer_types": kinds,
        "query_pre_attn_scalar": _query_scalar(config, layers_of_27b=62),
    }


def _query_scalar(config: Config, layers_of_27b: int) -> int:
    """Return the number whose square root divides queries; only the 27B models differ."""
    if config["num_hidden_layers"] == layers_of_27b:
        return config["hidden_size"] // config["num_attention_heads"]
    return config.get("head_dim", config["hidden_size"] // config["num_attention_heads"])


def _phi3(fields: ConfigFields, tensors: TensorFacts) -> Config:
    config = _decoder(fields, tensors, "phi3")
    longest = config["max_position_embeddings"]
    original = fields.size("rope.scaling.original_context_length", default=longest)
    return config | {
        "original_max_position_embeddings": original,
        # 0 if the model has none
        "sliding_window": fields.index("attention.sliding_window", default=0) or None,
    }


def _gpt2(fields: ConfigFields, tensors: TensorFacts) -> Config:
    size, heads = fields.size("embedding_length"), fields.size("attention.head_count")
    _require_values(fields, max(1, size // heads))
    return {
        "model_type": "gpt2",
        "n_embd": size,
        "n_layer": fields.layers("block_count"),
        "n_head": heads,
        "n_inner": fields.size("feed_forward_length"),
        "n_positions": fields.size("context_length"),
        "layer_norm_epsilon": fields.number(_LAYERNORM),
    }


def _gpt_neox(fields: ConfigFields, tensors: TensorFacts) -> Config:
    config = _decoder(fields, tensors, "gpt_neox", "layer_norm_eps")
    # what its class calls them
    config["rotary_emb_base"] = config.pop("rope_theta")
    config["rotary_pct"] = config.pop("partial_rotary_factor", 1.0)
    return config | {
        # not stored; among the published models only GPT-NeoX-20B uses the fast one
        "hidden_act": "gelu_fast" if config["num_hidden_layers"] == 44 else "gelu",
        "use_parallel_residual": fields.flag("use_parallel_residual", default=True),
        "attention_bias": "blk.0.attn_qkv.bias" in tensors.shapes,
    }


def _olmo(fields: ConfigFields, tensors: TensorFacts) -> Config:
    clip = fields.number("attention.clamp_kqv", default=None)
    config = _decoder(fields, tensors, "olmo", "layer_norm_eps")
    return config | ({"clip_qkv": clip} if clip else {})


def _olmo2(fields: ConfigFields, tensors: TensorFacts) -> Config:
    if fields.has("attention.sliding_window"):
        raise fields.error(
            found="olmo2.attention.sliding_window is set, as in OLMo 3",
            expected="an OLMo 2 model, which has none",
        )
    return _decoder(fields, tensors, "olmo2")


def _olmoe(fields: ConfigFields, tensors: TensorFacts) -> Config:
    return _decoder(fields, tensors, "olmoe") | {
        "num_experts": fields.size("expert_count"),
        "num_experts_per_tok": fields.size("expert_used_count"),
        "norm_topk_prob": False,
    }


def _gpt_oss(fields: ConfigFields, tensors: TensorFacts) -> Config:
    config = _decoder(fields, tensors, "gpt_oss", inner=_EXPERT_INNER)
    if "rope_scaling" in config:
        config["rope_scaling"]["truncate"] = False
    return config | {
        "num_local_experts": fields.size("expert_count"),
        "num_experts_per_tok": fields.size("expert_used_count"),
        "sliding_window": fields.size("attention.sliding_window"),
        "attention_bias": True,
    }


def _deepseek2(fields: ConfigFields, tensors: TensorFacts) -> Config:
    return deepseek(fields, tensors.factors)


TRANSLATIONS = {
    "deepseek2": _deepseek2,
    "gemma": _gemma,
    "gemma2": _gemma2,
    "gemma3": _gemma3,
    "gpt-oss": _gpt_oss,
    "gpt2": _gpt2,
    "gptneox": _gpt_neox,
    "llama": _llama,
    "olmo": _olmo,
    "olmo2": _olmo2,
    "olmoe": _olmoe,
    "phi3": _phi3,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "qwen3moe": _qwen3_moe,
}
