"""Published configs made small: the structure of each kept, every size tiny."""

import zlib

import ml_dtypes
import numpy as np

from explorer.architectures.architecture import Architecture
from explorer.architectures.checkpoint_fit import is_bare
from explorer.architectures.families import SUPPORTED, architecture_of, checkpoint_names_of
from explorer.architectures.stored_tensors import stored_tensors
from tests.facts import models

FORMATS = ("float32", "bfloat16", "float16")
_SIZES = {
    "hidden_size": 32,
    "n_embd": 32,
    "dim": 32,
    "intermediate_size": 48,
    "hidden_dim": 48,
    "ffn_dim": 48,
    "word_embed_proj_dim": 32,
    "rotary_dim": 4,
    "n_inner": 48,
    "moe_intermediate_size": 24,
    "vocab_size": 40,
    "num_attention_heads": 4,
    "n_head": 4,
    "n_heads": 4,
    "max_position_embeddings": 64,
    "n_positions": 64,
    "n_ctx": 64,
    "num_hidden_layers": 3,
    "n_layer": 3,
    "n_layers": 3,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "experts_per_token": 2,
    "first_k_dense_replace": 1,
    "q_lora_rank": 12,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "v_head_dim": 6,
    "n_group": 2,
    "topk_group": 1,
    "image_size": 32,
    "patch_size": 8,
    "num_labels": 5,
    "sliding_window": 8,
    "query_pre_attn_scalar": 10,
}
# of gemma3_text one full period of windows and one layer more
_LAYERS = {"gemma3_text": 7}


def shrink(config: dict) -> dict:
    """A config of the same kind with tiny sizes; what is absent or null stays so."""
    small = {
        key: min(value, _SIZES[key]) if value and key in _SIZES else value
        for key, value in config.items()
    }
    if "num_key_value_heads" in config:
        heads, shared = config["num_attention_heads"], config["num_key_value_heads"]
        small["num_key_value_heads"] = 4 if heads == shared else 1 if shared == 1 else 2
    if "head_dim" in config:
        small["head_dim"] = 10  # not hidden_size / heads
    for share in ("rotary_pct", "partial_rotary_factor"):
        if share in config:
            small[share] = 0.5  # of 8 entries, an even number
    if config["model_type"] in _LAYERS:
        small["num_hidden_layers"] = _LAYERS[config["model_type"]]
    if (
        config["model_type"] == "grok-1"
    ):  # its rule gives 8 * 32 * 2 / 3, filled up to eights
        small["intermediate_size"] = 176
    return small


def configs() -> dict[str, dict]:
    """The tiny config of each published model whose family is built, by its id."""
    built = (model for model in models() if model["config"]["model_type"] in SUPPORTED)
    return {model["id"]: shrink(model["config"]) for model in built}


def random_array(name: str, shape: tuple[int, ...], dtype: str = "float32") -> np.ndarray:
    """Numbers that the name alone decides."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    array = rng.standard_normal(shape, dtype="float32")
    return array.astype(getattr(ml_dtypes, dtype, dtype))


def checkpoint(config: dict, dtype: str = "float32", bare: bool | None = None) -> dict:
    """A checkpoint of a config's class, every number at random."""
    architecture = architecture_of(config)
    bare = is_bare(architecture) if bare is None else bare
    stored = stored_tensors(architecture, checkpoint_names_of(architecture), bare)
    return {n: random_array(n, tensor.shape, dtype) for n, tensor in stored.items()}


def architecture(config: dict) -> Architecture:
    """The architecture of a config."""
    return architecture_of(config)
