"""bitsandbytes and HQQ: what bytes hold where the header has no shape for it."""

from math import prod

import pytest

from explorer.dtypes import find
from tests.identify.packing.layouts import Layout, counted, find_in, read


@pytest.mark.parametrize("storage", ["uint8", "bfloat16", "float32"])
def test_bitsandbytes_counts_two_weights_a_byte_whatever_it_stores_them_as(storage: str):
    layer: Layout = {
        "fc.weight": ((131_072 // find(storage).block_bytes, 1), storage),
        "fc.weight.absmax": ((4_096,), "uint8"),
        "fc.weight.quant_map": ((16,), "float32"),
        "fc.weight.nested_absmax": ((16,), "float32"),
        "fc.weight.nested_quant_map": ((256,), "float32"),
        "fc.weight.quant_state.bitsandbytes__fp4": ((168,), "uint8"),
    }
    found = read(layer)
    assert (found["fc.weight"].shape, found["fc.weight"].dtype) == ((262_144, 1), "fp4")
    assert len(found) == 6
    assert find("fp4").bits == find("nf4").bits == 4


def test_bitsandbytes_needs_a_scale_for_each_block():
    layer: Layout = {
        "fc.weight": ((131_072, 1), "uint8"),
        "fc.weight.absmax": ((4_000,), "float32"),
        "fc.weight.quant_map": ((16,), "float32"),
        "fc.weight.quant_state.bitsandbytes__nf4": ((79,), "uint8"),
    }
    assert read(layer) == {}


def test_bitsandbytes_int8_keeps_its_shape():
    layer: Layout = {
        "fc.weight": ((256, 512), "int8"),
        "fc.SCB": ((256,), "float32"),
        "fc.weight_format": ((), "uint8"),
    }
    found = read(layer)
    assert (found["fc.weight"].shape, found["fc.weight"].rule) == (
        (256, 512),
        "bitsandbytes INT8",
    )
    assert found["fc.weight_format"].collection == "quantization"


def test_hqq_packs_whole_groups_along_the_first_axis():
    # 1024 x 512 in groups of 64: 8192 groups, two in a byte
    layer: Layout = {
        "fc.W_q": ((4096, 64), "uint8"),
        "fc.scale": ((8192, 1), "float16"),
        "fc.zero": ((8192, 1), "float16"),
        "fc.nbits": ((1,), "int32"),
        "fc.bias": ((1024,), "float16"),
    }
    found = read(layer)
    assert (found["fc.W_q"].shape, found["fc.W_q"].rule) == (
        (524_288, 1),
        "HQQ 4-bit, bits from scales",
    )
    assert found["fc.W_q"].path == ("fc", "weight")
    assert "fc.bias" not in found


OUT, IN = 256, 512


@pytest.mark.parametrize(
    ("words", "dtype"), [((OUT, IN // 2), "uint8"), ((OUT, IN // 8), "int32")]
)
@pytest.mark.parametrize("experts", [(), (8,)])
def test_torchao_keeps_scales_of_groups_first(
    words: tuple[int, int], dtype: str, experts: tuple[int, ...]
):
    layer: Layout = {
        "up._weight_qdata": ((*experts, *words), dtype),
        "up._weight_scale": ((*experts, IN // 128, OUT), "bfloat16"),
        "up._weight_zero_point": ((*experts, IN // 128, OUT), "int8"),
    }
    assert counted(layer) == (prod(experts) * OUT * IN, ())
    assert read(layer)["up._weight_qdata"].path == ("up", "weight")


def test_torchao_writes_other_parameters_than_weights_too():
    layer: Layout = {
        "experts._gate_up_proj_qdata": ((8, 64, 128), "float8_e4m3fn"),
        "experts._gate_up_proj_scale": ((8, 64, 1), "float32"),
    }
    assert counted(layer) == (8 * 64 * 128, ())
    assert read(layer)["experts._gate_up_proj_qdata"].path == ("experts", "gate_up_proj")


@pytest.mark.parametrize(
    ("weight", "scale"),
    [("_weight_qdata", "_weight_scale_and_zero"), ("weight", "scales_and_zeros")],
)
def test_torchao_tiles_are_counted_whole(weight: str, scale: str):
    tiles: Layout = {  # [n/8][k/(8*16)][32][4] words of eight weights
        f"up.{weight}": ((OUT // 8, IN // 128, 32, 4), "int32"),
        f"up.{scale}": ((IN // 128, OUT, 2), "bfloat16"),
    }
    assert counted(tiles) == (OUT * IN, ())


def test_torchao_sparse_weights_are_counted_with_their_zeros():
    sparse: Layout = {
        "up._weight_qdata": ((OUT, IN // 2), "float8_e4m3fn"),
        "up._weight_sparse_metadata": ((OUT, IN // 8), "uint8"),
        "up._weight_scale": ((OUT, 1), "float32"),
    }
    assert counted(sparse) == (OUT * IN, ())


def test_hqq_along_the_other_axis_has_its_groups_last():
    groups = OUT * IN // 64
    layer: Layout = {
        "up.W_q": ((64 * 4 // 8, groups), "uint8"),
        "up.scale": ((1, groups), "float16"),
        "up.zero": ((1, groups), "float16"),
    }
    config = {"quant_config": {"weight_quant_params": {"nbits": 4, "group_size": 64}}}
    assert counted(layer, config) == (OUT * IN, ())
    assert "assumed" in read(layer)["up.W_q"].rule


@pytest.mark.parametrize("bits", [2, 4])
def test_bytes_need_the_bits_of_the_config(bits: int):
    layer: Layout = {
        "up.weight": ((OUT, IN * bits // 8), "uint8"),
        "up.weight_scale": ((OUT, 1), "float32"),
        "embed.embedding_quantized": ((100, 64 * bits // 8), "uint8"),
        "embed.embedding_scale": ((100, 1), "float32"),
    }
    named = {"quant_method": "gemma", "module_quant_configs": {"up": {"num_bits": bits}}}
    assert counted(layer, {"bits": bits}) == (OUT * IN + 6_400, ())
    total, unread = counted(layer, named)
    assert total == OUT * IN
    assert "embed/embedding_quantized is packed in an unknown way" in unread[0]


def test_a_byte_against_the_bits_of_the_config_is_assumed():
    layer: Layout = {  # TensorRT-LLM keeps two weights in an int8 where 4 bits are said
        "qkv.weight": ((256, 128), "int8"),
        "qkv.per_channel_scale": ((256,), "float16"),
    }
    said = "INT8 with one scale per channel"
    config = {"quant_algo": "W4A16"}
    assert find_in(layer).packed[0].rule == said
    assert (
        "assumed against the 4 bits of config.json" in find_in(layer, config).packed[0].rule
    )


def test_signed_bytes_of_two_weights_have_a_scale_for_each():
    layer: Layout = {  # TensorRT-LLM's INT4 AWQ: [in, out/2], scales of groups [in/128, out]
        "qkv.weight": ((IN, OUT // 2), "int8"),
        "qkv.prequant_scaling_factor": ((IN,), "float16"),
        "qkv.weights_scaling_factor": ((IN // 128, OUT), "float16"),
    }
    assert counted(layer, {"quant_algo": "W4A16_AWQ"}) == (IN * OUT, ())
    del layer["qkv.prequant_scaling_factor"]
    total, unread = counted(layer)
    assert total == 0
    assert len(unread) == 1
