"""Settings that decide a decoder's numerics, as publishers state them."""

from math import log, sqrt

import pytest

from explorer.architectures.architecture import Architecture
from explorer.architectures.families import architecture_of
from tests.facts import models

_CONFIGS = {model["id"]: model["config"] for model in models()}
_YARN = {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096}


def _build(name: str, **changes) -> Architecture:
    return architecture_of(_CONFIGS[name] | changes, name)


def _attention(architecture: Architecture, layer: int = 0):
    return list(architecture.blocks())[layer].attention


def _windows(architecture: Architecture) -> list:
    return [block.attention.window for block in architecture.blocks()]


def test_gemma_scales_embeddings_and_stores_gains_from_one():
    first = _build("google/gemma-2b")
    block = next(first.blocks())
    assert first.embed_scale == sqrt(2048)
    assert first.tied
    assert first.final_norm.centred
    assert block.attention_norm.centred
    # "gelu" there means its approximation
    assert block.mlp.activation == "gelu_tanh"
    unset = _build("google/gemma-2b", hidden_act=None)
    assert next(unset.blocks()).mlp.activation == "gelu_tanh"
    assert block.attention.scale == 1 / 16
    assert block.attention_post_norm is None


def test_gemma2_caps_logits_and_alternates_windows():
    second = _build("google/gemma-2-2b")
    assert _windows(second) == [4096, None] * 13
    assert _attention(second).softcap == 50
    assert second.logit_softcap == 30
    assert _attention(second).scale == 1 / 16
    assert second.embed_scale == 48
    block = next(second.blocks())
    assert block.attention_post_norm == block.mlp_post_norm == block.mlp_norm
    # gemma-2-27b divides by the root of 144, whatever the size of a head
    large = _build("google/gemma-2-2b", query_pre_attn_scalar=144, head_dim=128)
    assert _attention(large).scale == 1 / 12
    none = _build("google/gemma-2-2b", attn_logit_softcapping=None)
    assert _attention(none).softcap is None
    kinds = ["full_attention"] * 25 + ["sliding_attention"]
    assert _windows(_build("google/gemma-2-2b", layer_types=kinds)) == [None] * 25 + [4096]


def test_gemma3_has_two_kinds_of_positions():
    third = _build("google/gemma-3-270m")
    assert [i for i, window in enumerate(_windows(third)) if window is None] == [5, 11, 17]
    assert _attention(third).window == 512
    assert third.logit_softcap is None
    assert _attention(third).rope.theta == 10_000
    assert _attention(third, 5).rope.theta == 1_000_000
    own = _attention(third).query_norm
    assert own.size == 256
    assert own.centred
    # gemma-3-4b scales the positions of layers without a window by 8
    scaled = _build(
        "google/gemma-3-270m", rope_scaling={"rope_type": "linear", "factor": 8.0}
    )
    assert _attention(scaled).rope.scaling is None
    assert _attention(scaled, 5).rope.scaling.factor == 8
    newer = _build(
        "google/gemma-3-270m",
        rope_parameters={
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
        },
    )
    assert newer == scaled
    every_third = _build("google/gemma-3-270m", sliding_window_pattern=3)
    assert _windows(every_third) == [512, 512, None] * 6


@pytest.mark.parametrize(
    ("name", "normalize"),
    [
        ("mistralai/Mixtral-8x7B-v0.1", True),
        ("Qwen/Qwen3-30B-A3B", True),
        ("allenai/OLMoE-1B-7B-0924", False),
        ("openai/gpt-oss-20b", True),
        ("deepseek-ai/DeepSeek-V2-Lite", False),
        ("deepseek-ai/DeepSeek-V3", True),
        ("xai-org/grok-1", False),
    ],
)
def test_weights_of_experts_add_up_to_one_where_published(name, normalize):
    assert _build(name).router.normalize is normalize


def test_qwen3_moe_can_have_dense_layers():
    name = "Qwen/Qwen3-30B-A3B"
    mixed = _build(name, mlp_only_layers=[1], decoder_sparse_step=2)
    sparse = [block.moe is not None for block in mixed.blocks()]
    assert sparse[:6] == [False, False, False, True, False, True]
    dense = next(mixed.blocks()).mlp
    assert dense.up_proj.outputs == 6144


def test_olmo_norms():
    olmoe = _attention(_build("allenai/OLMoE-1B-7B-0924", clip_qkv=8.0))
    assert olmoe.query_norm.size == olmoe.key_norm.size == 2048
    assert olmoe.clip == 8
    first = _build("allenai/OLMo-1B-hf")
    norm = first.final_norm
    assert (norm.kind, norm.gain, norm.bias, norm.eps) == ("layer", False, False, 1e-5)
    second = next(_build("allenai/OLMo-2-1124-7B").blocks())
    assert second.attention_norm is None
    assert second.mlp_norm is None
    assert second.attention_post_norm is not None
    assert second.mlp_post_norm is not None


def test_deepseek_v3_attention_is_sharpened_by_yarn():
    name = "deepseek-ai/DeepSeek-V3"
    plain = _attention(_build(name))
    assert plain.scale == 192**-0.5
    assert plain.rope.interleaved
    yarn = _YARN | {"mscale": 1.0, "mscale_all_dim": 1.0}
    long = _attention(_build(name, rope_scaling=yarn))
    assert long.scale == pytest.approx(192**-0.5 * (0.1 * log(40) + 1) ** 2, rel=1e-12)
    assert long.rope.scaling.magnitude == 1
    assert long.rope.scaling.original == 4096
    # without the second weight the rotated entries alone are stretched
    short = _attention(_build(name, rope_scaling=_YARN))
    assert short.scale == 192**-0.5
    assert short.rope.scaling.magnitude == pytest.approx(0.1 * log(40) + 1)
    # norms inside attention keep their own epsilon
    assert _attention(_build(name, rms_norm_eps=1e-3)).latent_norm.eps == 1e-6


def test_deepseek_routers():
    third = _build("deepseek-ai/DeepSeek-V3").router
    assert (third.score, third.groups, third.top_groups) == ("sigmoid", 8, 4)
    assert third.group_score == "two_best"
    assert third.correction
    assert third.scale == 2.5
    lite = _build("deepseek-ai/DeepSeek-V2-Lite").router
    assert (lite.score, lite.groups, lite.correction) == ("softmax", 1, False)
    changes = {"topk_method": "group_limited_greedy", "n_group": 8, "topk_group": 3}
    second = _build(
        "deepseek-ai/DeepSeek-V2-Lite", routed_scaling_factor=16.0, **changes
    ).router
    assert (second.groups, second.top_groups, second.scale) == (8, 3, 16)
    assert second.group_score == "best"
    # its publisher scales weights, or normalises them
    normal = _build(
        "deepseek-ai/DeepSeek-V2-Lite", routed_scaling_factor=16.0, norm_topk_prob=True
    ).router
    assert normal.normalize
    assert normal.scale == 1


def test_deepseek_layers():
    third = list(_build("deepseek-ai/DeepSeek-V3").blocks())
    assert [block.moe is None for block in third] == [True] * 3 + [False] * 58
    lite = list(_build("deepseek-ai/DeepSeek-V2-Lite").blocks())[1]
    assert lite.moe.shared_experts.up_proj.outputs == 2 * 1408
    assert lite.attention.query is not None
    assert lite.attention.query_down is None
    alone = _build("deepseek-ai/DeepSeek-V3", n_shared_experts=None)
    assert list(alone.blocks())[3].moe.shared_experts is None


def test_gpt_oss_settings():
    oss = _build("openai/gpt-oss-20b")
    block = next(oss.blocks())
    assert _windows(oss) == [128, None] * 12
    scaling = block.attention.rope.scaling
    assert (scaling.factor, scaling.original, scaling.truncate) == (32, 4096, False)
    assert scaling.magnitude == pytest.approx(1.3465735902799727)
    experts = block.moe.experts
    assert (experts.limit, experts.up_offset) == (7, 1)
    assert experts.activation == "quick_gelu"
    assert block.attention.sinks.heads == 64


def test_phi3_stretches_positions_by_factors():
    scaling = {"type": "su", "short_factor": [1.0] * 48, "long_factor": [2.0] * 48}
    long = _build(
        "microsoft/Phi-3-mini-4k-instruct",
        rope_scaling=scaling,
        max_position_embeddings=131072,
        original_max_position_embeddings=4096,
        sliding_window=262144,
    )
    rope = _attention(long).rope
    assert rope.scaling.kind == "longrope"
    assert rope.scaling.original == 4096
    assert rope.scaling.magnitude == pytest.approx(1.190238, rel=1e-6)
    assert _attention(long).window == 262144
    part = _build("microsoft/Phi-3-mini-4k-instruct", partial_rotary_factor=0.75)
    assert _attention(part).rope.size == 72


def test_grok_settings():
    grok = _build("xai-org/grok-1")
    block = next(grok.blocks())
    assert grok.embed_scale == 78.38367176906169
    assert grok.logit_scale == pytest.approx(3**-0.5, rel=1e-12)
    assert block.attention.scale == pytest.approx(128**-0.5, rel=1e-12)
    assert block.attention.softcap == 30
    assert block.attention.rope.theta == 10_000
    assert block.moe.experts.activation == "gelu_tanh"
    assert len({id(x) for x in (block.attention_post_norm, block.mlp_post_norm)}) == 1
    widened = _build("xai-org/grok-1", intermediate_size=None)
    assert widened == grok
