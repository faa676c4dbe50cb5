"""GPTQ, AWQ, compressed-tensors and MLX: what 32-bit words hold."""

import pytest

from tests.identify.packing.layouts import Layout, counted, gptq, mlx, pack_quantized, read


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("missing", [(), ("g_idx",), ("qzeros",)])
def test_gptq_bits_are_read_off_the_shapes(bits: int, missing: tuple[str, ...]):
    layer = gptq(1024, 512, bits, group=128)
    for name in missing:
        del layer[f"up.{name}"]
    packed = read(layer)["up.qweight"]
    assert (packed.shape, packed.dtype) == ((1024, 512), f"uint{bits}")
    source = "qzeros" if "g_idx" in missing else "g_idx"
    assert packed.rule == f"GPTQ {bits}-bit, bits from {source}"
    assert packed.path == ("up", "weight")


def test_gptq_state_is_quantization_as_stored():
    found = read(gptq(1024, 512, 4, 128))
    for name in ("up.qzeros", "up.scales", "up.g_idx"):
        assert found[name].collection == "quantization"
        assert found[name].rule == "GPTQ scales, zero points and group indices"
        assert found[name].path == tuple(name.split("."))
    assert found["up.scales"].shape == (4, 1024)


def test_config_names_the_bits_when_the_shapes_agree():
    config = {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False}
    rule = read(gptq(1024, 512, 4, 128), config)["up.qweight"].rule
    assert rule == "GPTQ 4-bit, bits from config.json"


def test_shapes_win_over_a_false_config_and_the_rule_says_so():
    packed = read(gptq(1024, 512, 4, 128), {"bits": 8, "group_size": 128})["up.qweight"]
    assert packed.shape == (1024, 512)
    assert packed.rule == "GPTQ 4-bit, bits from g_idx, not the 8 of config.json"


def test_gptq_with_scales_alone_believes_config_or_says_it_assumed():
    layer = gptq(1024, 512, 3, 128)
    del layer["up.qzeros"], layer["up.g_idx"]
    # 48 rows of 32 bits are 512 of 3 bits, or 384 of 4
    assert read(layer, {"bits": 3, "group_size": 128})["up.qweight"].shape == (1024, 512)
    assumed = read(layer)["up.qweight"]
    assert (assumed.shape, assumed.rule) == ((1024, 384), "GPTQ 4-bit, bits assumed")


@pytest.mark.parametrize(
    "spoilt",
    [
        {"up.qzeros": ((4, 100), "int32")},
        {"up.g_idx": ((500,), "int32")},
        {"up.scales": ((4, 1000), "float16")},
        {"up.scales": ((100, 1024), "float16")},  # 512 do not part into 100 groups
        {"up.qweight": ((64, 1024), "float32")},
    ],
)
def test_a_layer_whose_shapes_disagree_is_left_alone(spoilt: Layout):
    assert read(gptq(1024, 512, 4, 128) | spoilt) == {}


def test_a_qweight_without_scales_is_left_alone():
    assert read({"up.qweight": ((64, 1024), "int32")}) == {}
    assert read({"up.scales": ((4, 1024), "float16")}) == {}


def test_awq_packs_along_the_output():
    layer: Layout = {
        "up.qweight": ((4096, 1376), "int32"),  # 11008 x 4 / 32
        "up.qzeros": ((32, 1376), "int32"),
        "up.scales": ((32, 11008), "float16"),
    }
    packed = read(layer, {"quant_method": "awq", "bits": 4, "group_size": 128})[
        "up.qweight"
    ]
    assert (packed.shape, packed.dtype) == ((11008, 4096), "uint4")
    assert packed.rule == "AWQ 4-bit, bits from config.json"
    assert read(layer)["up.qweight"].rule == "AWQ 4-bit, bits from scales"
    assert read(layer)["up.qzeros"].rule == "AWQ scales and zero points"


def test_awq_for_gemv_pads_its_groups():
    layer: Layout = {
        "up.qweight": ((11008, 512), "int32"),  # 4096 / 8
        "up.qzeros": ((11008, 4), "int32"),  # 32 groups, eight in a word
        "up.scales": ((11008, 32), "float16"),
    }
    assert read(layer)["up.qweight"].shape == (11008, 4096)


def schemes(*weights: tuple[int, int | None]) -> dict:
    return {
        "quant_method": "compressed-tensors",
        "config_groups": {
            f"group_{i}": {"weights": {"num_bits": bits, "group_size": group}}
            for i, (bits, group) in enumerate(weights)
        },
    }


@pytest.mark.parametrize(
    ("words", "groups", "config", "width", "rule"),
    [
        (64, 4, schemes((4, 128)), 512, "4-bit, bits from config.json"),
        (64, 4, schemes((8, 64)), 256, "8-bit, bits from config.json"),
        (128, 1, schemes((8, None)), 512, "8-bit, bits from config.json"),
        (48, 4, schemes((3, 128)), 512, "3-bit, bits from config.json"),
        # 500 x 4 / 32 words; the last group is not full
        (63, 4, schemes((4, 128)), 504, "4-bit, bits from config.json"),
        (64, 4, schemes((4, 128), (8, 64)), 512, "4-bit, bits assumed"),
        (64, 4, schemes((5, 128)), 512, "4-bit, bits from group size, not the 5 of"),
        (64, 4, None, 512, "4-bit, bits assumed"),
        (256, 2, None, 1024, "8-bit, bits from scale groups"),  # groups of 512
    ],
)
def test_compressed_tensors_bits(
    words: int, groups: int, config: dict | None, width: int, rule: str
):
    packed = read(pack_quantized(words, groups), config)["up.weight_packed"]
    assert packed.shape == (256, width)
    assert packed.rule.startswith(f"compressed-tensors {rule}")
    assert packed.path == ("up", "weight")


def test_compressed_tensors_zero_points_and_g_idx_settle_the_bits():
    # 256 zero points of 8 bits are 64 words
    layer = pack_quantized(128, 4) | {"up.weight_zero_point": ((64, 4), "int32")}
    assert read(layer)["up.weight_packed"].rule.endswith("8-bit, bits from zero points")
    layer = pack_quantized(128, 4) | {"up.weight_g_idx": ((512,), "int32")}
    found = read(layer)
    assert found["up.weight_packed"].rule.endswith("8-bit, bits from g_idx")
    assert {found[name].collection for name in layer if name != "up.weight_packed"} == {
        "quantization"
    }


@pytest.mark.parametrize(
    ("words", "groups", "config", "width", "rule"),
    [
        (64, 8, (4, 64), 512, "4-bit in groups of 64, bits from config.json"),
        (64, 16, (4, 32), 512, "4-bit in groups of 32, bits from config.json"),
        (32, 8, (2, 64), 512, "2-bit in groups of 64, bits from config.json"),
        # a head kept at 8 bits in a 4-bit model
        (128, 8, (4, 64), 512, "8-bit in groups of 64, bits from group size, not the 4 of"),
        (48, 4, None, 512, "3-bit in groups of 128, bits assumed"),  # or 6 in 64s
        (64, 8, None, 512, "4-bit in groups of 64, bits assumed"),  # or 8 in 32s
        (128, 4, None, 512, "8-bit in groups of 128, bits from scale groups"),
        (128, 4, (4, 64), 512, "8-bit in groups of 128, bits from scale groups, not the 4"),
    ],
)
def test_mlx_bits(
    words: int, groups: int, config: tuple[int, int] | None, width: int, rule: str
):
    claim = config and {"bits": config[0], "group_size": config[1]}
    packed = read(mlx(words, groups), claim)["model.up.weight"]
    assert packed.shape == (256, width)
    assert packed.rule.startswith(f"MLX {rule}")


def test_mlx_config_may_name_a_layer():
    config = {"group_size": 64, "bits": 4, "model.up": {"group_size": 64, "bits": 8}}
    packed = read(mlx(128, 8), config)["model.up.weight"]
    assert packed.shape == (256, 512)
    assert packed.rule == "MLX 8-bit in groups of 64, bits from config.json"


def test_mlx_biases_are_quantization_state():
    found = read(mlx(64, 8))
    assert found["model.up.biases"].rule == "MLX scales and biases of groups"
    assert found["model.up.biases"].collection == "quantization"


@pytest.mark.parametrize(
    ("words", "groups", "rule"), [(64, 16, "MXFP4"), (64, 32, "NVFP4"), (128, 16, "MXFP8")]
)
def test_mlx_floats_have_no_biases(words: int, groups: int, rule: str):
    layer: Layout = {
        "up.weight": ((256, words), "uint32"),
        "up.scales": ((256, groups), "uint8"),
    }
    packed = read(layer)["up.weight"]
    assert (packed.shape, packed.rule) == ((256, 512), rule)


@pytest.mark.parametrize("word", [8, 16, 32, 64])
def test_gptq_words_are_as_wide_as_their_dtype(word: int):
    layer: Layout = {
        "up.qweight": ((512 * 4 // word, 256), f"int{word}"),
        "up.qzeros": ((4, 256 * 4 // word), f"int{word}"),
        "up.scales": ((4, 256), "float16"),
        "up.g_idx": ((512,), "int32"),
    }
    assert counted(layer) == (256 * 512, ())


def test_bytes_with_one_scale_a_column_are_not_words():
    layer: Layout = {
        "up.qweight": ((512, 256), "int8"),
        "up.scales": ((1, 256), "float16"),
    }
    assert counted(layer) == (256 * 512, ())
    assert read(layer)["up.qweight"].rule.startswith("INT8 with")


def test_gemlite_names_its_words_like_hqq():
    layer: Layout = {
        "up.W_q": ((512 // 8, 256), "int32"),
        "up.scales": ((8, 256), "float16"),
        "up.zeros": ((8, 256), "float16"),
        "up.metadata": ((20,), "int32"),
        "up.orig_shape": ((2,), "int32"),
    }
    assert counted(layer, {"bits": 4, "group_size": 64}) == (256 * 512, ())
