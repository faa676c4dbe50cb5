"""Layers of Haiku and Equinox, against tables written by hand."""

from typing import Any

import equinox as eqx
import haiku as hk
import jax
import pytest

from tests.roles.dataflow.reading import floats, ids, roles_of

X, IMAGE, TOKENS = floats(2, 6, 4), floats(2, 8, 8, 4), ids(2, 3)
KEY = jax.random.key(0)

HAIKU: dict[str, tuple[Any, Any, dict[str, str]]] = {
    "MLP": (
        lambda x: hk.nets.MLP([5, 3])(x),
        X,
        {
            "mlp/~/linear_0/w": "kernel",
            "mlp/~/linear_0/b": "bias",
            "mlp/~/linear_1/w": "kernel",
            "mlp/~/linear_1/b": "bias",
        },
    ),
    "Conv2D": (
        lambda x: hk.Conv2D(6, 3)(x),
        IMAGE,
        {"conv2_d/w": "kernel", "conv2_d/b": "bias"},
    ),
    "DepthwiseConv2D": (
        lambda x: hk.DepthwiseConv2D(1, 3)(x),
        IMAGE,
        {"depthwise_conv2_d/w": "kernel", "depthwise_conv2_d/b": "bias"},
    ),
    "LayerNorm": (
        lambda x: hk.LayerNorm(-1, True, True)(x),
        X,
        {"layer_norm/scale": "scale", "layer_norm/offset": "bias"},
    ),
    "LSTM": (
        lambda x: hk.dynamic_unroll(cell := hk.LSTM(3), x, cell.initial_state(6))[0],
        X,
        {"lstm/linear/w": "kernel", "lstm/linear/b": "bias"},
    ),
    "GRU with a learned state": (
        lambda x: hk.dynamic_unroll(
            hk.GRU(3), x, hk.get_parameter("start", (6, 3), init=hk.initializers.RandomNormal())
        )[0],
        X,
        {"~/start": "embedding", "gru/w_i": "kernel", "gru/w_h": "kernel", "gru/b": "bias"},
    ),
    "MultiHeadAttention": (
        lambda x: hk.MultiHeadAttention(2, 2, w_init=hk.initializers.RandomNormal())(x, x, x),
        X,
        {
            f"multi_head_attention/{name}/{leaf}": role
            for name in ("query", "key", "value", "linear")
            for leaf, role in (("w", "kernel"), ("b", "bias"))
        },
    ),
    "Embed": (lambda i: hk.Embed(10, 4)(i), TOKENS, {"embed/embeddings": "embedding"}),
    "Embed, one-hot": (
        lambda i: hk.Embed(10, 4, lookup_style="ONE_HOT")(i),
        TOKENS,
        {"embed/embeddings": "embedding"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HAIKU)
def test_haiku(name: str):
    forward, x, truth = HAIKU[name]
    model = hk.transform(forward)
    params = jax.eval_shape(model.init, KEY, x)
    assert roles_of(model.apply, params, KEY, x) == truth


def unrolled(cell: Any, x: Any) -> Any:
    def step(state: Any, row: Any) -> tuple[Any, None]:
        return cell(row, state), None

    zeros = jax.numpy.zeros(3)
    start = (zeros, zeros) if isinstance(cell, eqx.nn.LSTMCell) else zeros
    return jax.lax.scan(step, start, x)[0]


def each(layer: Any, x: Any) -> Any:
    return jax.vmap(layer)(x)


EQUINOX: dict[str, tuple[Any, Any, Any, dict[str, str]]] = {
    "MLP": (
        eqx.nn.MLP(4, 3, 5, 1, key=KEY),
        each,
        floats(6, 4),
        {
            "layers/0/weight": "kernel",
            "layers/0/bias": "bias",
            "layers/1/weight": "kernel",
            "layers/1/bias": "bias",
        },
    ),
    "Conv2d": (
        eqx.nn.Conv2d(4, 6, 3, key=KEY),
        each,
        floats(2, 4, 8, 8),
        {"weight": "kernel", "bias": "bias"},
    ),
    "ConvTranspose2d": (
        eqx.nn.ConvTranspose2d(4, 6, 3, 2, key=KEY),
        each,
        floats(2, 4, 8, 8),
        {"weight": "kernel", "bias": "bias"},
    ),
    "LSTMCell": (
        eqx.nn.LSTMCell(4, 3, key=KEY),
        unrolled,
        floats(6, 4),
        {"weight_ih": "kernel", "weight_hh": "kernel", "bias": "bias"},
    ),
    "GRUCell": (
        eqx.nn.GRUCell(4, 3, key=KEY),
        unrolled,
        floats(6, 4),
        {"weight_ih": "kernel", "weight_hh": "kernel", "bias": "bias", "bias_n": "bias"},
    ),
    "MultiheadAttention": (
        eqx.nn.MultiheadAttention(2, 4, use_query_bias=True, use_output_bias=True, key=KEY),
        lambda layer, x: layer(x, x, x),
        floats(6, 4),
        {
            "query_proj/weight": "kernel",
            "query_proj/bias": "bias",
            "key_proj/weight": "kernel",
            "value_proj/weight": "kernel",
            "output_proj/weight": "kernel",
            "output_proj/bias": "bias",
        },
    ),
    "LayerNorm": (
        eqx.nn.LayerNorm(4),
        each,
        floats(6, 4),
        {"weight": "scale", "bias": "bias"},
    ),
    "RMSNorm": (
        eqx.nn.RMSNorm(4),
        each,
        floats(6, 4),
        {"weight": "scale", "bias": "bias"},
    ),
    "GroupNorm": (
        eqx.nn.GroupNorm(2, 4),
        each,
        floats(2, 4, 8),
        {"weight": "scale", "bias": "bias"},
    ),
    "Embedding": (eqx.nn.Embedding(10, 4, key=KEY), each, ids(6), {"weight": "embedding"}),
    "PReLU": (eqx.nn.PReLU(), each, floats(6, 4), {"negative_slope": "scale"}),
}


@pytest.mark.parametrize("name", EQUINOX)
def test_equinox(name: str):
    module, call, x, truth = EQUINOX[name]
    arrays, rest = eqx.partition(module, eqx.is_array)
    roles = roles_of(lambda arrays, x: call(eqx.combine(arrays, rest), x), arrays, x)
    assert roles == truth
