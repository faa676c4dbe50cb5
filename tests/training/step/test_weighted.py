"""Losses over tokens: the same of micro-batches, devices and whole sets as of all at once."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from explorer.errors import InputError
from explorer.training import Arrays, Epoch, Trainer, Weighted, evaluate
from tests.training import tiny

# of eight rows 0 to 5 tokens count, so that no two micro-batches have the same weight
LENGTHS = np.array([5, 0, 1, 3, 2, 2, 4, 0])
X = np.random.default_rng(0).normal(size=(8, 5, 1)).astype("f4")
BATCH = {"x": X, "y": 3 * X + 1, "mask": np.arange(5) < LENGTHS[:, None]}


def loss_fn(params, batch, context):
    predicted = tiny.LINE.apply({"params": params}, batch["x"])
    squares = jnp.square(predicted - batch["y"])[..., 0] * batch["mask"]
    rows = Weighted(batch["mask"].any(1).sum(), len(batch["mask"]))
    loss = Weighted(squares.sum(), batch["mask"].sum())
    return loss, {"twice": 2 * loss.mean, "rows": rows}


def trainer_of(**options):
    return Trainer(tiny.LINE, loss_fn, optax.sgd(0.1), **options)


def by_hand(state):
    """Return the loss and the gradients of y = a x + b over the tokens that count."""
    x, y = (np.float64(BATCH[n][..., 0][BATCH["mask"]]) for n in ("x", "y"))
    a, b = (np.float64(state.params["linear"][n]).item() for n in ("kernel", "bias"))
    missed = a * x + b - y
    return (missed**2).mean(), 2 * (missed * x).mean(), 2 * missed.mean()


@pytest.mark.parametrize("options", [{}, {"accumulate": 2}, {"accumulate": 8}])
def test_a_step_is_that_of_all_tokens(options):
    trainer = trainer_of(**options)
    before = trainer.init(tiny.KEY, X[:1])
    loss, by_a, by_b = by_hand(before)
    first = jax.device_get(before.params)["linear"]
    after, metrics = trainer.step(before, BATCH)
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
    np.testing.assert_allclose(metrics["rows"], 6 / 8)
    last = after.params["linear"]
    np.testing.assert_allclose(last["kernel"], first["kernel"] - 0.1 * by_a, rtol=1e-4)
    np.testing.assert_allclose(last["bias"], first["bias"] - 0.1 * by_b, rtol=1e-4)
    if options != {"accumulate": 8}:  # whose rows without tokens have no mean
        np.testing.assert_allclose(metrics["twice"], 2 * loss, rtol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_a_set_is_that_of_all_tokens(size):
    trainer = trainer_of()
    state = trainer.init(tiny.KEY, X[:1])
    found = evaluate(trainer, state, Epoch(Arrays(BATCH), size))
    np.testing.assert_allclose(found["loss"], by_hand(state)[0], rtol=1e-5)
    assert found["rows"] == 6 / 8
    assert len(Epoch(Arrays(BATCH), size)) == -(-8 // size)


def test_means_without_a_weight_are_over_examples():
    def plain(params, batch, context):
        return batch.mean() + 0 * params["linear"]["bias"].sum(), {"most": batch.mean()}

    trainer = Trainer(tiny.LINE, plain, optax.sgd(0.1))
    state = trainer.init(tiny.KEY, X[:1, 0])
    numbers = np.arange(7, dtype="f4")[:, None]
    found = evaluate(trainer, state, Epoch(Arrays(numbers), 3))
    assert found == {"loss": 3.0, "most": 3.0}  # not the mean of 1, 4 and 6


def test_a_step_without_tokens_is_not_taken():
    trainer = trainer_of()
    state = trainer.init(tiny.KEY, X[:1])
    before = jax.device_get(state.params)
    after, metrics = trainer.step(state, BATCH | {"mask": np.zeros((8, 5), bool)})
    assert not metrics["finite"]
    chex.assert_trees_all_equal(jax.device_get(after.params), before)


@pytest.mark.parametrize(
    ("loss", "found"),
    [
        (Weighted(np.ones(2), 1), "the loss's total has shape (2,)"),
        (Weighted(1.0, np.ones(3)), "the loss's weight has shape (3,)"),
        (Weighted(1, 1), "a loss of int32"),
        (Weighted("a", 1), "the loss's total is a str"),
    ],
)
def test_what_is_not_a_mean_is_one_line(loss, found):
    trainer = Trainer(tiny.LINE, lambda p, b, c: loss, optax.sgd(0.1))
    state = trainer.init(tiny.KEY, X[:1])
    with pytest.raises(InputError) as raised:
        trainer.step(state, X)
    assert found in str(raised.value)


def test_batches_that_never_end_and_none_are_refused():
    from explorer.training import Batches

    trainer = trainer_of()
    state = trainer.init(tiny.KEY, X[:1])
    one = "batches: one dict, which gives its names; .* pass .batch., or an iterator"
    for batches, found in (
        (Batches(Arrays(BATCH), 2), "never end"),
        ([], "none"),
        ({"x": X}, one),
    ):
        with pytest.raises(InputError, match=found):
            evaluate(trainer, state, batches)
