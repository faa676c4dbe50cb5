"""FP8, INT8 and microscaled floats: one stored number an element, or two in a byte."""

import pytest

from tests.identify.packing.layouts import Layout, parameters, read


@pytest.mark.parametrize(
    ("columns", "rule"),
    [
        # compressed-tensors: nvfp4, mxfp4, mxfp6, mxfp8, int-quantized, float-quantized
        ("weight_packed 256x256 uint8, weight_scale 256x32 float8_e4m3fn, "
         "weight_global_scale 1 float32, input_global_scale 1 float32", "NVFP4"),
        ("weight_packed 256x256 uint8, weight_scale 256x16 uint8", "MXFP4"),
        ("weight_packed 256x384 uint8, weight_scale 256x16 uint8", "MXFP6"),
        ("weight 256x512 float8_e4m3fn, weight_scale 256x16 uint8",
         "MXFP8 with 1x32 block scales"),
        ("weight 256x512 int8, weight_scale 256x1 bfloat16, weight_zero_point 256x1 int8, "
         "input_scale 1 bfloat16", "INT8 with one scale per channel"),
        ("weight 256x512 float8_e4m3fn, weight_scale 1 bfloat16, input_scale 1 bfloat16",
         "FP8 with one scale per tensor"),
        # ModelOpt: a scale for 16 of the input; INT4 packed along the output
        ("weight 256x256 uint8, weight_scale 256x32 float8_e4m3fn, "
         "weight_scale_2 1 float32, input_scale 1 float32", "NVFP4"),
        ("weight 128x512 uint8, weight_scale 256x4 float32, pre_quant_scale 512 bfloat16",
         "ModelOpt INT4 with scales of groups"),
        # DeepSeek-V4: two four-bit weights in an int8
        ("weight 256x256 int8, scale 256x16 float8_e8m0fnu", "MXFP4"),
        # torchao: scales are [groups, out]
        ("_weight_qdata 256x256 uint8, _weight_scale 4x256 bfloat16, "
         "_weight_zero_point 4x256 bfloat16", "torchao INT4 with scales of groups"),
        ("_weight_qdata 256x512 float8_e4m3fn, _weight_scale 256x1 float32",
         "FP8 with one scale per channel"),
    ],
)  # fmt: skip
def test_a_linear_layer_of_512_to_256_is_found_in_every_layout(columns: str, rule: str):
    rows = [column.split() for column in columns.split(", ")]
    layer = {
        f"up.{name}": (tuple(map(int, shape.split("x"))), dtype)
        for name, shape, dtype in rows
    }
    found = read(layer)
    weight, *state = [found[name] for name in layer]
    assert (weight.shape, weight.rule) == ((256, 512), rule)
    assert (weight.collection, weight.path) == ("params", ("up", "weight"))
    assert {packed.collection for packed in state} == {"quantization"}


@pytest.mark.parametrize(
    ("weight", "scale", "rule"),
    [
        ((576, 7168), (5, 56), "FP8 with 128x128 block scales"),
        ((512, 1024), (16, 16), "FP8 with 32x64 block scales"),
        ((300, 100), (3, 2), "FP8 with 128x64 block scales"),
        ((1000, 100), (10, 10), "FP8 with 100x10 block scales"),
        ((512, 1024), (512, 1), "FP8 with one scale per channel"),
        ((512, 1024), (512,), "FP8 with one scale per channel"),
        ((512, 1024), (), "FP8 with one scale per tensor"),
        ((16, 512, 1024), (16, 1, 1), "FP8 with one scale per channel"),
        ((16, 512, 1024), (16, 4, 8), "FP8 with 128x128 block scales"),
    ],
)
def test_fp8_scales_spread_over_the_weight(weight: tuple, scale: tuple, rule: str):
    layer: Layout = {
        "up.weight": (weight, "float8_e4m3fn"),
        "up.weight_scale_inv": (scale, "float32"),
    }
    found = read(layer)
    assert (found["up.weight"].shape, found["up.weight"].rule) == (weight, rule)


@pytest.mark.parametrize(
    "scale", [(7, 8), (513, 1), (511,), (512, 1024), (0, 8), (4, 8, 1)]
)
def test_fp8_scales_that_do_not_spread_evenly_are_not_scales(scale: tuple):
    # no block size cuts 10 into 7; a scale for every weight is not quantization
    weight = (10, 1024) if scale == (7, 8) else (512, 1024)
    layer: Layout = {
        "up.weight": (weight, "float8_e4m3fn"),
        "up.weight_scale_inv": (scale, "float32"),
    }
    assert read(layer) == {}


@pytest.mark.parametrize("ending", ["_scale", "_scale_inv", "_scales_inv"])
def test_fused_experts_keep_their_scales_beside_them(ending: str):
    experts: Layout = {
        "mlp.experts.gate_up_proj": ((16, 5120, 16384), "float8_e4m3fn"),
        f"mlp.experts.gate_up_proj{ending}": ((16, 1, 16384), "float32"),
    }
    found = read(experts)
    assert found["mlp.experts.gate_up_proj"].path == ("mlp", "experts", "gate_up_proj")
    assert found["mlp.experts.gate_up_proj"].rule == "FP8 with one scale per channel"


def test_fused_nvfp4_experts_are_packed_along_their_input():
    experts: Layout = {
        "experts.gate_up_proj": ((16, 2560, 16384), "uint8"),  # 5120 / 2
        "experts.gate_up_proj_weight_scale": (
            (16, 320, 16384),
            "float8_e4m3fn",
        ),  # 5120 / 16
        "experts.gate_up_proj_weight_scale_2": ((), "float32"),
    }
    found = read(experts)
    assert found["experts.gate_up_proj"].shape == (16, 5120, 16384)
    assert len(found) == 3


def test_int8_qweight_with_a_scale_per_output_channel():
    layers: Layout = {
        "conv.weight.qweight": ((64, 1, 3), "int8"),
        "conv.weight.scale": ((64, 1, 1), "float32"),
        "norm.weight.qweight": ((64,), "int8"),
        "norm.weight.scale": ((1,), "float32"),
        "fc.qweight": ((64, 32), "int8"),
        "fc.scales": ((64,), "float16"),
    }
    found = read(layers)
    assert parameters(layers) == 64 * 3 + 64 + 64 * 32
    assert found["conv.weight.qweight"].path == ("conv", "weight")
    assert found["fc.qweight"].path == ("fc", "weight")
    assert found["conv.weight.qweight"].dtype == "int8"


def test_cache_scales_are_state_only_beside_quantized_layers():
    layer: Layout = {
        "attn.q.weight": ((64, 64), "float8_e4m3fn"),
        "attn.q.weight_scale": ((), "float32"),
        "attn.k_scale": ((1,), "float32"),
        "attn.v_scale": ((4096,), "float32"),
    }
    assert read(layer)["attn.k_scale"].rule == "key and value cache scales"
    assert "attn.v_scale" not in read(layer)  # too large to be one
    assert read({"attn.k_scale": ((1,), "float32")}) == {}
