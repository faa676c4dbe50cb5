"""The cases: configs of every family, each with its inputs.

A case is a family's config with a few changes; every feature that changes numbers is enabled
in at least one of them.
"""

from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from tests.conformance.configs import (
    BERT,
    DISTILBERT,
    GEMMA,
    GEMMA2,
    GEMMA3,
    GPT2,
    GPT_OSS,
    GPTJ,
    GROK,
    LLAMA,
    LLAMA3,
    LONGROPE,
    MISTRAL,
    MIXED_YARN,
    MIXTRAL,
    NEOX,
    OLMO,
    OLMO2,
    OLMOE,
    OPT,
    PHI,
    PHI3,
    QWEN2,
    QWEN3,
    QWEN3_MOE,
    ROBERTA,
    STABLELM,
    V2,
    V3,
    VIT,
    VOCAB,
    WINDOW,
    YARN,
)

__all__ = ["CASES", "Case", "inputs_of", "tokens_of"]

_LENGTH = 14  # beyond the windows, and beyond what the dynamic cases were "trained" on
_FIRST_ID = 3  # lower ids are padding and other special tokens


class Case(NamedTuple):
    """One model and how it is run.

    `padding` is "both" (one full row, one padded on the left, one on the right), "right"
    (one full row, two padded on the right) or "none", which passes no mask and no positions.
    `reference_type` is what transformers calls the family, where it has no class of its own.
    """

    name: str
    config: dict[str, Any]
    padding: str = "both"
    reference_type: str = ""

    @property
    def model_type(self) -> str:
        """The family."""
        return self.config["model_type"]


def inputs_of(case: Case) -> dict[str, np.ndarray]:
    """Return what the model is called with, by argument name.

    Images are [batch, height, width, channels]. Token types are included if the config has
    more than one, positions if padding makes them other than 0, 1, 2, ...
    """
    random = np.random.RandomState(crc32(case.name.encode()))
    if "image_size" in case.config:
        side = case.config["image_size"]
        shape = (3, side, side, case.config["num_channels"])
        return {"pixel_values": random.standard_normal(shape).astype(np.float32)}
    ids = random.randint(_FIRST_ID, VOCAB, size=(3, _LENGTH))
    inputs = {"input_ids": ids}
    if case.config.get("type_vocab_size", 1) > 1:
        inputs["token_type_ids"] = random.randint(0, 2, size=ids.shape)
    if case.padding == "none":
        return inputs
    mask = np.ones_like(ids)
    if case.padding == "both":
        mask[1, :4], mask[2, -3:] = 0, 0
        inputs["position_ids"] = np.maximum(mask.cumsum(axis=1) - 1, 0)
    else:
        mask[1, -4:], mask[2, -3:] = 0, 0
    inputs["input_ids"] = np.where(mask, ids, case.config.get("pad_token_id", 0))
    return inputs | {"attention_mask": mask}


def tokens_of(case: Case) -> np.ndarray | None:
    """Return which positions [batch, length] are not padding; None for images."""
    inputs = inputs_of(case)
    if "input_ids" not in inputs:
        return None
    return inputs.get("attention_mask", np.ones_like(inputs["input_ids"])) != 0


def _headed(config: dict[str, Any], class_name: str) -> dict[str, Any]:
    return config | {"architectures": [class_name]}


CASES = (
    Case("gpt2", GPT2),
    Case(
        "gpt2_scaled",
        GPT2 | {"n_layer": 3, "n_inner": 40, "scale_attn_by_inverse_layer_idx": True},
        padding="none",
    ),
    Case("llama", LLAMA),
    Case("llama_no_mask", LLAMA | {"num_key_value_heads": 1}, padding="none"),
    Case("llama_headless", _headed(LLAMA, "LlamaModel")),
    Case("llama_tied", LLAMA | {"tie_word_embeddings": True, "num_hidden_layers": 3}),
    Case("llama_biases", LLAMA | {"attention_bias": True, "mlp_bias": True}),
    Case("llama_head_dim", LLAMA | {"head_dim": 12}),
    Case("llama_linear", LLAMA | {"rope_scaling": {"type": "linear", "factor": 2.5}}),
    Case(
        "llama_dynamic",
        LLAMA
        | {
            "max_position_embeddings": 8,
            "rope_scaling": {"type": "dynamic", "factor": 2.0},
        },
    ),
    Case("llama_llama3", LLAMA | {"rope_scaling": LLAMA3}),
    Case("llama_yarn", LLAMA | {"rope_scaling": YARN}),
    Case("mistral", MISTRAL),
    Case("mistral_no_window", MISTRAL | {"sliding_window": None, "head_dim": 12}),
    Case("mixtral", MIXTRAL),
    Case("mixtral_window", MIXTRAL | {"sliding_window": WINDOW}),
    Case("deepseek_v2", V2),
    Case(
        "deepseek_v2_plain_query",
        V2 | {"q_lora_rank": None, "routed_scaling_factor": 1.7},
        padding="none",
    ),
    Case(
        "deepseek_v2_groups",
        V2
        | {
            "topk_method": "group_limited_greedy",
            "n_group": 4,
            "topk_group": 2,
            "routed_scaling_factor": 16.0,
        },
    ),
    Case("deepseek_v2_yarn", V2 | {"rope_scaling": MIXED_YARN}),
    Case("deepseek_v3", V3),
    Case("deepseek_v3_yarn", V3 | {"rope_scaling": MIXED_YARN}),
    Case(
        "kimi_k2",
        V3
        | {
            "model_type": "kimi_k2",
            "n_group": 1,
            "topk_group": 1,
            "routed_scaling_factor": 2.827,
            "rope_scaling": YARN | {"mscale": 1.0, "mscale_all_dim": 1.0},
        },
        reference_type="deepseek_v3",
    ),
    Case("qwen2", QWEN2),
    Case(
        "qwen2_window",
        QWEN2
        | {
            "use_sliding_window": True,
            "sliding_window": WINDOW,
            "max_window_layers": 1,
            "num_hidden_layers": 3,
            "tie_word_embeddings": True,
        },
    ),
    Case("qwen3", QWEN3),
    Case("qwen3_tied", QWEN3 | {"tie_word_embeddings": True, "attention_bias": True}),
    Case("qwen3_moe", QWEN3_MOE),
    Case(
        "qwen3_moe_mixed",
        QWEN3_MOE
        | {
            "num_hidden_layers": 5,
            "decoder_sparse_step": 2,
            "mlp_only_layers": [3],
            "norm_topk_prob": False,
        },
    ),
    Case("gemma", GEMMA),
    Case("gemma2", GEMMA2),
    Case("gemma3", GEMMA3),
    Case(
        "gemma3_linear", GEMMA3 | {"rope_scaling": {"rope_type": "linear", "factor": 8.0}}
    ),
    Case("phi3", PHI3),
    Case("phi3_window", PHI3 | {"sliding_window": WINDOW, "num_key_value_heads": 4}),
    Case(
        "phi3_longrope_short",
        PHI3
        | {
            "max_position_embeddings": 64,
            "original_max_position_embeddings": 16,
            "partial_rotary_factor": 0.5,
            "rope_scaling": LONGROPE,
        },
    ),
    Case(
        "phi3_longrope_long",
        PHI3
        | {
            "max_position_embeddings": 64,
            "original_max_position_embeddings": 8,
            "partial_rotary_factor": 0.5,
            "rope_scaling": LONGROPE,
        },
    ),
    Case("gpt_neox", NEOX),
    Case(
        "gpt_neox_serial",
        NEOX | {"use_parallel_residual": False, "attention_bias": False, "rotary_pct": 0.5},
    ),
    Case("olmo", OLMO),
    Case("olmo_clip", OLMO | {"clip_qkv": 0.6, "tie_word_embeddings": False}),
    Case("olmo2", OLMO2),
    Case("olmoe", OLMOE),
    Case("olmoe_clip", OLMOE | {"clip_qkv": 0.6, "norm_topk_prob": True}),
    Case("gpt_oss", GPT_OSS),
    Case("bert", BERT, padding="right"),
    Case("bert_mlm", _headed(BERT, "BertForMaskedLM"), padding="right"),
    Case("bert_pretraining", _headed(BERT, "BertForPreTraining"), padding="right"),
    Case("roberta", ROBERTA, padding="right"),
    Case("roberta_mlm", _headed(ROBERTA, "RobertaForMaskedLM"), padding="right"),
    Case("distilbert", DISTILBERT, padding="right"),
    Case("distilbert_mlm", _headed(DISTILBERT, "DistilBertForMaskedLM"), padding="right"),
    Case("vit", VIT),
    Case(
        "vit_classes",
        _headed(VIT, "ViTForImageClassification") | {"num_labels": 7, "qkv_bias": False},
    ),
    Case("grok-1", GROK),
    Case("stablelm", STABLELM),
    Case(
        "stablelm_parallel",
        STABLELM | {"use_qkv_bias": True, "use_parallel_residual": True},
    ),
    Case("phi", PHI),
    Case("opt", OPT),
    Case("gptj", GPTJ),
)
