"""One small network in NNX and in Equinox, with dropout, statistics and annotated axes."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from flax import nnx

INPUTS, WIDTH, OUTPUTS = 4, 16, 3


class Network(nnx.Module):
    """Two layers; the first kernel's axes are annotated."""

    def __init__(
        self, *, rngs: nnx.Rngs, dropout: float = 0.1, axes: Any = (None, "tensor")
    ):
        init = nnx.with_partitioning(nnx.initializers.lecun_normal(), axes)
        self.up = nnx.Linear(INPUTS, WIDTH, kernel_init=init, rngs=rngs)
        self.norm = nnx.BatchNorm(WIDTH, rngs=rngs)
        self.dropout = nnx.Dropout(dropout, rngs=rngs)
        self.layers = nnx.List([nnx.Linear(WIDTH, OUTPUTS, rngs=rngs)])

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.layers[0](nnx.relu(self.dropout(self.norm(self.up(x)))))


class Perceptron(eqx.Module):
    """Two layers of Equinox, and a number that is static."""

    layers: list
    scale: float

    def __init__(self, key: jax.Array):
        one, two = jax.random.split(key)
        self.layers = [
            eqx.nn.Linear(INPUTS, WIDTH, key=one),
            eqx.nn.Linear(WIDTH, OUTPUTS, key=two),
        ]
        self.scale = 0.5

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.scale * self.layers[1](jax.nn.relu(self.layers[0](x)))


def squares(model: Any, batch: Any, context: Any) -> Any:
    """Return the mean squared error of a module, and a metric."""
    x, y = batch
    call: Any = model
    if isinstance(model, eqx.Module):
        call = jax.vmap(call)
    found = call(x)
    return jnp.square(found - y).mean(), {"mean": found.mean()}


def points(count: int = 16, seed: int = 0) -> tuple[jax.Array, jax.Array]:
    """Return inputs and what is to be learned of them."""
    x = jax.random.normal(jax.random.key(seed), (count, INPUTS))
    return x, jnp.tanh(x @ jnp.arange(INPUTS * OUTPUTS).reshape(INPUTS, OUTPUTS) / 6)
