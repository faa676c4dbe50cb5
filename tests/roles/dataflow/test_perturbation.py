"""Reached and differentiable, against what changing a parameter and a gradient really do."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from tests.roles.dataflow.reading import records_of
from tests.roles.dataflow.zoo import ZOO

SEEDS = range(3)
pytestmark = pytest.mark.slow  # runs every program of the zoo many times


def change(leaf: np.ndarray, seed: int) -> np.ndarray:
    chance = np.random.default_rng(100 + seed)
    if np.issubdtype(leaf.dtype, np.integer):
        return leaf + chance.integers(1, 9, leaf.shape, leaf.dtype)
    return np.asarray(leaf + 3 * chance.normal(size=leaf.shape), leaf.dtype)


def changes_outputs(fn: Callable, params: dict[str, Any], inputs: tuple, name: str) -> bool:
    """Return whether another value of a parameter makes another output."""
    before = jax.device_get(jax.tree.leaves(fn(params, *inputs)))
    for seed in SEEDS:
        changed = fn({**params, name: change(params[name], seed)}, *inputs)
        after = jax.device_get(jax.tree.leaves(changed))
        if any((a != b).any() for a, b in zip(before, after, strict=True)):
            return True
    return False


def gradients(fn: Callable, params: dict[str, Any], inputs: tuple) -> dict[str, bool]:
    """Return for every parameter whether its gradient is not all zeros."""
    learned = {n: p for n, p in params.items() if np.issubdtype(p.dtype, np.inexact)}

    def loss(learned: dict[str, Any], inputs: tuple) -> Any:
        outputs = jax.tree.leaves(fn({**params, **learned}, *inputs))
        chance = np.random.default_rng(3)
        return sum((x * chance.normal(size=x.shape)).sum() for x in outputs)

    found = jax.device_get(jax.jit(jax.grad(loss))(learned, inputs))
    return {n: n in learned and bool((found[n] != 0).any()) for n in params}


def check(fn: Callable, params: dict[str, Any], inputs: tuple) -> None:
    records = records_of(fn, params, *inputs)
    compiled = jax.jit(fn)
    assert {n: record.reached for n, record in records.items()} == {
        n: changes_outputs(compiled, params, inputs, n) for n in params
    }
    assert {n: r.differentiable for n, r in records.items()} == gradients(
        fn, params, inputs
    )


@pytest.mark.parametrize("name", ZOO)
def test_the_zoo(name: str):
    model = ZOO[name]
    check(model.fn, model.params(), model.inputs)
    records = records_of(model.fn, model.params(), *model.inputs)
    learned = {n for n, role in model.truth.items() if role != "unused"} - {*model.frozen}
    assert {n for n, record in records.items() if record.differentiable} == learned


@jax.custom_vjp
def straight_through(x):
    return jnp.round(4 * x) / 4


straight_through.defvjp(lambda x: (straight_through(x), None), lambda _, g: (g,))


@jax.custom_vjp
def no_gradient(x, y):
    return x * y


no_gradient.defvjp(lambda x, y: (x * y, x), lambda x, g: (jnp.zeros_like(g), g * x))


def cuts(p, x):
    x = x @ lax.stop_gradient(p["stopped"]) + straight_through(p["rounded"])
    x = (
        no_gradient(jnp.broadcast_to(p["hidden"], x.shape), x)
        + jnp.floor(p["floored"])
        + p["added"]
    )
    chosen = jax.nn.one_hot((x @ p["scores"]).argmax(-1), 4)
    gate = jnp.where((p["gate"] > 0).any(), x, 0.5 * x)
    return gate + chosen, (x @ p["sorted"]).argsort()


def loops(p, x):
    def body(carry):
        h, steps, idle = carry
        return h * p["decay"] + p["step"], steps + 1, idle * p["idle"]

    def again(carry):
        return (carry[1] < 3) & (jnp.abs(carry[0]).max() < 1e9)

    h, *_ = jax.lax.scan(lambda c, _: (body(c), None), (x, 0, x), None, length=3)[0]
    bounded = lax.stop_gradient(lax.while_loop(again, body, (x, 0, x))[0])
    sign = lax.cond(p["which"] > 0, lambda x: x, lambda x: x + p["shift"], h + bounded)
    return sign * jnp.zeros(4) * p["lost"] + sign


@pytest.mark.parametrize(
    ("fn", "names"),
    [
        (cuts, {"stopped": (4, 4), "rounded": (4,), "hidden": (4,), "floored": (4,), "added": (4,),
                "scores": (4, 4), "gate": (4,), "sorted": (4,)}),
        (loops, {"decay": (4,), "step": (4,), "idle": (4,), "which": (), "shift": (4,), "lost": (4,)}),
    ],
)  # fmt: skip
def test_cuts_and_loops(fn: Callable, names: dict[str, tuple]):
    chance = np.random.default_rng(5)
    params = {
        name: np.asarray(-np.abs(chance.normal(size=shape)), np.float32)
        for name, shape in names.items()
    }
    check(fn, params, (chance.normal(size=(6, 4)).astype(np.float32),))
