"""Settings of optimizers are those that they were given, each by a name of its own."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest

from explorer.training.step.hyperparameters import hyperparameters

PARAMS = {"w": jnp.ones(2), "v": jnp.ones(2)}


def injected(rate: float) -> Any:
    return optax.inject_hyperparams(optax.sgd)(rate)


def labelled(**rates: float) -> Any:
    parts = {name: injected(rate) for name, rate in rates.items()}
    return optax.multi_transform(parts, dict(zip(PARAMS, rates, strict=True)))


CASES = {
    "one": (injected(0.5), {"learning_rate": 0.5}),
    "in a chain": (optax.chain(optax.clip(1.0), injected(0.5)), {"learning_rate": 0.5}),
    "two in a chain": (
        optax.chain(injected(0.5), injected(0.25)),
        {"learning_rate/0": 0.5, "learning_rate/1": 0.25},
    ),
    "labels": (
        labelled(body=0.5, head=0.25),
        {"learning_rate/body": 0.5, "learning_rate/head": 0.25},
    ),
    "one inside another": (
        optax.inject_hyperparams(lambda learning_rate: injected(0.25))(learning_rate=0.5),
        {"learning_rate": 0.5},
    ),
    "plateau": (
        optax.chain(injected(0.5), optax.contrib.reduce_on_plateau()),
        {"learning_rate": 0.5, "plateau_scale": 1.0},
    ),
    "several steps": (optax.MultiSteps(injected(0.5), 2), {"learning_rate": 0.5}),
    "none": (optax.adam(0.5), {}),
}


@pytest.mark.parametrize("name", CASES)
def test_each_has_a_name(name: str):
    optimizer, wanted = CASES[name]
    found = hyperparameters(jax.jit(optimizer.init)(PARAMS))
    assert {name: float(value) for name, value in found.items()} == wanted
