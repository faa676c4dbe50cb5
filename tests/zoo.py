"""One of every kind of tree and module that explorer reads; laws are tested on all of them.

All are small, and none has shared arrays: sharing has separate tests.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import core, nnx, struct
from flax import linen as nn
from flax.training.train_state import TrainState

__all__ = ["LINEN", "NNX", "PARAMETERS", "TREES", "Config", "Pair"]

KEY = partial(jax.random.key, 0)


class Pair(NamedTuple):
    """A NamedTuple node."""

    bias: Any
    kernel: Any


@struct.dataclass
class Block:
    """A Flax dataclass with a static field."""

    kernel: Any
    bias: Any
    name: str = struct.field(pytree_node=False, default="block")


@jax.tree_util.register_dataclass
@dataclass
class Layer:
    """A dataclass registered with JAX."""

    kernel: Any
    bias: Any


@dataclass
class Config:
    """A dataclass that is not registered with JAX."""

    kernel: Any
    bias: Any


def array(*shape: int, dtype: Any = jnp.float32) -> jax.Array:
    """Return a new array of a shape."""
    return jnp.ones(shape, dtype)


class MLP(nn.Module):
    """Dense, batch norm, dropout, dense."""

    @nn.compact
    def __call__(self, x, train: bool = False):
        x = nn.BatchNorm(use_running_average=not train)(nn.Dense(4)(x))
        x = nn.Dropout(0.5, deterministic=not train)(nn.relu(x))
        return nn.Dense(2, name="head")(x)


class Attention(nn.Module):
    """Tokens to logits, with a cache, a shared embedding and an own random stream."""

    @nn.compact
    def __call__(self, tokens):
        embed = nn.Embed(7, 4)
        x = embed(tokens)
        x = nn.MultiHeadDotProductAttention(2, qkv_features=4, decode=True)(
            nn.LayerNorm()(x)
        )
        noise = jax.random.normal(self.make_rng("noise"), x.shape)
        return embed.attend(x + noise)


def boxed(wrap: Callable = nn.with_partitioning) -> nn.Module:
    """Return a module whose kernel is boxed with the names of its axes."""
    return nn.Dense(3, kernel_init=wrap(nn.initializers.lecun_normal(), ("embed", "mlp")))


def variables(module: nn.Module, *inputs: Any, **kwargs: Any) -> Any:
    """Return a Linen module's variables."""
    keys = {"params": KEY(), "dropout": KEY()}
    return module.init(keys, *inputs, **kwargs)


def params(module: nn.Module | None = None) -> Any:
    """Return parameters of a Linen module."""
    return variables(module or MLP(), array(1, 3))["params"]


def train_state() -> TrainState:
    """Return a state with moments."""
    return TrainState.create(apply_fn=MLP().apply, params=params(), tx=optax.adamw(1e-3))


def haiku_params() -> Any:
    """Return parameters by module names with slashes."""
    net = hk.transform(lambda x: hk.nets.MLP([4, 2])(hk.LayerNorm(-1, True, True)(x)))
    return net.init(KEY(), array(1, 3))


class Perceptron(nnx.Module):
    """NNX: parameters, statistics, random state, adapters, a bare array, containers."""

    def __init__(self, rngs: nnx.Rngs):
        self.blocks = nnx.List([nnx.Linear(3, 3, rngs=rngs) for _ in range(11)])
        self.norm = nnx.BatchNorm(3, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.lora = nnx.LoRA(3, 2, 3, rngs=rngs)
        self.table = nnx.Embed(5, 3, rngs=rngs)
        self.frequencies = jnp.ones(4)
        self.activation = nnx.relu


class Stateful(nnx.Module):
    """NNX: every Variable type that is not a parameter, and a user-defined one."""

    def __init__(self):
        self.cache = nnx.Cache(jnp.zeros((2, 3)))
        self.seen = nnx.Intermediate(jnp.zeros(3))
        self.average = ShadowWeights(jnp.zeros(3))
        self.gain = Gain(jnp.ones(3))
        self.table = nnx.Variable({"a": jnp.zeros(2), "b": jnp.zeros(3)})


class ShadowWeights(nnx.Variable):
    """A Variable type that NNX does not define."""


class Gain(nnx.Param):
    """A parameter by its class."""


# Trees of untied floating-point parameters: what `ravel_pytree` flattens is what counts.
PARAMETERS: dict[str, Callable[[], Any]] = {
    "dict": lambda: {"dense": {"kernel": array(2, 3), "bias": array(3)}},
    "lists and tuples": lambda: [array(2), (array(3, 1), [array(2, 2)])],
    "namedtuple": lambda: {"layer": Pair(array(3), array(2, 3))},
    "ordered dict": lambda: OrderedDict(kernel=array(2, 3), bias=array(3)),
    "defaultdict": lambda: defaultdict(
        dict, b={"bias": array(3)}, a={"kernel": array(2, 3)}
    ),
    "frozen dict": lambda: core.freeze(
        {"dense": {"kernel": array(2, 3), "bias": array(3)}}
    ),
    "flax dataclass": lambda: {"block": Block(array(2, 3), array(3))},
    "jax dataclass": lambda: [Layer(array(2, 3), array(3))],
    "none leaves": lambda: {"kernel": array(2, 3), "bias": None, "more": [None, array(3)]},
    "empty nodes": lambda: {"a": {}, "b": [], "c": (), "kernel": array(2)},
    "one array": lambda: array(2, 3),
    "nothing": dict,
    "integer keys": lambda: {10: array(2), 9: {"kernel": array(2, 3)}},
    "odd names": lambda: {"a/b": {"c.d": array(2)}, "": array(3), "\x1b[1m": array(1)},
    "numpy": lambda: {
        "kernel": np.ones((2, 3), np.float32),
        "bias": np.ones(3, np.float16),
    },
    "numpy scalars": lambda: {"scale": np.float32(2), "bias": np.float16(3)},
    "numbers": lambda: {"scale": 2.0, "bias": [0.5, 1.5]},
    "no elements": lambda: {"kernel": array(0, 3), "bias": array(3)},
    "no axes": lambda: {"scale": array(), "bias": array(3)},
    "bfloat16": lambda: {"kernel": array(2, 3, dtype=jnp.bfloat16)},
    "linen": params,
    "haiku": haiku_params,
    "nnx": lambda: nnx.to_pure_dict(nnx.state(Perceptron(nnx.Rngs(0)), nnx.Param)),
    "equinox": lambda: eqx.filter(eqx.nn.MLP(2, 3, 4, 1, key=KEY()), eqx.is_array),
}

# Trees that hold other formats, state, or boxes as well.
TREES: dict[str, Callable[[], Any]] = PARAMETERS | {
    "formats": lambda: {
        name: jnp.zeros((3, 2), name)
        for name in (
            "int4",
            "uint4",
            "float8_e4m3fn",
            "float8_e5m2",
            "float4_e2m1fn",
            "bool",
        )
    },
    "integers": lambda: {
        "params": {"ids": array(4, dtype=jnp.int32), "kernel": array(2, 3)}
    },
    "all numbers": lambda: {"a": True, "b": 1, "c": 1.0, "d": 1j},
    "keys": lambda: {
        "rng": KEY(),
        "more": jax.random.split(KEY(), 3),
        "old": jnp.zeros(2, "u4"),
    },
    "linen variables": lambda: variables(MLP(), array(1, 3)),
    "linen cache": lambda: variables(Attention(), jnp.zeros((1, 5), jnp.int32)),
    "boxed": lambda: params(boxed()),
    "logically boxed": lambda: params(boxed(nn.with_logical_partitioning)),
    "train state": train_state,
    "adamw": lambda: optax.adamw(1e-3).init(params()),
    "sgd": lambda: optax.sgd(1e-3).init(params()),
    "masked": lambda: optax.masked(optax.adam(1e-3), {"a": True, "b": False}).init(
        {"a": array(2), "b": array(3)}
    ),
}

LINEN: dict[str, tuple[nn.Module, tuple[Any, ...], dict[str, Any]]] = {
    "mlp": (MLP(), (array(1, 3),), {}),
    "mlp in training": (MLP(), (array(1, 3),), {"train": True}),
    "attention": (Attention(), (jnp.zeros((1, 5), jnp.int32),), {}),
    "boxed": (boxed(), (array(1, 2),), {}),
}

NNX: dict[str, Callable[[], Any]] = {
    "perceptron": lambda: Perceptron(nnx.Rngs(0)),
    "stateful": Stateful,
    "rngs": lambda: nnx.Rngs(0, dropout=1),
    "optimizer": lambda: nnx.Optimizer(
        nnx.Linear(2, 3, rngs=nnx.Rngs(0)), optax.adam(1e-3), wrt=nnx.Param
    ),
}
