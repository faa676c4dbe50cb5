"""Models of a few hundred parameters, their losses and batches, for the laws of training."""

from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from explorer.architectures.families import architecture_of
from explorer.models.small import LinearRegression, MultilayerPerceptron
from explorer.models.transformer import Transformer
from explorer.training.step.outcome import Context
from explorer.training.step.state import TrainState, create_state


class Steps(NamedTuple):
    """What `fit` needs of a trainer: any step, and the watch inside it."""

    step: Any
    watch: Any = None


LINE = LinearRegression()
NETWORK = MultilayerPerceptron((8, 4))
KEY = jax.random.key(0)
LLAMA = {
    "model_type": "llama",
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_attention_heads": 4,
    "vocab_size": 32,
}


class Normalised(nn.Module):
    """A layer between whose inputs and outputs there are dropout and a batch norm."""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = nn.Dropout(0.5, deterministic=not train)(nn.Dense(8)(x))
        return nn.Dense(1)(nn.BatchNorm(use_running_average=not train)(x))


def llama(scan: bool, layers: int = 2) -> Transformer:
    """Return a decoder, its layers unrolled or stacked."""
    config = {**LLAMA, "num_hidden_layers": layers}
    return Transformer(architecture_of(config), scan=scan)


def mixtral() -> Transformer:
    """Return a decoder of one layer, whose MLP is four experts."""
    config = {**LLAMA, "model_type": "mixtral", "num_hidden_layers": 1}
    config |= {"num_local_experts": 4, "num_experts_per_tok": 2, "num_key_value_heads": 4}
    return Transformer(architecture_of(config))


def squares(module: nn.Module) -> Any:
    """Return a loss function: the mean square of what the module misses."""

    def loss_fn(params: Any, batch: Any, context: Context) -> Any:
        x, y = batch
        missed = module.apply({"params": params}, x) - y
        return jnp.square(missed).mean(), {"missed": jnp.abs(missed).mean()}

    return loss_fn


def next_token(module: nn.Module) -> Any:
    """Return a loss function: the cross-entropy of every next token."""

    def loss_fn(params: Any, batch: Any, context: Context) -> Any:
        logits = module.apply({"params": params}, batch[:, :-1]).logits
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch[:, 1:]).mean()

    return loss_fn


def noisy(module: nn.Module) -> Any:
    """Return a loss function that draws from the step's key and moves batch statistics."""

    def loss_fn(params: Any, batch: Any, context: Context) -> Any:
        x, y = batch
        predicted, moved = module.apply(
            {"params": params, "batch_stats": context.batch_stats},
            x,
            train=context.train,
            mutable=["batch_stats"],
            rngs={"dropout": context.rng},
        )
        return jnp.square(predicted - y).mean(), {}, moved["batch_stats"]

    return loss_fn


def points(count: int, *, seed: int = 0, outputs: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Return examples of NETWORK and what it should make of them."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 6)).astype(np.float32)
    return x, rng.normal(size=(count, outputs)).astype(np.float32)


def batches(steps: int, count: int = 8) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return a batch for each of some steps."""
    return [points(count, seed=step) for step in range(steps)]


def stacked(parts: list[Any]) -> Any:
    """Return trees as one, along a new first axis."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *parts)


def tokens(count: int, length: int = 9) -> np.ndarray:
    """Return rows of tokens of `llama`."""
    return np.random.default_rng(0).integers(0, 32, (count, length)).astype(np.int32)


def first_state(
    module: nn.Module, optimizer: Any, *inputs: Any, **options: Any
) -> TrainState:
    """Return the same first state at each call."""
    return create_state(module, optimizer, KEY, *inputs, **options)


def network_state(optimizer: Any) -> TrainState:
    """Return the first state of NETWORK, drawn once for all tests."""
    params = jax.device_put(_network_params())
    opt_state = optimizer.init(params)
    return TrainState(
        jnp.zeros((), jnp.int32), params, opt_state, jax.random.key(1), {}, jnp.array(False)
    )


@cache
def _network_params() -> Any:
    with jax.ensure_compile_time_eval():  # values, also where shapes are asked for first
        return jax.device_get(NETWORK.init(KEY, points(1)[0])["params"])
