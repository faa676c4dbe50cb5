"""Optimizers that ask for the loss: as in a loop of optax's own."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

from explorer.training import Trainer, make_train_step
from tests.training import tiny

X = np.linspace(-1, 1, 16, dtype="f4")[:, None]
BATCH = (X, np.sin(3 * X))
squares = tiny.squares(tiny.NETWORK)


def objective(params):
    return jnp.square(tiny.NETWORK.apply({"params": params}, X) - BATCH[1]).mean()


OPTIMIZERS = {
    "lbfgs": lambda: optax.lbfgs(),
    "polyak": lambda: optax.polyak_sgd(0.5),
    "plateau": lambda: optax.chain(
        optax.sgd(0.5), contrib.reduce_on_plateau(factor=0.5, patience=1, rtol=0.05)
    ),
    "backtracking": lambda: optax.chain(
        optax.sgd(1.0), optax.scale_by_backtracking_linesearch(max_backtracking_steps=5)
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_as_in_a_loop_of_optax(name):
    optimizer = OPTIMIZERS[name]()
    trainer = Trainer(tiny.NETWORK, squares, optimizer)
    state = trainer.init(tiny.KEY, X)
    params, opt_state = jax.tree.map(jnp.copy, (state.params, state.opt_state))

    @jax.jit
    def by_hand(params, opt_state):
        value, grad = jax.value_and_grad(objective)(params)
        updates, opt_state = optimizer.update(
            grad, opt_state, params, value=value, grad=grad, value_fn=objective
        )
        return optax.apply_updates(params, updates), opt_state, value

    for _ in range(6):
        params, opt_state, value = by_hand(params, opt_state)
        state, metrics = trainer.step(state, BATCH)
        np.testing.assert_allclose(metrics["loss"], value, rtol=2e-4)
    chex.assert_trees_all_close(state.params, params, rtol=2e-3, atol=1e-4)


def test_a_line_search_over_micro_batches_is_that_over_the_batch():
    state = tiny.first_state(tiny.NETWORK, optax.lbfgs(), X)
    found = []
    for accumulate in (1, 4):
        step = make_train_step(squares, optax.lbfgs(), accumulate=accumulate, donate=False)
        now = state
        for _ in range(3):
            now, metrics = step(now, BATCH)
        found.append((metrics["loss"], now.params))
    chex.assert_trees_all_close(*found, rtol=1e-3, atol=1e-4)


def test_a_line_search_over_a_part_is_that_of_the_part_alone():
    trainer = Trainer(tiny.NETWORK, squares, optax.lbfgs(), freeze="**/bias")
    state = trainer.init(tiny.KEY, X)
    kernels = {name: layer["kernel"] for name, layer in state.params.items()}
    biases = {name: layer["bias"] for name, layer in state.params.items()}
    kernels, biases = jax.tree.map(jnp.copy, (kernels, biases))

    def of_kernels(kernels):
        return objective({n: {"kernel": k, "bias": biases[n]} for n, k in kernels.items()})

    optimizer = optax.lbfgs()
    opt_state = optimizer.init(kernels)
    for _ in range(4):
        value, grad = jax.value_and_grad(of_kernels)(kernels)
        updates, opt_state = optimizer.update(
            grad, opt_state, kernels, value=value, grad=grad, value_fn=of_kernels
        )
        kernels = optax.apply_updates(kernels, updates)
        state, metrics = trainer.step(state, BATCH)
        np.testing.assert_allclose(metrics["loss"], value, rtol=2e-4)
    for name, layer in state.params.items():
        np.testing.assert_allclose(layer["kernel"], kernels[name], rtol=2e-3, atol=1e-4)
        np.testing.assert_array_equal(layer["bias"], biases[name])


@pytest.mark.parametrize("freeze", [None, "**/bias"])
def test_the_learning_rate_is_that_of_the_step(freeze):
    rate = optax.linear_schedule(0.4, 0.0, 4)
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.inject_hyperparams(optax.sgd)(learning_rate=rate, momentum=0.5),
    )
    trainer = Trainer(tiny.NETWORK, squares, optimizer, freeze=freeze)
    state, used = trainer.init(tiny.KEY, X), []
    for _ in range(5):
        state, metrics = trainer.step(state, BATCH)
        used.append(float(metrics["learning_rate"]))
        assert "momentum" not in metrics  # which stays as it is
    np.testing.assert_allclose(used, [0.4, 0.3, 0.2, 0.1, 0.0], atol=1e-6)
