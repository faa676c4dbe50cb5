"""nf4, fp4 and int8, byte for byte what bitsandbytes stores: goldens of tests/conformance/quantised.py."""

from pathlib import Path

import numpy as np
import pytest

from explorer.transforms.quantisation.four_bit import CODES, dynamic_map
from explorer.transforms.quantisation.quantized import Quantized

GOLDENS = np.load(Path(__file__).parents[2] / "data/quantisation/bitsandbytes.npz")
MATRICES = ("usual", "odd", "rest", "heavy", "hostile")
FOUR_BIT = ("nf4", "fp4", "nf4:double", "fp4:double", "nf4:g128")


def quantised(matrix: str, scheme: str) -> Quantized:
    return Quantized.of(GOLDENS[matrix], scheme)


def test_the_codes_of_nf4():
    """Row 67 of the facts: the values that the library's get_4bit_type prints."""
    assert CODES["nf4"][1] == pytest.approx(-0.696192801, abs=1e-9)
    assert CODES["nf4"][14] == pytest.approx(0.7229568362, abs=1e-9)
    assert len(CODES["nf4"]) == len(CODES["fp4"]) == 16


def test_the_table_of_nested_scales():
    np.testing.assert_array_equal(dynamic_map(), GOLDENS["table"])


@pytest.mark.parametrize("scheme", FOUR_BIT)
@pytest.mark.parametrize("matrix", MATRICES)
def test_bytes(matrix: str, scheme: str):
    found, key = quantised(matrix, scheme), f"{matrix} {scheme}"
    np.testing.assert_array_equal(found.values, GOLDENS[f"{key} values"])
    np.testing.assert_array_equal(found.scales, GOLDENS[f"{key} scales"])
    if "double" in scheme:
        # a sum of float32 in another order may differ in its last digit
        for name in ("offset", "nested_scales"):
            np.testing.assert_array_max_ulp(found.parts[name], GOLDENS[f"{key} {name}"], 1)
    else:
        np.testing.assert_array_equal(found.dequantize(), GOLDENS[f"{key} weights"])


@pytest.mark.parametrize("matrix", MATRICES)
def test_int8(matrix: str):
    found = quantised(matrix, "int8")
    np.testing.assert_array_equal(found.values, GOLDENS[f"{matrix} int8 values"])
    assert found.scales is not None
    np.testing.assert_array_equal(
        found.scales.reshape(-1), GOLDENS[f"{matrix} int8 scales"]
    )


def test_double_quantisation_is_of_the_published_size():
    """QLoRA, section 3: 8 / 64 + 32 / (64 x 256) bits a weight instead of 32 / 64."""
    weights = np.random.default_rng(0).normal(0, 0.02, (1024, 4096)).astype(np.float32)
    bits = [
        8 * Quantized.of(weights, s).nbytes / weights.size for s in ("nf4", "nf4:double")
    ]
    table = 8 * (1024 + 4) / weights.size
    assert bits[0] == 4.5
    assert bits[1] - table == pytest.approx(4 + 8 / 64 + 32 / (64 * 256), abs=1e-12)
    assert f"{bits[1]:.3f}" == "4.129"


def test_inside_jit_the_outer_scales_alone_may_differ_in_their_last_bit():
    import jax

    from explorer.transforms.quantisation.quantized import Quantized

    weights = np.random.default_rng(1).normal(size=(512, 577)).astype("float32")
    plain = Quantized.of(weights, "nf4:double")
    compiled = jax.jit(lambda rows: Quantized.of(rows, "nf4:double"))(weights)
    for name in plain.parts.keys() - {"nested_scales"}:
        np.testing.assert_array_equal(plain.parts[name], compiled.parts[name])
    np.testing.assert_array_max_ulp(
        plain.parts["nested_scales"], np.asarray(compiled.parts["nested_scales"]), 1
    )
