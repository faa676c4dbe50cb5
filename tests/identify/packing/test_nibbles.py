"""bitsandbytes and HQQ: what bytes hold where the header has no shape for it."""

import pytest

from explorer.dtypes import find
from tests.identify.packing.layouts import Layout, read


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
