"""Packed checkpoints: logical counts, derived by hand or published, from headers alone."""

from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.dtypes import find
from explorer.identify.packing import suspects, unpack
from explorer.identify.packing.schemes import SCHEMES
from explorer.paths import template_of
from tests.facts import listing
from tests.identify.packing.layouts import (
    Layout,
    elements,
    gptq,
    mlx,
    pack_quantized,
    parameters,
    published,
    read,
)

# --- whole models ------------------------------------------------------------------------


def test_a_gptq_model_counts_its_weights_and_not_its_words():
    model: Layout = {"embed.weight": ((1000, 512), "float16")}
    for i in range(4):
        model |= gptq(512, 512, bits=4, group=128, name=f"layers.{i}.proj")
    # stored: 512,000 + 4 x (64 x 512 words + 4 x 512 scales + 4 x 64 zeros + 512 g_idx)
    assert elements(model) == 512_000 + 4 * (32_768 + 2_048 + 256 + 512) == 654_336
    # logical: 512,000 + 4 x 512 x 512
    assert parameters(model) == 1_560_576


def test_an_nf4_matrix_of_512_by_512_has_262144_parameters():
    layer: Layout = {
        "fc.weight": ((131_072, 1), "uint8"),
        "fc.weight.absmax": ((4_096,), "float32"),  # one for 64
        "fc.weight.quant_map": ((16,), "float32"),
        "fc.weight.quant_state.bitsandbytes__nf4": ((38,), "uint8"),
    }
    assert elements(layer) == 135_222
    assert parameters(layer) == 262_144
    packed = read(layer)["fc.weight"]
    assert (packed.shape, packed.dtype) == ((262_144, 1), "nf4")
    assert packed.rule == "bitsandbytes NF4, of known size and unknown shape"


def test_mxfp4_blocks_hold_two_weights_a_byte_and_leave_the_bias_alone():
    experts: Layout = {
        "mlp.experts.up_proj_blocks": ((2, 512, 8, 16), "uint8"),
        "mlp.experts.up_proj_scales": ((2, 512, 8), "uint8"),
        "mlp.experts.up_proj_bias": ((2, 512), "bfloat16"),
    }
    assert elements(experts) == 131_072 + 8_192 + 1_024 == 140_288
    assert parameters(experts) == 2 * 512 * 256 + 1_024 == 263_168
    found = read(experts)
    assert "mlp.experts.up_proj_bias" not in found
    packed = found["mlp.experts.up_proj_blocks"]
    assert (packed.shape, packed.dtype) == ((2, 512, 256), "float4_e2m1fn")
    assert packed.path == ("mlp", "experts", "up_proj")


def test_gpt_oss_20b_has_its_published_count():
    assert parameters(published("openai/gpt-oss-20b")) == 20_914_757_184


def test_deepseek_v3_keeps_its_scales_separate():
    layout = published("deepseek-ai/DeepSeek-V3")
    found = read(layout)
    state = [p for p in found.values() if p.collection == "quantization"]
    assert sum(prod(packed.shape) for packed in state) == 41_540_496
    # the Hub's total of stored elements, less the scales
    assert parameters(layout) == 684_531_386_000 - 41_540_496
    assert {packed.rule for packed in found.values()} == {
        "FP8 with 128x128 block scales",
        "FP8 block scales",
    }


def test_equal_layers_share_one_verdict():
    layers = gptq(64, 64, 4, 64, "h.0.up") | gptq(64, 64, 4, 64, "h.7.up")
    found = read(layers | gptq(64, 64, 4, 64, "h.0.down") | gptq(32, 64, 4, 64, "h.2.up"))
    for name in ("qweight", "scales", "g_idx"):
        assert found[f"h.7.up.{name}"] is found[f"h.0.up.{name}"]
    assert found["h.0.up.qweight"].path == ("h", "0", "up", "weight")
    assert found["h.0.down.qweight"].path == ("h", "0", "down", "weight")
    assert found["h.2.up.qweight"].shape == (32, 64)


# --- what must be left alone -------------------------------------------------------------


@pytest.mark.parametrize(
    "layout",
    [
        {"scales.weight": ((64, 64), "float32"), "scales.bias": ((64,), "float32")},
        {"net.scales": ((4, 64), "float32"), "net.weight": ((64, 64), "float32")},
        {"ln.scale": ((64,), "float32"), "ln.weight": ((64, 64), "float32")},
        {"logit": ((8,), "float32"), "logit_scale": ((), "float32")},
        {"x_blocks": ((4, 16), "uint8"), "x_scales": ((5,), "uint8")},
        {"table.weight": ((8, 8), "uint32"), "table.scales": ((8, 3), "float32")},
        {"q.weight": ((0, 0), "float8_e4m3fn"), "q.weight_scale": ((0, 4), "float32")},
    ],
)
def test_names_alone_pack_nothing(layout: Layout):
    assert read(layout) == {}


def test_a_large_tensor_with_the_name_of_state_is_not_taken_for_it():
    layer = gptq(64, 64, 4, 64) | {
        "fc.weight": ((64, 64), "float8_e4m3fn"),
        "fc.weight_scale": ((), "float32"),
        "fc.input_scale": ((64, 64), "float32"),
    }
    assert "fc.input_scale" not in read(layer)


@pytest.mark.parametrize(
    "config",
    [
        {"bits": "4"},
        {"bits": True},
        {"bits": 10**30, "group_size": 0},
        {"config_groups": [1]},
        {"config_groups": {"g": 5}},
        {"config_groups": {"g": {"weights": 3}}},
        {"quant_config": {"weight_quant_params": None}},
        {1: {"bits": 4}},
        "gptq",
    ],
)
def test_a_config_that_is_not_a_config_is_passed_over(config: object):
    rule = read(gptq(1024, 512, 4, 128), config)["up.qweight"].rule
    assert rule == "GPTQ 4-bit, bits from g_idx"


def test_keys_that_are_tuples_are_read_like_dotted_names():
    layer = {
        tuple(name.split(".")): column for name, column in gptq(1024, 512, 4, 128).items()
    }
    found = unpack(list(layer), *zip(*layer.values(), strict=True))
    assert found[0].path == ("up", "weight")
    assert found[0].shape == (1024, 512)
    assert len(found) == 4


def test_layers_at_the_root_and_between_slashes_are_read():
    root = {
        name.removeprefix("up."): column for name, column in gptq(64, 64, 4, 64).items()
    }
    assert read(root)["qweight"].path == ("weight",)
    slashed = {name.replace(".", "/"): c for name, c in gptq(64, 64, 4, 64).items()}
    assert read(slashed)["up/qweight"].shape == (64, 64)


# --- suspects ----------------------------------------------------------------------------


def test_every_layout_above_is_suspected():
    for layout in (gptq(64, 64, 4, 64), mlx(64, 8), pack_quantized(64, 4)):
        assert suspects({template_of(name) for name in layout})
        assert suspects({template_of(tuple(name.split("."))) for name in layout})
    assert suspects({b"a.W_q", b"a.scale"})
    assert suspects({b"a.weight", b"a.weight.absmax"})
    assert suspects({b"mlp.up_proj_blocks", b"mlp.up_proj_scales"})


def test_models_that_are_not_packed_are_not_suspected():
    assert not suspects(set())
    assert not suspects({b"params/LayerNorm_0/scale", b"params/LayerNorm_0/bias"})
    assert not suspects({b"up.scales", b"down.weight"})
    for model_id in ("openai-community/gpt2", "google/gemma-2-2b", "google-t5/t5-small"):
        assert not suspects({template_of(name) for name in listing(model_id)["tensors"]})


# --- bad input --------------------------------------------------------------------------

ENDINGS = sorted({e for s in SCHEMES for e in (s.scale, s.weight, *s.state)})
SIZES = st.lists(st.sampled_from([0, 1, 2, 16, 64, 1024, 2**62]), max_size=4).map(tuple)
FORMATS = st.sampled_from(
    ["int32", "uint8", "int8", "uint32", "float8_e4m3fn", "float8_e8m0fnu", "float32", "x"]
)


@given(
    header=st.dictionaries(st.sampled_from(ENDINGS), st.tuples(SIZES, FORMATS)),
    config=st.fixed_dictionaries({"bits": st.integers(), "group_size": st.integers()}),
)
def test_whatever_a_header_says_is_read_or_left_alone(header: Layout, config: dict):
    layout = {f"up{ending}": column for ending, column in header.items()}
    for name, packed in read(layout, config).items():
        assert packed.collection in ("params", "quantization")
        assert find(packed.dtype).kind != "text" or packed.dtype == "x"
        if packed.collection == "quantization":
            assert packed.shape == layout[name][0]
