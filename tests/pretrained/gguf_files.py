"""Hugging Face checkpoints written as GGUF: names by the gguf package's own map, and what
llama.cpp's converters do to values in a few lines each."""

import re
from pathlib import Path

import gguf
import numpy as np

from tests.formats.gguf_bytes import save

ARCHITECTURES = {
    "deepseek_v2": "deepseek2",
    "deepseek_v3": "deepseek2",
    "gemma3_text": "gemma3",
    "gpt_neox": "gptneox",
    "gpt_oss": "gpt-oss",
    "mixtral": "llama",
    "qwen3_moe": "qwen3moe",
}
_EXPERT = re.compile(r"(.+experts)\.([0-9]+)\.(\w+)\.weight")
_QKV = re.compile(r".*(query_key_value)\.(weight|bias)")
_METADATA = {
    "vocab_size": "vocab_size",
    "max_position_embeddings": "context_length",
    "n_positions": "context_length",
    "hidden_size": "embedding_length",
    "n_embd": "embedding_length",
    "num_hidden_layers": "block_count",
    "n_layer": "block_count",
    "intermediate_size": "feed_forward_length",
    "num_attention_heads": "attention.head_count",
    "n_head": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "num_experts": "expert_count",
    "num_local_experts": "expert_count",
    "n_routed_experts": "expert_count",
    "n_shared_experts": "expert_shared_count",
    "num_experts_per_tok": "expert_used_count",
    "moe_intermediate_size": "expert_feed_forward_length",
    "n_group": "expert_group_count",
    "topk_group": "expert_group_used_count",
    "first_k_dense_replace": "leading_dense_block_count",
    "kv_lora_rank": "attention.kv_lora_rank",
    "q_lora_rank": "attention.q_lora_rank",
    "qk_rope_head_dim": "rope.dimension_count",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    "layer_norm_eps": "attention.layer_norm_epsilon",
    "layer_norm_epsilon": "attention.layer_norm_epsilon",
    "rope_theta": "rope.freq_base",
    "sliding_window": "attention.sliding_window",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
    "routed_scaling_factor": "expert_weights_scale",
    "use_parallel_residual": "use_parallel_residual",
    "clip_qkv": "attention.clamp_kqv",
}


def write(
    path: Path,
    config: dict,
    tensors: dict[str, np.ndarray],
    more: dict | None = None,
    kind: gguf.GGMLQuantizationType | None = None,
    beside: dict[str, np.ndarray] | None = None,
) -> Path:
    """Write a checkpoint, `more` metadata and tensors `beside` it; of some `kind`."""
    family: str = config["model_type"]
    architecture = ARCHITECTURES.get(family, family)
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in (metadata(config) | (more or {})).items():
        add = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32}
        put = writer.add_string if isinstance(value, str) else add[type(value)]
        put(f"{architecture}.{key}", value)
    for name, array in converted(config, tensors, architecture).items():
        if kind is None or array.ndim == 1:
            writer.add_tensor(name, array)
        else:
            writer.add_tensor(name, gguf.quantize(array, kind), raw_dtype=kind)
    for name, array in (beside or {}).items():
        writer.add_tensor(name, array)
    save(writer)
    return path


def metadata(config: dict) -> dict:
    """The metadata of a config, by keys without the architecture."""
    known = {_METADATA[key]: v for key, v in config.items() if key in _METADATA and v}
    match config["model_type"]:
        case "gpt2":
            known["feed_forward_length"] = 4 * config["n_embd"]
        case "gpt_neox":
            head = config["hidden_size"] // config["num_attention_heads"]
            known["rope.dimension_count"] = int(config["rotary_pct"] * head)
        case "gpt_oss":
            known["expert_feed_forward_length"] = config["intermediate_size"]
        case "deepseek_v2" | "deepseek_v3":
            key = config["qk_nope_head_dim"] + config["qk_rope_head_dim"]
            known["attention.head_count_kv"] = 1
            known["attention.key_length"] = config["kv_lora_rank"] + key
            known["attention.key_length_mla"] = key
            known["attention.value_length_mla"] = config["v_head_dim"]
            known["expert_weights_norm"] = config["norm_topk_prob"]
            known["expert_gating_func"] = 2 if config["scoring_func"] == "sigmoid" else 1
    return known


def converted(config: dict, tensors: dict, architecture: str) -> dict[str, np.ndarray]:
    """The tensors under GGUF's names, laid out as llama.cpp wants them."""
    layers = config["n_layer" if "n_layer" in config else "num_hidden_layers"]
    number = {name: arch for arch, name in gguf.MODEL_ARCH_NAMES.items()}[architecture]
    names = gguf.get_tensor_name_map(number, layers)
    found = {}
    for name, array in changed(config, stacked(tensors)):
        name = name.replace("correction_bias", "correction.bias")
        stem, dot, last = name.rpartition(".")
        mapped = names.get_name(stem)
        assert mapped is not None, name
        found[mapped + dot + last] = np.ascontiguousarray(array)
    return found


def stacked(tensors: dict) -> dict[str, np.ndarray]:
    """The tensors with those of single experts put together."""
    found: dict = {}
    for name, array in tensors.items():
        expert = _EXPERT.fullmatch(name)
        if expert:
            found.setdefault(f"{expert[1]}.{expert[3]}.weight", []).append(array)
        else:
            found[name] = array
    return {n: np.stack(a) if isinstance(a, list) else a for n, a in found.items()}


def changed(config: dict, tensors: dict) -> list[tuple[str, np.ndarray]]:
    """The tensors as the converter of the config's family changes them."""
    family, found = config["model_type"], []
    for name, array in tensors.items():
        stem, _, last = name.rpartition(".")
        parts = [(name, array)]
        if family in ("llama", "mixtral", "olmo") and stem.endswith(("q_proj", "k_proj")):
            key = (
                "num_key_value_heads" if stem.endswith("k_proj") else "num_attention_heads"
            )
            pairs = array.reshape(config[key], 2, -1, *array.shape[1:])
            parts = [(name, pairs.swapaxes(1, 2).reshape(array.shape))]
        elif family.startswith("gemma") and name.endswith("norm.weight"):
            parts = [(name, array + 1)]
        elif family == "gpt2" and stem.endswith(("c_attn", "c_proj", "c_fc")):
            parts = [(name, array.T)]
        elif family == "gpt_neox" and _QKV.fullmatch(name):
            heads = array.reshape(config["num_attention_heads"], 3, -1, *array.shape[1:])
            parts = [(name, heads.swapaxes(0, 1).reshape(array.shape))]
        elif name.endswith("kv_b_proj.weight"):
            nope, value = config["qk_nope_head_dim"], config["v_head_dim"]
            both = array.reshape(-1, nope + value, array.shape[-1])
            front = name.removesuffix("kv_b_proj.weight")
            keys = both[:, :nope].swapaxes(1, 2)
            parts = [(front + "k_b_proj.weight", keys)]
            parts += [(front + "v_b_proj.weight", both[:, nope:])]
        elif family == "gpt_oss" and "experts" in name:
            kind = "bias" if last.endswith("_bias") else "weight"
            array = array if kind == "bias" else array.swapaxes(1, 2)
            if "gate_up" in last:
                parts = [(f"{stem}.gate_proj.{kind}", array[:, ::2])]
                parts += [(f"{stem}.up_proj.{kind}", array[:, 1::2])]
            else:
                parts = [(f"{stem}.down_proj.{kind}", array)]
        elif last == "sinks":
            parts = [(name + ".weight", array)]
        found += parts
    return found
