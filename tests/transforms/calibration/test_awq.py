"""AWQ's scales: the loop of the paper's code in NumPy, and what scales are for."""

import jax.numpy as jnp
import numpy as np
import pytest

from explorer.errors import InputError
from explorer.transforms.calibration.awq import awq_scales


def layer(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A kernel, and inputs of which a few are large."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(128, 64)) * np.exp(rng.normal(size=64, scale=1.5))
    return rng.normal(size=(16, 64)).astype("float32"), x.astype("float32")


def rounded(weight: np.ndarray, bits: int, group: int) -> np.ndarray:
    """Asymmetric groups, as `pseudo_quantize_tensor` of the paper's code rounds them."""
    grouped = weight.reshape(-1, group)
    high, low = grouped.max(1, keepdims=True), grouped.min(1, keepdims=True)
    scale = (high - low) / (2**bits - 1)
    zero = np.clip(-np.round(low / scale), 0, 2**bits - 1)
    codes = np.clip(np.round(grouped / scale) + zero, 0, 2**bits - 1)
    return ((codes - zero) * scale).reshape(weight.shape)


@pytest.mark.parametrize("seed", range(3))
def test_scales_by_the_loop_over_outputs(seed: int):
    weight, x = layer(seed)
    magnitudes = np.abs(x).mean(0)
    best, expected = np.inf, None
    for step in range(20):
        scales = np.maximum(magnitudes ** (step / 20), 1e-4)
        scales = scales / np.sqrt(scales.max() * scales.min())
        after = rounded(weight * scales, 3, 32) / scales
        error = np.square(x @ (after - weight).T).sum()
        if error < best:
            best, expected = error, scales
    found = awq_scales([jnp.asarray(weight)], jnp.asarray(x.T @ x), magnitudes, 3, 32)
    np.testing.assert_allclose(found.scales, expected, rtol=1e-4)
    assert found.error == pytest.approx(best, rel=0.02)
    assert found.error < 0.8 * found.plain


def test_layers_that_share_inputs_share_scales():
    weight, x = layer(5)
    halves = [jnp.asarray(weight[:8]), jnp.asarray(weight[8:])]
    hessian, magnitudes = jnp.asarray(x.T @ x), np.abs(x).mean(0)
    together = awq_scales([jnp.asarray(weight)], hessian, magnitudes, 4, 32)
    split = awq_scales(halves, hessian, magnitudes, 4, 32)
    np.testing.assert_array_equal(together.scales, split.scales)
    assert split.error == pytest.approx(together.error, rel=1e-4)


def test_equal_inputs_need_no_scales():
    weight, _ = layer(6)
    found = awq_scales([jnp.asarray(weight)], jnp.eye(64), jnp.ones(64), 4, 32)
    np.testing.assert_allclose(found.scales, np.ones(64), rtol=1e-6)


def test_bad_requests():
    weight, x = layer(0)
    hessian, magnitudes = jnp.asarray(x.T @ x), np.abs(x).mean(0)
    with pytest.raises(InputError, match="group: 48 for 64 inputs; expected a divisor"):
        awq_scales([jnp.asarray(weight)], hessian, magnitudes, 4, 48)
    with pytest.raises(InputError, match=r"shape \[16, 32\] with a Hessian of 64 inputs"):
        awq_scales([jnp.asarray(weight[:, :32])], hessian, magnitudes)
