"""Buffers among the parameters keep their values; whatever has a gradient does not."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from explorer.training import Trainer
from explorer.training.step.buffers import without_buffers
from tests.models.tiny import IDS, model_of

NAME = "e_score_correction_bias"


@pytest.mark.slow
@pytest.mark.parametrize(("make", "scan"), [(optax.adamw, False), (optax.lion, True)])
def test_the_correction_of_a_router_is_not_decayed(make: Any, scan: bool):
    model, variables = model_of("deepseek_v3", scan)

    def loss_fn(params: Any, batch: Any, context: Any) -> jax.Array:
        outputs: Any = model.apply({"params": params}, batch)
        return jnp.square(outputs.logits).mean()

    optimizer = optax.chain(optax.add_decayed_weights(0.1), make(1e-2))
    trainer = Trainer(model, loss_fn, optimizer, donate=False)
    state = trainer.init_from(variables["params"], jax.random.key(0))
    after, _ = trainer.step(state, IDS)
    before = dict(jax.tree_util.tree_leaves_with_path(state.params))
    kept = []
    for keys, value in jax.tree_util.tree_leaves_with_path(after.params):
        is_same = bool((value == before[keys]).all())
        is_buffer = NAME in jax.tree_util.keystr(keys)
        kept += [keys] * is_buffer
        # of the experts, those that no token visited are decayed all the same
        assert is_same == is_buffer, jax.tree_util.keystr(keys)
    assert kept


def test_what_has_a_gradient_is_learned_whatever_it_is_called():
    updates = {"gate": {NAME: jnp.full(3, 0.5), "kernel": jnp.ones(3)}}
    moved = {"gate": {NAME: jnp.array([0.0, 1e-30, 0.0]), "kernel": jnp.zeros(3)}}
    np.testing.assert_array_equal(without_buffers(updates, moved)["gate"][NAME], 0.5)
    still = jax.tree.map(jnp.zeros_like, moved)
    found = without_buffers(updates, still)["gate"]
    np.testing.assert_array_equal(found[NAME], 0)
    np.testing.assert_array_equal(found["kernel"], 1)


def test_what_was_learned_from_another_batch_that_is_summed_is_moved():
    optimizer = optax.MultiSteps(optax.adam(0.1), 2)
    params = {
        "gate": {NAME: jnp.ones(3), "kernel": jnp.ones(3)},
        "other": {NAME: jnp.ones(3)},
    }

    def loss_fn(params: Any, batch: Any, context: Any) -> jax.Array:
        gate = params["gate"]
        return (batch * (gate[NAME] + gate["kernel"])).mean()

    trainer = Trainer(None, loss_fn, optimizer, donate=False)
    state = trainer.init_from(params, jax.random.key(0))
    for batch in (jnp.ones(3), jnp.zeros(3)):  # the second has no gradient
        before = state.params
        state, _ = trainer.step(state, batch)
    gate = state.params["gate"]
    assert (gate[NAME] != before["gate"][NAME]).all()
    np.testing.assert_array_equal(gate[NAME], gate["kernel"])
    np.testing.assert_array_equal(state.params["other"][NAME], 1)
