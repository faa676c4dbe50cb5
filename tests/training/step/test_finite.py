"""Losses and gradients that are not finite: nothing is trained from them, and they are named."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from explorer.training.step.finite import check_finite, names_of_bad
from explorer.training.step.train_step import make_train_step
from tests.training import tiny

ADAM = optax.adam(1e-2)


def spoiled(params, batch, context):
    """Return a loss whose gradient with respect to one kernel is what the batch says."""
    x, poison = batch
    kernel = params["layers_1"]["kernel"]
    y = tiny.NETWORK.apply({"params": params}, x)
    return jnp.square(y).mean() + (jnp.sum(kernel) * poison).mean()


SINGLE = make_train_step(spoiled, ADAM)


def run(values, steps_per_call=1):
    x = tiny.points(4)[0]
    batches = [(x, np.full(4, value, np.float32)) for value in values]
    state = tiny.network_state(ADAM)
    if steps_per_call > 1:
        step = make_train_step(spoiled, ADAM, steps_per_call=steps_per_call)
        return step(state, tiny.stacked(batches))
    seen = []
    for batch in batches:
        state, metrics = SINGLE(state, batch)
        seen.append(metrics)
    return state, tiny.stacked(seen)


@pytest.mark.parametrize(("poison", "steps_per_call"), [(np.nan, 1), (np.inf, 4)])
def test_a_bad_step_is_not_taken_and_none_after_it(poison, steps_per_call):
    state, metrics = run([0.0, poison, 0.0, 0.0], steps_per_call)
    clean, _ = run([0.0])
    # four steps, of which the first alone was good before one was not
    assert bool(state.halted)
    assert not clean.halted
    chex.assert_trees_all_close(state.params, clean.params, rtol=1e-6)
    chex.assert_trees_all_close(state.opt_state, clean.opt_state, rtol=1e-6)
    assert int(state.step) == 1
    assert metrics["finite"].tolist() == [True, False, False, False]
    assert metrics["bad"].dtype == np.int32
    kernel = names_of_bad(state.params, metrics["bad"][1])
    assert kernel == ("layers_1/kernel",)
    assert names_of_bad(state.params, metrics["bad"][0]) == ()


def test_params_are_those_of_the_step_before_bit_for_bit():
    before, _ = run([0.0, 0.0])
    after, _ = run([0.0, 0.0, np.nan])
    chex.assert_trees_all_equal(after.params, before.params)
    chex.assert_trees_all_equal(after.opt_state, before.opt_state)


def test_a_state_goes_on_when_it_is_reported_to():
    state, _ = run([0.0, np.nan])
    good = (tiny.points(4)[0], np.zeros(4, np.float32))
    state, _ = SINGLE(state.replace(halted=jnp.array(False)), good)
    whole, _ = run([0.0, 0.0])
    chex.assert_trees_all_equal(state.params, whole.params)
    assert int(state.step) == 2


def test_an_infinite_loss_is_bad_although_its_gradients_are_not():
    def loss_fn(params, batch, context):
        return jnp.square(params["linear"]["bias"]).mean() + batch.mean(), {}, {}

    step = make_train_step(loss_fn, ADAM)
    x = np.ones((2, 1), np.float32)
    state = tiny.first_state(tiny.LINE, ADAM, x)
    start = jax.device_get(state.params)
    state, metrics = step(state, x * np.inf)
    chex.assert_trees_all_equal(state.params, start)
    assert not metrics["finite"]
    assert metrics["bad"].tolist() == [-1, -1, -1]


def test_the_first_tensors_are_named_and_the_norm_is_that_of_all():
    good = {"a": jnp.full((2, 2), 2.0), "b": jnp.full(9, 1.0, jnp.bfloat16)}
    health = check_finite(jnp.float32(0), good)
    assert (float(health.grad_norm), health.bad.tolist()) == (5.0, [-1, -1, -1])
    bad = {f"layer_{i}": jnp.array([1.0, np.nan if i % 2 else 0.0]) for i in range(9)}
    health = check_finite(jnp.float32(0), bad)
    assert health.bad.tolist() == [1, 3, 5]
    assert names_of_bad(bad, health.bad) == ("layer_1", "layer_3", "layer_5")
