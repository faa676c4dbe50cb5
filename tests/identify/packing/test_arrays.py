"""Quantized arrays that keep their shape: qwix, AQT, GGUF's NVFP4, PyTorch's, ComfyUI's."""

import jax
import jax.numpy as jnp
import pytest
from flax import struct

import explorer as ex
from tests.identify.packing.layouts import Layout, counted, find_in, read


@struct.dataclass
class QArray:
    """As qwix 0.1.8 prints it: a value, a scale for each channel or tile, a zero point."""

    qvalue: jax.Array
    scale: jax.Array
    zero_point: jax.Array | None = None


@struct.dataclass
class WithAux:
    array: QArray


def tree(dtype: str, tiles: int, zero: bool = False) -> dict:
    scale = jnp.ones((tiles, 32))
    array = QArray(jnp.zeros((64, 32), dtype), scale, scale.astype(dtype) if zero else None)
    return {"Dense_0": {"kernel": WithAux(array), "bias": jnp.zeros(32)}}


@pytest.mark.parametrize(
    ("dtype", "tiles"),
    [("int8", 1), ("int4", 2), ("uint4", 2), ("float8_e4m3fn", 1)],  # uint4: nf4
)
@pytest.mark.parametrize("outer", [True, False])
def test_a_tree_of_qwix_counts_its_kernels(dtype: str, tiles: int, outer: bool):
    params = tree(dtype, tiles)
    inventory = ex.explore({"params": params} if outer else params)
    assert inventory.num_parameters == 64 * 32 + 32 == 2_080
    assert inventory.num_biases == 32
    assert dict(ex.ledger(inventory).collections)["quantization"] == tiles * 32
    assert not ex.ledger(inventory).provenance["parameters"].startswith("exact")


def test_zero_points_of_qwix_are_state():
    assert ex.explore(tree("int8", 2, zero=True)).num_parameters == 2_080


@pytest.mark.parametrize("end", ["", "/value"])
def test_a_file_of_qwix_counts_its_kernels(end: str):
    layer: Layout = {
        f"d/kernel/array/qvalue{end}": ((64, 32), "int8"),
        f"d/kernel/array/scale{end}": ((1, 32), "float32"),
        f"d/bias{end}": ((32,), "float32"),
    }
    assert counted(layer) == (2_080, ())
    assert read(layer)[f"d/kernel/array/qvalue{end}"].path == ("d", "kernel")


def frozen(copied: bool) -> Layout:
    # printed by AQT 0.9 for a Dense and an einsum, converted
    module = "aqt/{}/AqtDotGeneral_0/qrhs/{}"
    kernels: Layout = {
        "params/Dense_0/kernel": ((64, 32), "float32"),
        "params/w": ((32, 2, 8), "float32"),
    }
    return {
        module.format("AqtEinsum_0", "scale"): ((1, 2, 8), "float32"),
        module.format("AqtEinsum_0", "value"): ((32, 2, 8), "int8"),
        module.format("Dense_0", "scale"): ((1, 32), "float32"),
        module.format("Dense_0", "value"): ((64, 32), "int8"),
        "params/Dense_0/bias": ((32,), "float32"),
    } | (kernels if copied else {})


@pytest.mark.parametrize("copied", [True, False])
def test_frozen_arrays_of_aqt_count_once(copied: bool):
    assert counted(frozen(copied)) == (64 * 32 + 32 * 2 * 8 + 32, ())


@pytest.mark.parametrize("shape", [(), (1,), (8,)])
def test_a_scale_of_a_whole_tensor_of_nvfp4_is_state(shape: tuple[int, ...]):
    layer: Layout = {
        "blk.0.ffn_up_exps.weight": ((8, 64, 256), "nvfp4"),
        "blk.0.ffn_up_exps.scale": (shape, "float32"),
        "blk.0.attn_norm.weight": ((256,), "float32"),
    }
    assert counted(layer) == (8 * 64 * 256 + 256, ())
    other = layer | {"blk.0.ffn_up_exps.weight": ((8, 64, 256), "float16")}
    assert read(other) == {}


@pytest.mark.parametrize("names", [("0", "1"), ("weight", "bias")])
def test_quantized_layers_of_pytorch_hold_their_weights_and_biases(names: tuple[str, str]):
    # what quantize_dynamic makes of Linear(4, 3), as the reader of pickles lists it
    layer: Layout = {
        "0.scale": ((), "float32"),
        "0.zero_point": ((), "int64"),
        f"0._packed_params._packed_params.{names[0]}": ((3, 4), "qint8"),
        f"0._packed_params._packed_params.{names[1]}": ((3,), "float32"),
    }
    assert counted(layer) == (15, ())
    packed = find_in(layer).packed
    assert [packed[i].path for i in (2, 3)] == [("0", "weight"), ("0", "bias")]
    assert [packed[i].collection for i in range(4)] == 2 * ["quantization"] + 2 * ["params"]


@pytest.mark.parametrize(
    ("weight", "scale"),
    [
        ("weight", "scale_weight"),
        ("weight", "weight_scale"),
        ("weight", "weightScale"),
        ("kernel", "kernel_scale"),
        ("kernel", "scale"),
        ("weight", "Wscale"),
        ("weight", "weight_sf"),
        ("weight", "dequant_scale"),
    ],
)
@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "int8"])
def test_a_scale_is_a_scale_however_it_is_called(weight: str, scale: str, dtype: str):
    model: Layout = {"model.scaled_fp8": ((2,), "float8_e4m3fn")}
    for i in range(2):
        model |= {
            f"blocks.{i}.q.{weight}": ((64, 64), dtype),
            f"blocks.{i}.q.bias": ((64,), "float32"),
            f"blocks.{i}.q.{scale}": ((), "float32"),
            f"blocks.{i}.q.scale_input": ((), "float32"),
        }
    assert counted(model) == (2 * (64 * 64 + 64), ()) == (8_320, ())


def test_a_table_that_shifts_and_scales_is_a_parameter():
    block: Layout = {
        "block.scale_shift_table": ((6, 64), "bfloat16"),
        "block.weight": ((64, 64), "float8_e4m3fn"),
        "block.scale_weight": ((), "float32"),
    }
    assert counted(block) == (6 * 64 + 64 * 64, ())


def test_scales_in_another_order_are_not_parameters():
    layer: Layout = {  # swizzled: [128, 4] tiles, flattened
        "up.weight": ((256, 512), "float8_e4m3fn"),
        "up.weight_scale": ((4_096,), "float32"),
        "up.input_scale": ((7,), "float32"),
        "up.bias": ((256,), "bfloat16"),
    }
    assert counted(layer) == (256 * 512 + 256, ())
