"""A GGUF file's metadata as a Hugging Face config.

What llama.cpp keeps in its code and not in the file (gemma's query scale, whose experts'
weights are normalised) is written here.

References:
    src/llama-model.cpp and conversion/*.py, github.com/ggml-org/llama.cpp (2025).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from explorer.architectures.fields import Fields
from explorer.errors import InputError, printable
from explorer.pretrained.gguf_deepseek import deepseek
from explorer.pretrained.gguf_rotary import rotary, shortest

if TYPE_CHECKING:
    import numpy as np

__all__ = ["ARCHITECTURES", "Tensors", "translate"]

Config = dict[str, Any]


class Tensors(NamedTuple):
    """What a file's tensors tell: the shapes of all, the values of rotary factors."""

    shapes: Mapping[str, tuple[int, ...]]
    factors: "Mapping[str, np.ndarray]"


_LAYERNORM, _RMS = "attention.layer_norm_epsilon", "attention.layer_norm_rms_epsilon"
_OF_EXPERT = "expert_feed_forward_length"


def translate(metadata: Mapping[str, Any], tensors: Tensors, place: str) -> Config:
    """Return the Hugging Face config of the model in a GGUF file.

    Args:
        metadata: the file's key-value pairs.
        tensors: what its tensors tell that the metadata lack.
        place: the file, for errors.

    Raises:
        InputError: an architecture that is not translated, or a key that is missing or
            wrong; one line names it.
    """
    named = metadata.get("general.architecture")
    if named not in _TRANSLATIONS:
        raise InputError(
            place,
            found=f"general.architecture is {printable(repr(named), 60)}",
            expected="one of " + ", ".join(ARCHITECTURES),
        )
    table = tensors.shapes.get("token_embd.weight", ())
    if len(table) != 2:
        raise InputError(
            place, found="lacks token_embd.weight", expected="the weights of a model"
        )
    front = f"{named}."
    content = {
        key.removeprefix(front): shortest(value) if isinstance(value, float) else value
        for key, value in metadata.items()
        if key.startswith(front)
    }
    fields = Fields(content, place, front)
    config = _TRANSLATIONS[named](fields, tensors)
    if fields.size("vocab_size", default=table[0]) != table[0]:
        raise fields.wrong("vocab_size", f"{table[0]:,}, the rows of token_embd.weight")
    tied = "output.weight" not in tensors.shapes
    return config | {"vocab_size": table[0], "tie_word_embeddings": tied}


def _decoder(
    fields: Fields,
    tensors: Tensors,
    model_type: str,
    eps: str = "rms_norm_eps",
    inner: str = "feed_forward_length",
) -> Config:
    """Return what the files of most decoders say in the same words."""
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


def _require_values(fields: Fields, each: int) -> None:
    if fields.size("attention.value_length", default=each) != each:
        raise fields.wrong("attention.value_length", f"{each:,}, as queries and keys have")


def _llama(fields: Fields, tensors: Tensors) -> Config:
    # Mistral's files are llama's too, and do not tell its window
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


def _qwen2(fields: Fields, tensors: Tensors) -> Config:
    return _decoder(fields, tensors, "qwen2")


def _qwen3(fields: Fields, tensors: Tensors) -> Config:
    return _decoder(fields, tensors, "qwen3")


def _qwen3_moe(fields: Fields, tensors: Tensors) -> Config:
    # of dense layers, which no file has: some leave it out
    inner = "feed_forward_length" if fields.has("feed_forward_length") else _OF_EXPERT
    return _decoder(fields, tensors, "qwen3_moe", inner=inner) | {
        "num_experts": fields.size("expert_count"),
        "num_experts_per_tok": fields.size("expert_used_count"),
        "moe_intermediate_size": fields.size(_OF_EXPERT),
        "norm_topk_prob": True,
    }


def _gemma(fields: Fields, tensors: Tensors) -> Config:
    gelu = {"hidden_activation": "gelu_pytorch_tanh"}
    return _decoder(fields, tensors, "gemma") | gelu


def _gemma2(fields: Fields, tensors: Tensors) -> Config:
    config = _decoder(fields, tensors, "gemma2")
    return config | {
        "hidden_activation": "gelu_pytorch_tanh",
        "attn_logit_softcapping": fields.number("attn_logit_softcapping"),
        "final_logit_softcapping": fields.number("final_logit_softcapping"),
        "sliding_window": fields.size("attention.sliding_window"),
        "query_pre_attn_scalar": _query_scalar(config, layers_of_27b=46),
    }


def _gemma3(fields: Fields, tensors: Tensors) -> Config:
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
    """Return what queries are scaled by the root of: only the 27B models differ."""
    if config["num_hidden_layers"] == layers_of_27b:
        return config["hidden_size"] // config["num_attention_heads"]
    return config.get("head_dim", config["hidden_size"] // config["num_attention_heads"])


def _phi3(fields: Fields, tensors: Tensors) -> Config:
    config = _decoder(fields, tensors, "phi3")
    longest = config["max_position_embeddings"]
    original = fields.size("rope.scaling.original_context_length", default=longest)
    return config | {
        "original_max_position_embeddings": original,
        # 0 where the model has none
        "sliding_window": fields.index("attention.sliding_window", default=0) or None,
    }


def _gpt2(fields: Fields, tensors: Tensors) -> Config:
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


def _gpt_neox(fields: Fields, tensors: Tensors) -> Config:
    config = _decoder(fields, tensors, "gpt_neox", "layer_norm_eps")
    return config | {
        # files do not tell; of the published models GPT-NeoX-20B alone has the fast one
        "hidden_act": "gelu_fast" if config["num_hidden_layers"] == 44 else "gelu",
        "use_parallel_residual": fields.flag("use_parallel_residual", default=True),
        "attention_bias": "blk.0.attn_qkv.bias" in tensors.shapes,
    }


def _olmo(fields: Fields, tensors: Tensors) -> Config:
    clip = fields.number("attention.clamp_kqv", default=None)
    config = _decoder(fields, tensors, "olmo", "layer_norm_eps")
    return config | ({"clip_qkv": clip} if clip else {})


def _olmo2(fields: Fields, tensors: Tensors) -> Config:
    if fields.has("attention.sliding_window"):
        raise fields.error(
            found="olmo2.attention.sliding_window is given, as OLMo 3 has it",
            expected="an OLMo 2 model, which has none",
        )
    return _decoder(fields, tensors, "olmo2")


def _olmoe(fields: Fields, tensors: Tensors) -> Config:
    return _decoder(fields, tensors, "olmoe") | {
        "num_experts": fields.size("expert_count"),
        "num_experts_per_tok": fields.size("expert_used_count"),
        "norm_topk_prob": False,
    }


def _gpt_oss(fields: Fields, tensors: Tensors) -> Config:
    config = _decoder(fields, tensors, "gpt_oss", inner=_OF_EXPERT)
    if "rope_scaling" in config:
        config["rope_scaling"]["truncate"] = False
    return config | {
        "num_local_experts": fields.size("expert_count"),
        "num_experts_per_tok": fields.size("expert_used_count"),
        "sliding_window": fields.size("attention.sliding_window"),
        "attention_bias": True,
    }


def _deepseek2(fields: Fields, tensors: Tensors) -> Config:
    return deepseek(fields, tensors.factors)


_TRANSLATIONS = {
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
ARCHITECTURES = tuple(_TRANSLATIONS)
