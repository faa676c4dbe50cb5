"""Invalid configs: each raises one line that names the field, its value, what is allowed."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.architectures.architecture import Architecture
from explorer.architectures.families import SUPPORTED, architecture_of
from explorer.errors import InputError
from tests.facts import models

_LLAMA, _MIXTRAL = "meta-llama/Llama-2-7b-hf", "mistralai/Mixtral-8x7B-v0.1"
_GEMMA2, _GEMMA3 = "google/gemma-2-2b", "google/gemma-3-270m"
_LITE, _V3 = "deepseek-ai/DeepSeek-V2-Lite", "deepseek-ai/DeepSeek-V3"
_QWEN, _OLMOE = "Qwen/Qwen3-30B-A3B", "allenai/OLMoE-1B-7B-0924"
_OSS, _PHI, _GROK = (
    "openai/gpt-oss-20b",
    "microsoft/Phi-3-mini-4k-instruct",
    "xai-org/grok-1",
)
_CONFIGS = {m["id"]: m["config"] for m in models()}
_BUILT = [config for config in _CONFIGS.values() if config["model_type"] in SUPPORTED]
_GONE = object()
_SHORT = {"type": "longrope", "short_factor": [1.0] * 3, "long_factor": [1.0] * 48}
_GROUPS = {"topk_method": "group_limited_greedy", "n_group": 8, "topk_group": 3}

_CASES = [
    # a field that is missing
    (
        _LLAMA,
        {"hidden_size": _GONE},
        "hidden_size is missing; expected a complete llama config",
    ),
    (
        _GEMMA2,
        {"vocab_size": None},
        "vocab_size is missing; expected a complete gemma2 config",
    ),
    (_MIXTRAL, {"num_local_experts": _GONE}, "num_local_experts is missing"),
    (_QWEN, {"num_experts_per_tok": _GONE}, "num_experts_per_tok is missing"),
    (_QWEN, {"moe_intermediate_size": _GONE}, "moe_intermediate_size is missing"),
    (_V3, {"kv_lora_rank": _GONE}, "kv_lora_rank is missing"),
    (_GROK, {"intermediate_size": _GONE, "widening_factor": _GONE}, "intermediate_size is"),
    (_LLAMA, {"rope_scaling": {"type": "linear"}}, "rope_scaling.factor is missing"),
    # of the wrong type
    (_LLAMA, {"hidden_size": "4096"}, "hidden_size is '4096'; expected an int"),
    (_GEMMA3, {"num_hidden_layers": 18.0}, "num_hidden_layers is 18.0; expected an int"),
    (_OLMOE, {"norm_topk_prob": 1}, "norm_topk_prob is 1; expected true or false"),
    (_GEMMA2, {"rms_norm_eps": "small"}, "rms_norm_eps is 'small'; expected a number"),
    (_PHI, {"rope_scaling": "su"}, "rope_scaling is 'su'; expected an object"),
    (_QWEN, {"mlp_only_layers": "all"}, "mlp_only_layers is 'all'; expected a list of"),
    (_MIXTRAL, {"hidden_size": True}, "hidden_size is True; expected an int"),
    # zero, negative or not finite
    (_LLAMA, {"vocab_size": 0}, "vocab_size is 0; expected 1 to 2,147,483,647"),
    (_V3, {"q_lora_rank": -1}, "q_lora_rank is -1; expected 1 to 2,147,483,647"),
    (_GROK, {"num_experts": 0}, "num_experts is 0; expected 1 to 15,625"),
    (_OSS, {"head_dim": -64}, "head_dim is -64; expected 1 to"),
    (
        _GEMMA2,
        {"query_pre_attn_scalar": 0},
        "query_pre_attn_scalar is 0; expected a number",
    ),
    (_OLMOE, {"clip_qkv": -8.0}, "clip_qkv is -8.0; expected a number above 0"),
    (_GEMMA3, {"rope_theta": float("nan")}, "rope_theta is nan; expected a number above 0"),
    (
        _LLAMA,
        {"num_hidden_layers": 10**6},
        "num_hidden_layers is 1000000; expected 1 to 10,000",
    ),
    (_V3, {"n_routed_experts": 10**6}, "n_routed_experts is 1000000; expected 1 to 16,393"),
    # heads and positions that do not fit
    (
        _LLAMA,
        {"num_attention_heads": 33, "num_key_value_heads": 33},
        "hidden_size 4096 is not a multiple of num_attention_heads 33",
    ),
    (
        _MIXTRAL,
        {"num_key_value_heads": 5},
        "num_attention_heads 32 is not a multiple of num_key_value_heads 5; "
        "expected num_key_value_heads that divides num_attention_heads",
    ),
    (
        _QWEN,
        {"head_dim": 3},
        "rotary positions over a head of 3 entries; expected an even",
    ),
    (
        _PHI,
        {"partial_rotary_factor": 2.0},
        "rotary positions over partial_rotary_factor 2 of a head of 96 entries",
    ),
    # unknown words
    (_LLAMA, {"hidden_act": "swoosh"}, "hidden_act is 'swoosh'; expected one of gelu, "),
    (
        _GEMMA2,
        {"hidden_activation": "?"},
        "hidden_activation is '?'; expected one of gelu, ",
    ),
    (
        _V3,
        {"scoring_func": "tanh"},
        "scoring_func is 'tanh'; expected one of sigmoid, softmax",
    ),
    (
        _V3,
        {"topk_method": "best"},
        "topk_method is 'best'; expected one of greedy, group_limited_greedy, noaux_tc",
    ),
    (_PHI, {"rope_scaling": _SHORT}, "short_factor has 3 entries; expected 48, half the"),
    (
        _V3,
        {"rope_scaling": {"type": "yarn", "factor": 40, "mscale": -1.0}},
        "rope_scaling.mscale is -1.0; expected 0 or more",
    ),
    (_LLAMA, {"torch_dtype": "int4"}, "torch_dtype is 'int4'; expected one of bfloat16, "),
    # experts
    (
        _MIXTRAL,
        {"num_experts_per_tok": 9},
        "num_experts_per_tok 9 is above num_local_experts 8; expected 1 to 8",
    ),
    (_GROK, {"num_experts_per_tok": 9}, "num_experts_per_tok 9 is above num_experts 8"),
    (
        _V3,
        {"num_experts_per_tok": 999},
        "num_experts_per_tok 999 is above n_routed_experts 256",
    ),
    (_V3, {"n_group": 7}, "n_routed_experts 256 is not a multiple of n_group 7"),
    (_V3, {"topk_group": 9}, "topk_group 9 is above n_group 8; expected 1 to 8"),
    (
        _V3,
        {"n_group": 256},
        "n_group 256 leaves one expert per group; expected two or more",
    ),
    (
        _LITE,
        _GROUPS | {"topk_group": 1, "num_experts_per_tok": 9},
        "num_experts_per_tok 9 is above the 8 experts of topk_group 1; expected 1 to 8",
    ),
    # kinds of layers
    (
        _GEMMA2,
        {"layer_types": ["full_attention"] * 25},
        "expected 26 of full_attention, sliding_attention, chunked_attention, one per layer",
    ),
    (_OSS, {"layer_types": ["linear_attention"] * 24}, "expected 24 of full_attention"),
    # unsupported
    (
        _LLAMA,
        {"architectures": "LlamaModel"},
        "architectures is 'LlamaModel'; expected one of ",
    ),
    (
        _LLAMA,
        {"architectures": [None]},
        "architectures is [None]; expected one of LlamaFor",
    ),
    (_GROK, {"tie_word_embeddings": False}, "tie_word_embeddings is False; expected true"),
    (
        _GEMMA3,
        {"architectures": ["Gemma3ForConditionalGeneration"]},
        "expected one of Gemma3ForCausalLM, Gemma3TextModel",
    ),
]


def _change(name: str, changes: dict) -> dict:
    changed = _CONFIGS[name] | changes
    return {key: value for key, value in changed.items() if value is not _GONE}


@pytest.mark.parametrize(("name", "changes", "expected"), _CASES)
def test_an_invalid_field_raises_one_line(name, changes, expected):
    with pytest.raises(InputError) as caught:
        architecture_of(_change(name, changes), "config.json")
    message = str(caught.value)
    assert message.startswith("config.json: ")
    assert expected in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, "config.json: model_type is missing; expected one of bert, "),
        ({"model_type": 3}, "model_type is missing; expected one of bert, "),
        ({"model_type": "t5"}, "model_type 't5' is not supported; expected one of bert, "),
        ({"model_type": "mixtrall"}, "; did you mean mixtral?"),
        ({"model_type": "Llama"}, "; did you mean llama?"),
        ({"peft_type": "LORA"}, "; it is a config of PEFT, by its peft_type LORA"),
        ({"_class_name": "UNet2DConditionModel"}, "; it is a config of diffusers, by its "),
        ({"architecture": "vit_base_patch16_224"}, "; it is a config of timm, by its "),
        ({"model_type": "deepseek-v3"}, "; did you mean deepseek_v3?"),
        ({"model_type": "gpt_os"}, "; did you mean gpt_oss?"),
        ({"model_type": "x\n\x1b[31m" * 999}, "is not supported; expected one of bert, "),
    ],
)
def test_an_unsupported_model_type_is_reported_with_the_supported_ones(config, expected):
    with pytest.raises(InputError, match=re.escape(expected)) as caught:
        architecture_of(config, "config.json")
    assert str(caught.value).isprintable()
    if "did you mean" not in expected:
        assert "gpt_oss" in str(caught.value)


# names of models, most of them of transformers, that are close to a supported one
@pytest.mark.parametrize(
    "model_type",
    ["mllama", "llama4", "qwen2_moe", "qwen2_vl", "phi3small", "phi3v", "phimoe", "gemma3", "gemma3n", "glm4", "chatglm", "internlm2", "smollm3", "ernie4_5", "nemotron-nas", "falcon", "t5", "clip", "mamba", "deepseek_v32", "kimi_vl", "Yi", "RefinedWeb", "gpt_neo", "bart", "deit", "olmo3", "olmo_hybrid", "minimax", "mistral4", "xllama", "openllama"],
)  # fmt: skip
def test_no_hint_leads_to_another_architecture(model_type: str):
    with pytest.raises(InputError, match="is not supported; expected one of ") as caught:
        architecture_of({"model_type": model_type}, "config.json")
    assert "did you mean" not in str(caught.value)


_WRONG = st.one_of(
    st.sampled_from(
        [_GONE, None, True, "", "x", -1, 0, 1, 3, 2**31 - 1, 2**63, 10**400, 10**5000]
    ),
    st.sampled_from([-0.5, 1e-300, 0.3, 1e300, float("nan"), float("inf")]),
    st.sampled_from([[], {}, [None], ["full_attention"], [[]], {"type": "x"}, "\ud800\n"]),
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["linear", "dynamic", "llama3", "yarn", "longrope"]),
            "factor": st.sampled_from([0, 1, 40, 1e300, "x"]),
            "original_max_position_embeddings": st.sampled_from([0, 1, 4096, None]),
            "mscale_all_dim": st.sampled_from([0, 1, -1, 1e300]),
            "mscale": st.sampled_from([0, 1, 1e300]),
            "low_freq_factor": st.sampled_from([1, "x"]),
            "high_freq_factor": st.just(4),
            "short_factor": st.sampled_from([[], [1.0] * 48, "x"]),
            "long_factor": st.sampled_from([[1.0] * 48, [float("nan")]]),
            "full_attention": st.sampled_from([None, {"rope_type": "yarn"}, 3]),
        },
    ),
)
_ALSO = (
    "rope_scaling rope_parameters layer_types sliding_window clip_qkv mlp_only_layers "
    "partial_rotary_factor dtype sliding_window_pattern use_sliding_window moe_layer_freq "
    "original_max_position_embeddings attn_logit_softcapping q_lora_rank swiglu_limit"
)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_a_changed_config_gives_a_model_or_a_one_line_error(data):
    config = data.draw(st.sampled_from(_BUILT))
    fields = sorted({*config, *_ALSO.split()} - {"model_type"})
    changes = data.draw(st.dictionaries(st.sampled_from(fields), _WRONG, max_size=3))
    changed = {k: v for k, v in (config | changes).items() if v is not _GONE}
    try:
        answer = architecture_of(changed)
    except InputError as error:
        answer = str(error)
    one_line = (
        isinstance(answer, str) and answer.startswith("config: ") and answer.isprintable()
    )
    assert one_line or isinstance(answer, Architecture)
