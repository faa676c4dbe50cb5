"""Parts as files have them: what explorer's own reader makes of them, and each layout undone."""

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

import explorer as ex
from explorer.errors import InputError
from explorer.transforms.quantisation.file_parts import file_parts, quantization_config
from explorer.transforms.quantisation.quantized import Quantized

NAME = "model.layers.0.mlp.up_proj.weight"
SCHEMES = (
    "nf4", "nf4:double", "fp4", "fp4:double", "int8", "int8:tensor", "int8:channel", "int8:g64",
    "int8:g64:asym", "int4", "int4:g64", "int4:g64:asym", "int4:channel", "fp8", "fp8:channel",
    "fp8:block", "mxfp4", "nvfp4",
)  # fmt: skip
ROWS = np.random.default_rng(0).normal(0, 0.02, (192, 256)).astype(np.float32)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_explorer_reads_the_same_counts(tmp_path: Path, scheme: str):
    parts = file_parts(scheme, NAME, ROWS)
    norm = {"model.norm.weight": np.ones(256, np.float32)}
    save_file({**parts, **norm}, tmp_path / "model.safetensors")
    config = {"model_type": "llama", "quantization_config": quantization_config(scheme)}
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = ex.explore(tmp_path / "model.safetensors")
    assert found.num_parameters == ROWS.size + 256
    assert found.num_biases == 0
    stored = Quantized.of(ROWS, scheme)
    (weight,) = [t for t in found if t.collection == "params" and "up_proj" in t.name]
    assert weight.size == stored.size
    if not scheme.startswith(("nf4", "fp4")):  # whose shape is a value in the file
        assert weight.shape == ROWS.shape
    # fp8 is fp8; ints and 4-bit codes keep the names that readers give them
    assert weight.dtype == stored.codec.dtype


@pytest.mark.parametrize(
    "scheme", ["int4:g64", "int4:g64:asym", "int8:g64", "int8:channel"]
)
def test_words_of_compressed_tensors(scheme: str):
    """Eight, or four, in a word of 32 bits, the first lowest, larger by half their range."""
    parts = file_parts(scheme, "w.weight", ROWS)
    bits = 4 if "int4" in scheme else 8
    shifts = np.arange(0, 32, bits, dtype=np.uint32)
    words = parts["w.weight_packed"].view(np.uint32)[:, :, None]
    numbers = (
        ((words >> shifts) & ((1 << bits) - 1)).astype(np.int64).reshape(len(ROWS), -1)
    )
    scales = parts["w.weight_scale"].astype(np.float32)
    zeros = np.full(scales.shape, 1 << bits - 1)
    if "w.weight_zero_point" in parts:
        packed = parts["w.weight_zero_point"].view(np.uint32)[:, None, :]
        zeros = (packed >> shifts[:, None]) & ((1 << bits) - 1)
        zeros = zeros.reshape(-1, scales.shape[1])[: len(ROWS)].astype(np.int64)
    group = ROWS.shape[1] // scales.shape[1]
    weights = (numbers - zeros.repeat(group, 1)) * scales.repeat(group, 1)
    np.testing.assert_array_equal(
        weights.astype(np.float32), Quantized.of(ROWS, scheme).dequantize()
    )
    assert parts["w.weight_shape"].tolist() == list(ROWS.shape)


def test_state_of_bitsandbytes():
    parts = file_parts("nf4:double", "up.weight", ROWS.astype(ml_dtypes.bfloat16))
    assert parts["up.weight"].shape == (ROWS.size // 2, 1)
    state = json.loads(parts["up.weight.quant_state.bitsandbytes__nf4"].tobytes())
    assert state.pop("nested_offset") == pytest.approx(0.05, abs=0.01)
    assert state == {
        "quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [192, 256],
        "nested_blocksize": 256, "nested_dtype": "float32",
    }  # fmt: skip
    assert {n.removeprefix("up.weight") for n in parts} == {
        "", ".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map",
        ".quant_state.bitsandbytes__nf4",
    }  # fmt: skip


def test_experts_of_gpt_oss():
    """Blocks of 16 bytes, the first code of a byte in its lower half (its README, 2025)."""
    experts = np.random.default_rng(0).normal(0, 0.02, (2, 64, 96)).astype(np.float32)
    parts = file_parts("mxfp4", "mlp.experts.gate_up_proj", experts)
    blocks, scales = (
        parts["mlp.experts.gate_up_proj_blocks"],
        parts["mlp.experts.gate_up_proj_scales"],
    )
    assert (blocks.shape, scales.shape) == ((2, 64, 3, 16), (2, 64, 3))
    table = np.arange(16, dtype=np.uint8).view(ml_dtypes.float4_e2m1fn).astype(np.float32)
    codes = np.stack([blocks & 15, blocks >> 4], -1).reshape(2, 64, 3, 32)
    weights = table[codes] * np.exp2(scales.astype(np.float32) - 127)[..., None]
    expected = Quantized.of(experts, "mxfp4").dequantize()
    np.testing.assert_array_equal(weights.reshape(experts.shape), expected)


@pytest.mark.parametrize(
    ("scheme", "message"),
    [
        ("int8wo", "int8wo has no layout in a safetensors file"),
        ("q8_0:pure", "GGUF holds llama.cpp's types"),
        ("int4:g100", "compressed-tensors has no groups of 100 in 256 inputs"),
    ],
)
def test_what_no_library_reads(scheme: str, message: str):
    with pytest.raises(InputError, match=message):
        file_parts(scheme, NAME, ROWS)
