"""Small models with their truth, written without any library: what laws are tested over."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

__all__ = ["ZOO", "Model", "transformer", "transformer_params"]


class Model(NamedTuple):
    """A function of (params, inputs), shapes of parameters, inputs and the truth.

    `frozen` are the parameters that no gradient reaches.
    """

    fn: Callable[..., Any]
    shapes: dict[str, Any]
    inputs: tuple[Any, ...]
    truth: dict[str, str]
    frozen: tuple[str, ...] = ()

    def params(self, seed: int = 0) -> dict[str, Any]:
        """Return random parameters; integers where the shape starts with "int8"."""
        chance = np.random.default_rng(seed)
        return {name: _random(chance, shape) for name, shape in self.shapes.items()}


def _random(chance: np.random.Generator, shape: Any) -> np.ndarray:
    if shape and shape[0] == "int8":
        return chance.integers(-100, 100, shape[1:], np.int8)
    return np.asarray(0.5 * chance.normal(size=shape), np.float32)


def _data(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).normal(size=shape).astype(np.float32)


TOKENS = np.array([[3, 1, 4, 1, 5, 9], [2, 6, 5, 3, 5, 8]])


def norm(x, scale):
    return x * lax.rsqrt((x**2).mean(-1, keepdims=True) + 1e-6) * scale


def attend(q, k, v, bias=0.0):
    return jax.nn.softmax(jnp.einsum("...qd,...kd->...qk", q, k) + bias) @ v


def block(p, x):
    h = norm(x, p["norm"])
    x = x + attend(h @ p["q"] + p["qb"], h @ p["k"], h @ p["v"]) @ p["o"]
    return x + jax.nn.gelu(norm(x, p["mlp_norm"]) @ p["up"] + p["ub"]) @ p["down"] + p["db"]


BLOCK = {
    **dict.fromkeys("qkvo", ("kernel", (8, 8))),
    "qb": ("bias", (8,)),
    "norm": ("scale", (8,)),
    "mlp_norm": ("scale", (8,)),
    "up": ("kernel", (8, 16)),
    "ub": ("bias", (16,)),
    "down": ("kernel", (16, 8)),
    "db": ("bias", (8,)),
}


def mlp(p, x):
    return jax.nn.silu(x @ p["in"] + p["in_bias"]) @ p["out"] * p["gain"]


def convolutional(p, x):
    numbers = ("NHWC", "HWIO", "NHWC")
    x = lax.conv_general_dilated(x, p["first"], (1, 1), "SAME", dimension_numbers=numbers)
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    x = (x - mean) * lax.rsqrt(variance + 1e-5) * p["gamma"] + p["beta"]
    x = jnp.where(x > 0, x, p["slope"] * x)
    x = lax.conv_general_dilated(
        x, p["depth"], (2, 2), "SAME", dimension_numbers=numbers, feature_group_count=4
    )
    return x.mean((1, 2)) @ p["head"]


def transformer(p, tokens):
    """Layers are a list of dicts or, stacked, a dict that is scanned."""
    x = p["embed"][tokens] + p["positions"][: tokens.shape[1]]
    layers = p["layers"]
    if isinstance(layers, dict):
        x, _ = lax.scan(lambda x, layer: (block(layer, x), None), x, layers)
    else:
        for layer in layers:
            x = block(layer, x)
    return x @ p["embed"].T


def transformer_params(depth: int, seed: int = 0) -> dict[str, Any]:
    """Return parameters of a transformer whose layers are a list."""
    chance = np.random.default_rng(seed)

    def random(*shape: int) -> np.ndarray:
        return _random(chance, shape)

    return {
        "embed": random(10, 8),
        "positions": random(12, 8),
        "layers": [
            {n: random(*shape) for n, (_, shape) in BLOCK.items()} for _ in range(depth)
        ],
    }


def one_block(p, tokens):
    return transformer({**p, "layers": [p]}, tokens)


def vision(p, x):
    patches = x.reshape(2, 6, 8) @ p["patch"]
    token = jnp.broadcast_to(p["class"], (2, 1, 8))
    x = jnp.concatenate([token, patches], 1) + p["positions"]
    x = x + attend(x @ p["q"], x @ p["k"], x @ p["v"])
    return x[:, 0] @ p["head"]


def raw_positions(p, x):
    return mlp(p, x + p["positions"])


def detector(p, x):
    """Rows and columns of an image in channels-first order, then two token tables."""
    x = jnp.einsum("bchw,cd->bdhw", x, p["patch"])
    x = x + p["rows"][:, :, None] + p["columns"][:, None]
    x = x.reshape(2, 8, 6).swapaxes(1, 2) + p["whole"]
    return attend(x @ p["q"] + p["qb"], x @ p["k"], x @ p["v"], p["near"])


def bucketed(p, tokens):
    x = p["embed"][tokens]
    distance = jnp.clip(jnp.arange(6)[None] - jnp.arange(6)[:, None], -3, 3) + 3
    bias = p["near"][distance].transpose(2, 0, 1)
    heads = [(x @ p[n]).reshape(2, 6, 2, 4).swapaxes(1, 2) for n in "qkv"]
    return attend(*heads, bias).swapaxes(1, 2).reshape(2, 6, 8)


def recurrent(p, x):
    def step(h, row):
        z = jax.nn.sigmoid(row @ p["wz"] + h @ p["uz"] + p["bz"])
        h = (1 - z) * h + z * jnp.tanh(row @ p["wh"] + h @ p["uh"])
        return h, h

    return lax.scan(step, jnp.broadcast_to(p["start"], (2, 8)), x.swapaxes(0, 1))[1]


def state_space(p, x):
    """Mamba's block: a selective scan between two projections."""
    x, gate = jnp.split(x @ p["in"], 2, -1)
    padded = jnp.pad(x, ((0, 0), (3, 0), (0, 0)))
    x = sum(padded[:, i : i + 6] * p["conv"][i] for i in range(4)) + p["conv_bias"]
    x = jax.nn.silu(x)
    delta, b, c = jnp.split(x @ p["x_proj"], [2, 6], -1)
    delta = jax.nn.softplus(delta @ p["dt_proj"] + p["dt_bias"])
    a = -jnp.exp(p["a_log"])

    def step(h, row):
        x, delta, b, c = row
        h = jnp.exp(delta[..., None] * a) * h + (delta * x)[..., None] * b[:, None]
        return h, (h * c[:, None]).sum(-1)

    rows = jax.tree.map(lambda y: y.swapaxes(0, 1), (x, delta, b, c))
    _, y = lax.scan(step, jnp.zeros((2, 8, 4)), rows)
    y = y.swapaxes(0, 1) + x * p["d"]
    return (y * jax.nn.silu(gate)) @ p["out"]


def route(p, x):
    scores = jax.nn.sigmoid(x @ p["router"])
    _, chosen = lax.top_k(scores + p["correction"], 2)
    return jnp.take_along_axis(scores, chosen, -1), chosen


def gathered_experts(p, x):
    weights, chosen = route(p, x)
    h = jnp.einsum("td,tkdf->tkf", x, p["up"][chosen]) + p["up_bias"][chosen]
    h = (
        jnp.einsum("tkf,tkfd->tkd", jax.nn.silu(h), p["down"][chosen])
        + p["down_bias"][chosen]
    )
    return (h * weights[..., None]).sum(1)


def ragged_experts(p, x):
    weights, chosen = route(p, x)
    flat = chosen.reshape(-1)
    order = jnp.argsort(flat)
    sizes = jnp.bincount(flat, length=4)
    h = lax.ragged_dot(x[order // 2], p["up"], sizes) + p["up_bias"][flat[order]]
    h = lax.ragged_dot(jax.nn.silu(h), p["down"], sizes) + p["down_bias"][flat[order]]
    return (h[jnp.argsort(order)].reshape(6, 2, 8) * weights[..., None]).sum(1)


def dense_experts(p, x):
    weights, chosen = route(p, x)
    h = jnp.einsum("td,edf->tef", x, p["up"]) + p["up_bias"]
    h = jnp.einsum("tef,efd->ted", jax.nn.silu(h), p["down"]) + p["down_bias"]
    combine = jnp.einsum("tke,tk->te", jax.nn.one_hot(chosen, 4), weights)
    return jnp.einsum("te,ted->td", combine, h)


EXPERTS = {
    "router": (8, 4),
    "correction": (4,),
    "up": (4, 8, 16),
    "up_bias": (4, 16),
    "down": (4, 16, 8),
    "down_bias": (4, 8),
}
EXPERTS_TRUTH = {
    "router": "kernel",
    "correction": "bias",
    "up": "kernel",
    "up_bias": "bias",
    "down": "kernel",
    "down_bias": "bias",
}


def adapted(p, x):
    w = p["v"] * (p["g"] / jnp.linalg.norm(p["v"], axis=0)) + p["a"] @ p["b"]
    return (x @ w) @ (p["packed"].astype(jnp.float32) * p["step"])


def quantised(p, x):
    """The nearest vector of a codebook stands for each; gradients go straight through."""
    x = x @ p["in"]
    distance = (p["codes"] ** 2).sum(-1) - 2 * x @ p["codes"].T
    nearest = p["codes"][distance.argmin(-1)]
    return (x + lax.stop_gradient(nearest - x)) @ p["out"], (
        (lax.stop_gradient(x) - nearest) ** 2
    ).mean()


def generated(p, token):
    """Tokens that the network itself chooses, one after the other."""

    def step(token, _):
        x = p["embed"][token]
        x = x + jnp.tanh(norm(x, p["norm"]) @ p["mix"])
        logits = x @ p["embed"].T
        return logits.argmax(-1), logits

    return lax.scan(step, token, None, length=3)[1]


ZOO = {
    "mlp": Model(
        mlp,
        {"in": (8, 16), "in_bias": (16,), "out": (16, 4), "gain": (4,), "idle": (3,)},
        (_data(6, 8),),
        {"in": "kernel", "in_bias": "bias", "out": "kernel", "gain": "scale", "idle": "unused"},
    ),
    "convolutional": Model(
        convolutional,
        {"first": (3, 3, 2, 4), "gamma": (4,), "beta": (4,), "slope": (), "depth": (3, 3, 1, 4), "head": (4, 2)},
        (_data(2, 6, 6, 2),),
        {"first": "kernel", "gamma": "scale", "beta": "bias", "slope": "scale", "depth": "kernel", "head": "kernel"},
    ),
    "transformer": Model(
        one_block,
        {"embed": (10, 8), "positions": (12, 8)} | {n: shape for n, (_, shape) in BLOCK.items()},
        (TOKENS,),
        {"embed": "embedding", "positions": "embedding"} | {n: role for n, (role, _) in BLOCK.items()},
    ),
    "vision": Model(
        vision,
        {"patch": (8, 8), "class": (8,), "positions": (7, 8), "q": (8, 8), "k": (8, 8), "v": (8, 8), "head": (8, 2)},
        (_data(2, 48),),
        {"patch": "kernel", "class": "embedding", "positions": "embedding", "q": "kernel", "k": "kernel", "v": "kernel", "head": "kernel"},
    ),
    "raw_positions": Model(
        raw_positions,
        {"positions": (1, 6, 8), "in": (8, 16), "in_bias": (16,), "out": (16, 4), "gain": (4,)},
        (_data(1, 6, 8),),
        {"positions": "embedding", "in": "kernel", "in_bias": "bias", "out": "kernel", "gain": "scale"},
    ),
    "detector": Model(
        detector,
        {"patch": (3, 8), "rows": (8, 2), "columns": (8, 3), "whole": (6, 8), "q": (8, 8), "qb": (8,), "k": (8, 8), "v": (8, 8), "near": (6, 6)},
        (_data(2, 3, 2, 3),),
        {"patch": "kernel", "rows": "embedding", "columns": "embedding", "whole": "embedding", "q": "kernel", "qb": "bias", "k": "kernel", "v": "kernel", "near": "bias"},
    ),
    "bucketed": Model(
        bucketed,
        {"embed": (10, 8), "near": (7, 2), "q": (8, 8), "k": (8, 8), "v": (8, 8)},
        (TOKENS,),
        {"embed": "embedding", "near": "embedding", "q": "kernel", "k": "kernel", "v": "kernel"},
    ),
    "recurrent": Model(
        recurrent,
        {"wz": (4, 8), "uz": (8, 8), "bz": (8,), "wh": (4, 8), "uh": (8, 8), "start": (8,)},
        (_data(2, 6, 4),),
        {"wz": "kernel", "uz": "kernel", "bz": "bias", "wh": "kernel", "uh": "kernel", "start": "embedding"},
    ),
    "state_space": Model(
        state_space,
        {"in": (8, 16), "conv": (4, 8), "conv_bias": (8,), "x_proj": (8, 10), "dt_proj": (2, 8), "dt_bias": (8,), "a_log": (8, 4), "d": (8,), "out": (8, 8)},
        (_data(2, 6, 8),),
        {"in": "kernel", "conv": "scale", "conv_bias": "bias", "x_proj": "kernel", "dt_proj": "kernel", "dt_bias": "bias", "a_log": "scale", "d": "scale", "out": "kernel"},
    ),
    "gathered_experts": Model(gathered_experts, EXPERTS, (_data(6, 8),), EXPERTS_TRUTH, ("correction",)),
    "ragged_experts": Model(ragged_experts, EXPERTS, (_data(6, 8),), EXPERTS_TRUTH, ("correction",)),
    "dense_experts": Model(dense_experts, EXPERTS, (_data(6, 8),), EXPERTS_TRUTH, ("correction",)),
    "adapted": Model(
        adapted,
        {"v": (8, 8), "g": (8,), "a": (8, 2), "b": (2, 8), "packed": ("int8", 8, 4), "step": (4,)},
        (_data(6, 8),),
        dict.fromkeys(("v", "g", "a", "b", "packed", "step"), "kernel"),
        ("packed",),
    ),
    "quantised": Model(
        quantised,
        {"in": (8, 8), "codes": (4, 8), "out": (8, 2)},
        (_data(6, 8),),
        {"in": "kernel", "codes": "embedding", "out": "kernel"},
    ),
    "generated": Model(
        generated,
        {"embed": (10, 8), "norm": (8,), "mix": (8, 8)},
        (np.array([3, 1]),),
        {"embed": "embedding", "norm": "scale", "mix": "kernel"},
    ),
}  # fmt: skip
