"""Linen modules with several collections train as a plain loop of Flax and optax does."""

from pathlib import Path
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from explorer.errors import InputError
from explorer.training import Checkpoints, Context, Trainer, create_state

OPTIMIZER = optax.adamw(1e-2)
KEY = jax.random.key(0)


class Counted(nn.Module):
    """A batch norm, a counter of calls, a running maximum, a constant, and a sown penalty."""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = True) -> jax.Array:
        calls = self.variable("counters", "calls", lambda: jnp.zeros((), jnp.int32))
        largest = self.variable("extremes", "largest", lambda: jnp.zeros(x.shape[-1]))
        scale = self.variable("constants", "scale", lambda: jnp.full((), 2.0))
        if train and not self.is_initializing():
            calls.value += 1
            largest.value = jnp.maximum(largest.value, jnp.abs(x).max(0))
        x = nn.BatchNorm(use_running_average=not train)(nn.Dense(8)(x * scale.value))
        self.sow("losses", "penalty", jnp.square(x).mean())
        return nn.Dense(1)(jnp.tanh(x))


class Counter(nn.Module):
    """A dense layer and a counter: no batch norm."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        calls = self.variable("counters", "calls", lambda: jnp.zeros((), jnp.int32))
        if not self.is_initializing():
            calls.value += 1
        return nn.Dense(1)(x)


CHANGING = ["batch_stats", "counters", "extremes"]


def batch(seed: int, count: int = 16) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(seed).standard_normal((count, 4)).astype(np.float32)
    return x, x.sum(1, keepdims=True)


def loss_fn(params: Any, batch: Any, context: Context) -> Any:
    x, y = batch
    found, updated = Counted().apply(
        context.variables(params), x, context.train, mutable=[*CHANGING, "losses"]
    )
    penalty = sum(jax.tree.leaves(updated["losses"]))
    return jnp.square(found - y).mean() + 0.1 * penalty, {"penalty": penalty}, updated


def trainer(loss: Any = loss_fn, **options: Any) -> Trainer:
    return Trainer(Counted(), loss, OPTIMIZER, **options)


def plain(steps: int) -> tuple[dict[str, Any], list[float]]:
    """Return the variables and losses of a loop as Flax's guide writes it."""
    variables: Any = Counted().init(jax.random.split(KEY)[0], batch(0)[0])
    kept = {name: tree for name, tree in variables.items() if name != "losses"}
    opt_state = OPTIMIZER.init(kept["params"])
    losses = []

    @jax.jit
    def step(kept: Any, opt_state: Any, x: Any, y: Any) -> Any:
        def loss(params: Any) -> Any:
            found, new = Counted().apply(
                kept | {"params": params}, x, mutable=[*CHANGING, "losses"]
            )
            penalty = sum(jax.tree.leaves(new.pop("losses")))
            return jnp.square(found - y).mean() + 0.1 * penalty, new

        (value, new), grads = jax.value_and_grad(loss, has_aux=True)(kept["params"])
        updates, opt_state = OPTIMIZER.update(grads, opt_state, kept["params"])
        params = optax.apply_updates(kept["params"], updates)
        return kept | new | {"params": params}, opt_state, value

    for number in range(steps):
        kept, opt_state, value = step(kept, opt_state, *batch(number))
        losses.append(float(value))
    return kept, losses


def test_every_collection_is_kept_and_those_that_change_do():
    made = trainer()
    state, losses = made.init(KEY, batch(0)[0]), []
    assert set(state.batch_stats) == {"batch_stats", "counters", "extremes", "constants"}
    right, right_losses = plain(5)
    for number in range(5):
        state, metrics = made.step(state, batch(number))
        losses.append(float(metrics["loss"]))
    assert int(state.batch_stats["counters"]["calls"]) == 5
    assert float(state.batch_stats["constants"]["scale"]) == 2.0
    np.testing.assert_allclose(losses, right_losses, rtol=2e-5)
    found = {"params": state.params, **state.batch_stats}
    chex.assert_trees_all_close(found, right, rtol=2e-4, atol=1e-6)
    y = made.module(state)(batch(9)[0], train=False)
    np.testing.assert_allclose(y, Counted().apply(right, batch(9)[0], False), rtol=2e-3)
    before = made.eval_step(state, batch(9))
    chex.assert_trees_all_equal(before, made.eval_step(state, batch(9)))


def test_micro_batches_pass_their_variables_on():
    made = trainer(accumulate=4)
    state, _ = made.step(made.init(KEY, batch(0)[0]), batch(3))
    assert int(state.batch_stats["counters"]["calls"]) == 4
    largest = np.abs(batch(3)[0]).max(0)
    np.testing.assert_array_equal(state.batch_stats["extremes"]["largest"], largest)


def test_collections_come_back_from_a_checkpoint(tmp_path: Path):
    made = trainer(donate=False)
    state, _ = made.step(made.init(KEY, batch(0)[0]), batch(0))
    with Checkpoints(tmp_path / "run") as checkpoints:
        checkpoints.save(state)
        saved = checkpoints.restore(made.init(KEY, batch(0)[0]))
    assert saved is not None
    chex.assert_trees_all_equal(saved.state.batch_stats, state.batch_stats)


def test_a_module_without_batch_statistics_keeps_the_others():
    x = batch(0)[0]
    state = create_state(Counter(), OPTIMIZER, KEY, x)
    assert state.batch_stats["batch_stats"] == {}

    def loss(params: Any, batch: Any, context: Context) -> Any:
        found, new = Counter().apply(
            context.variables(params), batch[0], mutable=["counters"]
        )
        return jnp.square(found - batch[1]).mean(), {}, new

    state, _ = Trainer(Counter(), loss, OPTIMIZER).step(state, batch(0))
    assert int(state.batch_stats["counters"]["calls"]) == 1


def test_variables_of_no_collection_are_refused():
    def loss(params: Any, batch: Any, context: Context) -> Any:
        value, _, updated = loss_fn(params, batch, context)
        return value, {}, updated["batch_stats"]

    made = trainer(loss)
    words = "loss_fn: variables of none of the module's collections; expected what apply"
    with pytest.raises(InputError, match=words):
        made.step(made.init(KEY, batch(0)[0]), batch(0))
