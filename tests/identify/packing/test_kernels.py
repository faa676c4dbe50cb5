"""Layouts in the order that kernels read: shapes of the writing code, counted by hand."""

import pytest

from tests.identify.packing.layouts import Layout, counted, read

OUT, IN = 256, 512
WEIGHTS = OUT * IN


def test_exl2_takes_its_width_from_the_order_of_its_inputs():
    layer: Layout = {  # 256 rows of 4 bits, 256 of 3: 56 words
        "up.q_weight": ((256 * 4 // 32 + 256 * 3 // 32, OUT), "int32"),
        "up.q_scale": ((IN // 128, OUT // 8), "int32"),
        "up.q_scale_max": ((IN // 128,), "float16"),
        "up.q_groups": ((2 * IN // 128,), "int16"),
        "up.q_invperm": ((IN,), "int16"),
    }
    assert counted(layer) == (WEIGHTS, ())
    packed = read(layer)["up.q_weight"]
    assert (packed.shape, packed.dtype) == ((OUT, IN), "uint4")
    assert packed.rule == "EXL2, 3.5 bits a weight on average"


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize(("words", "scales"), [("B", "s"), ("qweight", "scales")])
def test_marlin_tiles_are_16_rows(bits: int, groups: int, words: str, scales: str):
    layer: Layout = {
        f"up.{words}": ((IN // 16, OUT * 16 * bits // 32), "int32"),
        f"up.{scales}": ((groups, OUT), "float16"),
        "up.workspace": ((OUT // 128 * 16,), "int32"),
    }
    assert counted(layer) == (WEIGHTS, ())
    assert read(layer)[f"up.{words}"].rule.startswith(f"Marlin {bits}-bit")


@pytest.mark.parametrize(
    ("words", "scales", "meta"),
    [("B_24", "s", "B_meta"), ("weight_packed", "scale_packed", "meta")],
)
def test_marlin_24_keeps_half_of_the_rows(words: str, scales: str, meta: str):
    layer: Layout = {
        f"up.{words}": ((IN // 32, OUT * 2), "int32"),
        f"up.{meta}": ((IN // 32, OUT * 2), "int16"),
        f"up.{scales}": ((IN // 128, OUT), "float16"),
    }
    assert counted(layer) == (WEIGHTS, ())


@pytest.mark.parametrize("zeros", ["qzeros", "scaled_zeros"])
def test_awq_gemv_fast_interleaves_four_rows(zeros: str):
    layer: Layout = {  # the scales are padded to 8 groups
        "up.qweight": ((OUT // 4, IN), "int16"),
        "up.scales": ((8, OUT), "float16"),
        f"up.{zeros}": ((8, OUT), "float16"),
    }
    assert counted(layer) == (WEIGHTS, ())


def test_svdquant_counts_the_low_rank_branch_as_a_part_of_the_weight():
    layer: Layout = {
        "up.qweight": ((OUT, IN // 2), "int8"),
        "up.wscales": ((IN // 64, OUT), "bfloat16"),
        "up.smooth_factor": ((IN,), "bfloat16"),
        "up.smooth_factor_orig": ((IN,), "bfloat16"),
        "up.proj_down": ((IN, 32), "bfloat16"),
        "up.proj_up": ((OUT, 32), "bfloat16"),
        "up.bias": ((OUT,), "bfloat16"),
    }
    assert counted(layer) == (WEIGHTS + OUT, ())
    nvfp4 = layer | {
        "up.wscales": ((IN // 16, OUT), "float8_e4m3fn"),
        "up.wcscales": ((OUT,), "bfloat16"),
        "up.wtscale": ((), "float32"),
    }
    assert counted(nvfp4) == (WEIGHTS + OUT, ())
    assert read(nvfp4)["up.qweight"].dtype == "float4_e2m1fn"
    awq: Layout = {
        "norm.qweight": ((OUT // 4, IN // 2), "int32"),
        "norm.wscales": ((IN // 64, OUT), "bfloat16"),
        "norm.wzeros": ((IN // 64, OUT), "bfloat16"),
    }
    assert counted(awq) == (WEIGHTS, ())


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_bitblas_takes_its_bits_from_the_zeros_or_the_config(bits: int):
    layer: Layout = {
        "up.qweight": ((OUT, IN * bits // 8), "int8"),
        "up.scales": ((OUT, IN // 64), "float16"),
        "up.qzeros": ((IN // 64, OUT * bits // 8), "int8"),
    }
    config = {"quant_method": "gptq", "bits": bits, "group_size": 64}
    assert counted(layer, config) == (WEIGHTS, ())
    symmetric = layer | {"up.qzeros": ((0,), "int8")}
    assert counted(symmetric, config) == (WEIGHTS, ())
    assert "assumed" in read(symmetric)["up.qweight"].rule


def test_bitnet_packs_four_rows_into_bytes():
    layer: Layout = {
        "up.weight": ((OUT // 4, IN), "uint8"),
        "up.weight_scale": ((1,), "bfloat16"),
    }
    config = {"quant_method": "bitnet", "quantization_mode": "offline"}
    assert counted(layer, config) == (WEIGHTS, ())
    rule = "BitNet, four ternary weights a byte, bits "
    assert read(layer, config)["up.weight"].rule == f"{rule}from config.json"
    assert read(layer)["up.weight"].rule == f"{rule}assumed"


def test_eetq_keeps_the_inputs_first():
    layer: Layout = {
        "up.weight": ((IN, OUT), "int8"),
        "up.weight_scales": ((OUT,), "float16"),
    }
    assert counted(layer) == (WEIGHTS, ())
    assert read(layer)["up.weight"].shape == (OUT, IN)


@pytest.mark.parametrize("bits", [2, 4])
def test_quanto_packs_groups(bits: int):
    groups = WEIGHTS // 128
    layer: Layout = {
        "up.weight._data._data": ((groups * bits // 8, 128), "uint8"),
        "up.weight._scale": ((groups, 1), "float16"),
        "up.weight._shift": ((groups, 1), "uint8"),
        "up.input_scale": ((), "float16"),
        "up.output_scale": ((), "float16"),
    }
    assert counted(layer)[0] == WEIGHTS + 2  # those two by their names, elsewhere
    assert read(layer)["up.weight._data._data"].path == ("up", "weight")


def test_quanto_packs_rows_where_nothing_is_grouped():
    layer: Layout = {  # printed by optimum-quanto 0.2.7 for Conv2d(16, 32, 3) in 4 bits
        "conv.weight._data._data": ((16, 16, 3, 3), "uint8"),
        "conv.weight._scale": ((32, 1, 1, 1), "float32"),
        "conv.weight._shift": ((32, 1, 1, 1), "float32"),
    }
    assert counted(layer) == (32 * 16 * 9, ())
    assert read(layer)["conv.weight._data._data"].shape == (32, 16, 3, 3)


def test_quanto_keeps_bytes_as_they_are():
    layer: Layout = {
        "conv.weight._data": ((OUT, 3, 3, 3), "int8"),
        "conv.weight._scale": ((OUT, 1, 1, 1), "float16"),
    }
    assert counted(layer) == (OUT * 27, ())
    assert read(layer)["conv.weight._data"].path == ("conv", "weight")


@pytest.mark.parametrize(("group", "name"), [(16, "NVFP4"), (32, "MXFP4")])
def test_fp_quant_keeps_its_rotations_separate(group: int, name: str):
    layer: Layout = {
        "up.qweight": ((OUT, IN // 2), "uint8"),
        "up.scales": ((OUT, IN // group), "uint8"),
        "up.weight_global_scale": ((1,), "bfloat16"),
        "up.act_global_scale": ((1,), "bfloat16"),
        "up.forward_hadamard_matrix": ((128, 128), "bfloat16"),
        "up.backward_hadamard_matrix": ((128, 128), "bfloat16"),
    }
    assert counted(layer) == (WEIGHTS, ())
    assert read(layer)["up.qweight"].rule == name


@pytest.mark.parametrize(("bits", "rows"), [(2, 512), (4, 1024), (8, 2048)])
def test_sinq_has_a_scale_for_each_column_too(bits: int, rows: int):
    layer: Layout = {  # printed by SINQ 0.2 for a layer of 256 x 512 in groups of 64
        "up.W_q": ((rows, 64), "uint8"),
        "up.meta.scale": ((2048, 1), "float32"),
        "up.meta.zero": ((2048, 1), "float32"),
        "up.meta.scale2": ((1, 512), "float32"),
    }
    assert counted(layer) == (WEIGHTS, ())
    assert read(layer)["up.W_q"].shape == (OUT, IN)
    tiles = layer | {
        "up.meta.scale": ((32, 64, 1), "float32"),
        "up.meta.zero": ((32, 64, 1), "float32"),
        "up.meta.scale2": ((32, 1, 64), "float32"),
    }
    assert counted(tiles) == (WEIGHTS, ())


def test_sinq_packs_ten_values_of_three_bits_in_a_word():
    layer: Layout = {
        "up.W_q": ((205, 64), "int32"),
        "up.meta.scale": ((2048, 1), "float32"),
        "up.meta.scale2": ((1, 512), "float32"),
    }
    assert counted(layer) == (WEIGHTS, ())


@pytest.mark.parametrize("bits", [3, 4])
def test_squeezellm_has_a_table_for_each_row(bits: int):
    layer: Layout = {
        "up.qweight": ((IN * bits // 32, OUT), "int32"),
        "up.lookup_table": ((OUT, 2**bits), "float16"),
    }
    assert counted(layer) == (WEIGHTS, ())
