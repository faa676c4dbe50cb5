"""GPTQ: the codes of the authors' code, and errors no larger than those of rounding."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from explorer.errors import InputError
from explorer.transforms.calibration.gptq import gptq
from explorer.transforms.calibration.grids import pseudo_quantised
from explorer.transforms.calibration.obs import hessian_error, inverse_factor
from tests.conformance.calibrated import PATH, layer_of

SETTINGS: dict[str, dict[str, Any]] = {
    "groups": {"group": 128},
    "act_order": {"group": 128, "act_order": True},
    "channel": {"group": None},
    "symmetric": {"group": 128, "act_order": True, "symmetric": True},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_codes_are_those_of_the_reference(name: str):
    weight, hessian = map(jnp.asarray, layer_of())
    found = gptq(weight, hessian, 4, **SETTINGS[name])
    with np.load(PATH) as goldens:
        golden = {
            k: goldens[f"gptq_{name}_{k}"] for k in ("scales", "zeros", "groups", "values")
        }
    assert np.array_equal(found.groups, golden["groups"])
    assert np.array_equal(found.zeros, golden["zeros"])
    np.testing.assert_allclose(found.scales, golden["scales"], rtol=1e-5)
    scales = golden["scales"][:, golden["groups"]]
    codes = np.round(golden["values"] / scales + golden["zeros"][:, golden["groups"]])
    assert np.array_equal(found.codes, codes)
    np.testing.assert_allclose(found.values, golden["values"], atol=1e-6)


def random_layer(seed: int, outputs: int = 16, inputs: int = 64) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(256, inputs)) @ rng.normal(size=(inputs, inputs))
    weight = rng.normal(size=(outputs, inputs))
    return jnp.asarray(weight, jnp.float32), jnp.asarray(x.T @ x, jnp.float32)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("act_order", [False, True])
def test_outputs_change_less_than_by_rounding(seed: int, bits: int, act_order: bool):
    weight, hessian = random_layer(seed)
    rounded = pseudo_quantised(weight, bits, 32)
    found = gptq(weight, hessian, bits, 32, act_order)
    assert float(hessian_error(weight, found.values, hessian)) < float(
        hessian_error(weight, rounded, hessian)
    )
    assert int(found.codes.max()) <= 2**bits - 1


def test_uncorrelated_inputs_are_rounded():
    """With a diagonal Hessian an error of one input corrects no other one."""
    weight, _ = random_layer(0)
    found = gptq(weight, jnp.eye(64), 4, 16)
    np.testing.assert_allclose(found.values, pseudo_quantised(weight, 4, 16), atol=1e-6)


@pytest.mark.parametrize("symmetric", [False, True])
def test_the_grid_is_the_reference_formula(symmetric: bool):
    """q = clamp(round(w / s) + z), in NumPy, group by group.

    The extreme of a symmetric group is halfway between two codes: rounding decides, by one.
    """
    weight = np.asarray(random_layer(1)[0])
    found = np.asarray(pseudo_quantised(jnp.asarray(weight), 4, 16, symmetric))
    for row, start in np.ndindex(16, 4):
        part = weight[row, 16 * start : 16 * start + 16]
        low, high = min(part.min(), 0), max(part.max(), 0)
        if symmetric:
            high = max(-low, high)
            low = -high
        scale = np.float32(high - low) / np.float32(15)
        zero = 8 if symmetric else np.round(-low / scale)
        codes = np.clip(np.round(part / scale) + zero, 0, 15)
        after = found[row, 16 * start : 16 * start + 16]
        extreme = symmetric & (np.abs(part) == high)
        assert np.all(
            np.abs(after - scale * (codes - zero)) <= 1e-6 + scale * extreme * 1.01
        )


def test_a_searched_grid_is_not_a_worse_one():
    weight, _ = random_layer(2)
    plain, searched = (pseudo_quantised(weight, 3, 32, search=s) for s in (False, True))
    errors = [np.square(np.asarray(each - weight)).sum(1) for each in (plain, searched)]
    assert np.all(errors[1] <= errors[0] + 1e-6)
    assert errors[1].sum() < 0.95 * errors[0].sum()


def test_the_factor_is_that_of_the_inverse():
    _, hessian = random_layer(3)
    damped = np.asarray(hessian, float)
    damped += 0.01 * damped.diagonal().mean() * np.eye(64)
    factor = np.asarray(inverse_factor(hessian), float)
    assert np.array_equal(factor, np.triu(factor))
    np.testing.assert_allclose(
        factor.T @ factor, np.linalg.inv(damped), rtol=2e-3, atol=1e-9
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"group": 48}, "group: 48 for 64 inputs; expected a divisor of them"),
        ({"bits": 9}, "bits: 9; expected 2 to 8"),
    ],
)
def test_bad_settings(settings: Any, message: str):
    weight, hessian = random_layer(0)
    with pytest.raises(InputError, match=message):
        gptq(weight, hessian, **settings)


def test_bad_hessians():
    weight, hessian = random_layer(0)
    with pytest.raises(InputError, match=r"shape \[32, 32\] for a weight of \[16, 64\]"):
        gptq(weight, hessian[:32, :32])
    with pytest.raises(InputError, match="is not positive definite, or not finite"):
        gptq(weight, hessian.at[0, 0].set(jnp.nan), group=None)
