"""The parts of a GPTQ layer: the loops of AutoGPTQ's `pack`, and what explorer sees in a file."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

import explorer as ex
from explorer.errors import InputError
from explorer.transforms.calibration.gptq import gptq
from explorer.transforms.calibration.packing import gptq_parts, gptq_values
from tests.conformance.calibrated import layer_of


def kernel(bits: int = 4, outputs: int = 32, **settings: Any) -> Any:
    _, hessian = layer_of()
    weight = np.random.default_rng(1).normal(size=(outputs, 256)).astype("float32")
    return gptq(jnp.asarray(weight), jnp.asarray(hessian), bits, 64, **settings)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("act_order", [False, True])
def test_words_by_shifts(bits: int, act_order: bool):
    found = kernel(bits, act_order=act_order)
    parts = gptq_parts(found, bits)
    per_word, mask = 32 // bits, (1 << bits) - 1
    qweight = parts["qweight"].astype(np.int64) & 0xFFFFFFFF
    qzeros = parts["qzeros"].astype(np.int64) & 0xFFFFFFFF
    codes, zeros = np.asarray(found.codes), np.asarray(found.zeros)
    for i in range(0, 256, 7):
        word = qweight[i // per_word]
        assert np.array_equal((word >> (bits * (i % per_word))) & mask, codes[:, i])
    for out in range(32):
        word = qzeros[:, out // per_word]
        assert np.array_equal(((word >> (bits * (out % per_word))) & mask) + 1, zeros[out])
    half = np.asarray(found.scales).astype(np.float16).astype(np.float32)
    groups = np.asarray(found.groups)
    expected = half[:, groups] * (codes - zeros[:, groups])
    np.testing.assert_array_equal(gptq_values(parts, bits), expected.astype(np.float32))


def test_explorer_counts_the_weights_behind_the_words(tmp_path: Path):
    parts = gptq_parts(kernel())
    names = {f"model.layers.0.mlp.up_proj.{name}": part for name, part in parts.items()}
    save_file(names, tmp_path / "model.safetensors")
    found = ex.explore(tmp_path / "model.safetensors")
    assert found.num_parameters == 32 * 256
    # 4 bits, a scale and a zero for each 64, and an index for each input
    bits = 8 * found.nbytes / found.num_parameters
    assert bits == 4 + (16 + 4) / 64 + 32 / 32


def test_what_the_format_cannot_hold():
    with pytest.raises(InputError, match="20 outputs; expected a multiple of 8"):
        gptq_parts(kernel(outputs=20))
    positive = jnp.abs(kernel().values)
    _, hessian = layer_of()
    with pytest.raises(InputError, match="of a group without negative weights"):
        gptq_parts(gptq(positive, jnp.asarray(hessian), 4, 64))
    with pytest.raises(InputError, match="bits: 3; expected 2, 4 or 8"):
        gptq_parts(kernel(), 3)
