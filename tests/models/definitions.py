"""Layers by their definition, in float64 NumPy, and values to put in."""

import math
from typing import Any

import jax
import numpy as np

from explorer.architectures.specs import LinearSpec, MlpSpec

__all__ = [
    "ACTIVATIONS",
    "mlp_of",
    "mlp_spec",
    "randomised",
    "sample",
    "sigmoid",
    "softmax",
]


def sample(*shape: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    """Return normal values in float32."""
    values = np.random.default_rng(seed).normal(scale=scale, size=shape)
    return values.astype(np.float32)


def randomised(params: Any, seed: int = 0) -> Any:
    """Return parameters of the same shapes with no zeros and ones among them."""
    leaves, tree = jax.tree.flatten(params)
    filled = [
        sample(*leaf.shape, seed=seed + i, scale=0.5) for i, leaf in enumerate(leaves)
    ]
    return jax.tree.unflatten(tree, filled)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


ACTIVATIONS = {
    "gelu": lambda x: x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
    "gelu_tanh": lambda x: x * sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)),
    "quick_gelu": lambda x: x * sigmoid(1.702 * x),
    "silu": lambda x: x * sigmoid(x),
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "identity": lambda x: x,
}


def mlp_of(spec: MlpSpec, params: dict, x: np.ndarray) -> np.ndarray:
    """Return what a feed-forward network gives, in float64."""

    def linear(name: str, y: np.ndarray) -> np.ndarray:
        return y @ params[name]["kernel"].astype(np.float64) + params[name].get("bias", 0)

    up, act = linear("up_proj", x), ACTIVATIONS[spec.activation]
    if spec.gate_proj is None:
        return linear("down_proj", act(up))
    gate, limit = linear("gate_proj", x), spec.limit or np.inf
    up = np.clip(up, -limit, limit)
    return linear("down_proj", act(np.minimum(gate, limit)) * (up + spec.up_offset))


def mlp_spec(gated: bool, bias: bool = False, stack: int = 0, **rest) -> MlpSpec:
    wide = LinearSpec(4, 5, bias, stack)
    return MlpSpec(
        gate_proj=wide if gated else None,
        up_proj=wide,
        down_proj=LinearSpec(5, 4, bias, stack),
        **rest,
    )
