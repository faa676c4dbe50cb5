"""Averages of parameters: by hand, through freezing, checkpoints and devices."""

import jax
import numpy as np
import optax
import pytest

from explorer.errors import InputError
from explorer.training import Batches, Checkpoints, Trainer, averaged, fit, with_average
from explorer.training.data.batches import Arrays
from tests.training import tiny

X = np.linspace(-1, 1, 8, dtype="f4")[:, None]
BATCH = (X, 2 * X + 1)
squares = tiny.squares(tiny.LINE)


@pytest.mark.parametrize("freeze", [None, "**/bias"])
def test_by_hand(freeze):
    trainer = Trainer(tiny.LINE, squares, with_average(optax.adam(0.1), 0.8), freeze=freeze)
    state = trainer.init(tiny.KEY, X)
    mean = jax.tree.map(np.float64, jax.device_get(state.params))
    for _ in range(10):
        state, _ = trainer.step(state, BATCH)
        mean = jax.tree.map(
            lambda m, new: 0.8 * m + 0.2 * np.float64(new), mean, state.params
        )
    found = averaged(state)
    for name in ("kernel", "bias"):
        np.testing.assert_allclose(
            found.params["linear"][name], mean["linear"][name], rtol=1e-5, atol=1e-7
        )
    assert found.step == state.step
    moved = found.params["linear"]["kernel"] != state.params["linear"]["kernel"]
    assert moved.all()


NAME = "e_score_correction_bias"


@pytest.mark.parametrize("freeze", [None, "other/kernel"])
def test_buffers_are_as_they_were_last(freeze):
    """Not decayed, not averaged; moved by rules outside of the step, as DeepSeek's rule does."""

    def loss_fn(params, batch, context):
        gate = params["gate"]
        picked = gate["kernel"] + jax.lax.stop_gradient(gate[NAME])
        learned = params["learned"][NAME] + params["other"]["kernel"]
        return (batch * (picked + learned)).mean()

    ones = np.linspace(0.3, 1.7, 3, dtype="f4")
    params = {
        "gate": {"kernel": ones, NAME: ones},
        "learned": {NAME: ones},  # it is called so, and has a gradient
        "other": {"kernel": ones},
    }
    optimizer = with_average(optax.adamw(0.1, weight_decay=0.5), 0.75)
    trainer = Trainer(None, loss_fn, optimizer, freeze=freeze)
    state = trainer.init_from(params, tiny.KEY)
    mean = jax.tree.map(np.float64, params)
    for number in range(5):
        state, _ = trainer.step(state, ones)
        mean = jax.tree.map(
            lambda m, new: 0.75 * m + 0.25 * np.float64(new), mean, state.params
        )
        found = averaged(state).params
        np.testing.assert_array_equal(found["gate"][NAME], ones + number)
        for layer, name in (("gate", "kernel"), ("learned", NAME), ("other", "kernel")):
            np.testing.assert_allclose(found[layer][name], mean[layer][name], rtol=1e-5)
        gate = state.params["gate"]
        moved = state.params | {"gate": gate | {NAME: gate[NAME] + 1}}
        state = state.replace(params=moved)
    assert (state.params["learned"][NAME] != ones).all()


def test_updates_are_those_of_the_optimizer():
    ends = []
    for optimizer in (optax.adam(0.1), with_average(optax.adam(0.1), 0.99)):
        trainer = Trainer(tiny.LINE, squares, optimizer)
        state = trainer.init(tiny.KEY, X)
        for _ in range(5):
            state, _ = trainer.step(state, BATCH)
        ends.append(jax.device_get(state.params))
    np.testing.assert_array_equal(*(end["linear"]["kernel"] for end in ends))


def test_half_precision_is_averaged_in_float32():
    trainer = Trainer(
        tiny.LINE, squares, with_average(optax.sgd(0.0), 0.999), param_dtype="bfloat16"
    )
    state = trainer.init(tiny.KEY, X)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(state.opt_state)} == {"float32"}
    assert averaged(state).params["linear"]["kernel"].dtype == "bfloat16"


def test_a_resumed_run_has_the_same_average(tmp_path):
    trainer = Trainer(tiny.LINE, squares, with_average(optax.adam(0.1), 0.9))
    ends = []
    for stops in ((6,), (3, 6)):
        with Checkpoints(tmp_path / str(len(stops)), every=3) as checkpoints:
            for steps in stops:
                batches = Batches(Arrays(BATCH), 4)
                state = trainer.init(tiny.KEY, X)
                if restored := checkpoints.restore(state, batches=batches):
                    state = restored.state
                result = fit(trainer, state, batches, steps=steps, checkpoints=checkpoints)
        ends.append(jax.device_get(averaged(result.state).params["linear"]["kernel"]))
    np.testing.assert_array_equal(*ends)


@pytest.mark.parametrize("decay", [1, -0.1, "a", float("nan")])
def test_a_decay_out_of_range_is_one_line(decay):
    with pytest.raises(InputError, match="decay"):
        with_average(optax.adam(0.1), decay)


def test_without_an_average_it_is_one_line():
    state = tiny.first_state(tiny.LINE, optax.adam(0.1), X)
    with pytest.raises(InputError, match="keeps no average"):
        averaged(state)


def test_an_update_without_parameters_is_one_line():
    optimizer = with_average(optax.sgd(0.1), 0.9)
    slots = optimizer.init({"w": jax.numpy.ones(1)})
    with pytest.raises(InputError, match=r"params: none; .* pass them: optimizer.update\("):
        optimizer.update({"w": jax.numpy.ones(1)}, slots)
