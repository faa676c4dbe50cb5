"""The smallest models: counted by hand, and learning what they should."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import explorer as ex
from explorer.models.small import (
    ConvolutionalNetwork,
    LinearRegression,
    MultilayerPerceptron,
)

KEY = jax.random.key(0)
IMAGE = jax.ShapeDtypeStruct((1, 28, 28, 1), jnp.float32)


def test_the_smallest_model_has_a_weight_and_a_bias():
    inventory = ex.explore(LinearRegression(), jax.ShapeDtypeStruct((1, 1), jnp.float32))
    assert (inventory.num_weights, inventory.num_biases) == (1, 1)
    assert [tensor.shape for tensor in inventory] == [(1,), (1, 1)]


def test_it_is_the_line_of_its_two_parameters():
    params = {"linear": {"kernel": jnp.array([[3.0]]), "bias": jnp.array([-1.0])}}
    x = jnp.array([[0.0], [1.0], [2.0]])
    y = LinearRegression().apply({"params": params}, x)
    np.testing.assert_array_equal(y, [[-1.0], [2.0], [5.0]])


def test_it_finds_the_line_that_points_are_on():
    x = jnp.linspace(-1, 1, 9)[:, None]
    model, descent = LinearRegression(), optax.sgd(0.5)
    params = model.init(KEY, x)
    state = descent.init(params)

    def loss(params):
        return jnp.square(model.apply(params, x) - (2 * x + 1)).mean()

    @jax.jit
    def step(params, state):
        updates, state = descent.update(jax.grad(loss)(params), state)
        return optax.apply_updates(params, updates), state

    for _ in range(100):
        params, state = step(params, state)
    found = params["params"]["linear"]
    np.testing.assert_allclose(
        [found["kernel"].item(), found["bias"].item()], [2, 1], atol=1e-5
    )


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        # what Keras' first tutorial prints for the same network
        (MultilayerPerceptron((128, 10)), 101_770),
        (MultilayerPerceptron((1,)), 785),
        (MultilayerPerceptron((300, 100, 10)), 784 * 300 + 300 + 300 * 100 + 100 + 1010),
        (
            ConvolutionalNetwork(),
            (9 * 32 + 32) + (9 * 32 * 64 + 64) + (7 * 7 * 64 * 10 + 10),
        ),
        (ConvolutionalNetwork((8,), 3), (9 * 8 + 8) + (14 * 14 * 8 * 3 + 3)),
    ],
)
def test_counts_by_hand(model, parameters):
    assert ex.explore(model, IMAGE).num_parameters == parameters


def test_a_perceptron_is_linear_layers_with_relu_between():
    x = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    y, variables = MultilayerPerceptron((5, 2)).init_with_output(KEY, x)
    first, last = (variables["params"][f"layers_{i}"] for i in (0, 1))
    inner = np.maximum(x @ first["kernel"] + first["bias"], 0)
    np.testing.assert_allclose(y, inner @ last["kernel"] + last["bias"], atol=1e-6)


class Variants(chex.TestCase):
    @chex.variants(with_jit=True, without_jit=True)
    def test_a_network_gives_logits(self):
        model, images = ConvolutionalNetwork((2,)), jnp.ones((2, 4, 4, 3))
        params = model.init(KEY, images)
        chex.assert_shape(self.variant(model.apply)(params, images), (2, 10))


def test_gradients_of_a_network_are_finite():
    model, images = ConvolutionalNetwork((2,)), jnp.ones((2, 4, 4, 3))
    params = model.init(KEY, images)
    gradients = jax.jit(jax.grad(lambda p: jnp.square(model.apply(p, images)).sum()))(
        params
    )
    chex.assert_tree_all_finite(gradients)
    chex.assert_trees_all_equal_shapes(gradients, params)
