"""SparseGPT: the authors' code, the algorithm by plain inverses, and what corrections are for."""

import jax.numpy as jnp
import numpy as np
import pytest

from explorer.errors import InputError
from explorer.transforms.calibration.obs import hessian_error
from explorer.transforms.pruning.selection import lowest, outside_n_of_m
from explorer.transforms.pruning.sparsegpt import sparsegpt
from tests.conformance.calibrated import PATH, layer_of
from tests.transforms.calibration.test_gptq import random_layer


@pytest.mark.parametrize("pattern", ["0.5", "2:4"])
def test_weights_are_those_of_the_reference(pattern: str):
    weight, hessian = map(jnp.asarray, layer_of())
    found = np.asarray(sparsegpt(weight, hessian, pattern))
    with np.load(PATH) as goldens:
        golden = goldens[f"sparsegpt_{pattern}"]
    assert np.array_equal(found == 0, golden == 0)
    np.testing.assert_allclose(found, golden, atol=2e-6)


def by_inverses(weight: np.ndarray, hessian: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Optimal Brain Surgeon, input by input: the inverse of what is left, each time anew."""
    weight = weight.astype(float)
    for i in range(weight.shape[1]):
        inverse = np.linalg.inv(hessian[i:, i:])
        error = np.where(mask[:, i], weight[:, i], 0) / inverse[0, 0]
        weight[:, i:] -= error[:, None] * inverse[0]
        weight[mask[:, i], i] = 0
    return weight


@pytest.mark.parametrize("pattern", ["0.3", "0.5", "2:4", "1:4", "4:8"])
@pytest.mark.parametrize("block", [16, 40, 128])
def test_corrections_are_those_of_plain_inverses(pattern: str, block: int):
    weight, hessian = random_layer(5)
    found = np.asarray(sparsegpt(weight, hessian, pattern, block=block))
    damped = np.asarray(hessian, float)
    damped += 0.01 * damped.diagonal().mean() * np.eye(64)
    expected = by_inverses(np.asarray(weight), damped, found == 0)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("share", ["0.1", "0.37", "0.5", "0.83"])
@pytest.mark.parametrize("block", [10, 64])
def test_exactly_so_many_zeros(share: str, block: int):
    weight, hessian = random_layer(6)
    found = np.asarray(sparsegpt(weight, hessian, share, block=block))
    assert (found == 0).sum() == int(16 * 64 * float(share))


@pytest.mark.parametrize("seed", range(4))
def test_outputs_change_less_than_by_magnitude_or_wanda(seed: int):
    weight, hessian = random_layer(seed)
    norms = np.sqrt(np.asarray(hessian).diagonal())
    magnitudes = np.abs(np.asarray(weight))
    masks = {
        "0.5": [lowest(magnitudes, 512), lowest(magnitudes * norms, 512)],
        "2:4": [outside_n_of_m(magnitudes, 2, 4), outside_n_of_m(magnitudes * norms, 2, 4)],
    }
    for pattern, others in masks.items():
        found = float(hessian_error(weight, sparsegpt(weight, hessian, pattern), hessian))
        for mask in others:
            assert found < float(hessian_error(weight, jnp.where(mask, 0, weight), hessian))


@pytest.mark.parametrize("pattern", ["0.5", "2:4"])
def test_twice_changes_nothing(pattern: str):
    weight, hessian = random_layer(7)
    once = sparsegpt(weight, hessian, pattern)
    assert np.array_equal(sparsegpt(once, hessian, pattern), once)


def test_bad_requests():
    weight, hessian = random_layer(0)
    with pytest.raises(InputError, match=r"rows:0\.5 with sparsegpt; expected a share"):
        sparsegpt(weight, hessian, "rows:0.5")
    with pytest.raises(InputError, match="64 inputs, which groups of 5 do not divide"):
        sparsegpt(weight, hessian, "2:5")
