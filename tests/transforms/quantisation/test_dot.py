"""Products with quantised weights: those of the dequantised ones, and no weights in the program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorer.errors import TreeError
from explorer.transforms.quantisation.dot import dot
from explorer.transforms.quantisation.quantized import Quantized

SCHEMES = (
    "int8", "int8:tensor", "int8:asym", "int8:g64", "int8:g64:asym", "int4:g64", "int4:channel:asym",
    "int8wo", "int4wo", "nf4", "fp8", "fp8:channel", "fp8:block", "mxfp4", "nvfp4", "q8_0:pure",
)  # fmt: skip


@pytest.mark.parametrize("tokens", [1, 40])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_products_are_those_of_the_weights(scheme: str, tokens: int):
    rng = np.random.default_rng(0)
    weights = Quantized.of(
        rng.normal(0, 0.02, (256, 96)).astype("f"), scheme, inputs_first=True
    )
    x = jnp.asarray(rng.normal(size=(tokens, 256)).astype(np.float32))
    expected = np.asarray(x, np.float64) @ np.asarray(weights).astype(np.float64)
    found = jax.jit(dot)(x, weights)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("scheme", ["int8", "int8:g64", "fp8:channel"])
def test_no_array_of_the_weights_in_float32_is_made(scheme: str):
    weights = Quantized.of(np.ones((64, 256), "float32"), scheme)
    program = jax.make_jaxpr(dot)(jnp.ones((1, 256)), weights)
    scaled = [
        e
        for e in program.eqns
        if e.primitive.name == "mul" and e.outvars[0].aval.size >= 64 * 256
    ]  # pyright: ignore[reportAttributeAccessIssue]
    assert not scaled


def test_gradients_reach_the_inputs_alone():
    weights = Quantized.of(np.ones((64, 256), "float32"), "int8")
    found = jax.grad(lambda x, q: dot(x, q).sum(), argnums=0)(jnp.ones(256), weights)
    np.testing.assert_allclose(found, 64, rtol=1e-6)


def test_a_stack_goes_through_vmap():
    weights = Quantized.of(
        np.random.default_rng(0).normal(size=(3, 8, 64)).astype("f"), "int8"
    )
    x = jnp.ones((3, 5, 64))
    found = jax.vmap(dot)(x, weights)
    expected = jnp.einsum("lti,loi->lto", x, jnp.asarray(weights))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(TreeError, match="weights are a stack"):
        dot(x, weights)


def test_inputs_of_another_width():
    with pytest.raises(TreeError, match=r"inputs \[2, 3\]; expected \[\.\.\., 64\]"):
        dot(jnp.ones((2, 3)), Quantized.of(np.ones((8, 64), "float32"), "int8"))
