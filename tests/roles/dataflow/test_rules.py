"""Every rule: the role of a parameter that an operation combines with data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from tests.roles.dataflow.reading import floats, ids, manners_of, records_of, roles_of

X = floats(6, 4)


# ---- followed: shapes, formats, and functions of parameters alone


@pytest.mark.parametrize(
    "through",
    [
        lambda w: w.T.T,
        lambda w: w.reshape(16).reshape(4, 4),
        lambda w: w.astype(jnp.bfloat16).astype(jnp.float32),
        lambda w: jnp.flip(w)[::-1],
        lambda w: jnp.concatenate([w[:2], w[2:]]),
        lambda w: w + 0.0 * w.sum(),
        lambda w: jnp.where(jnp.tril(jnp.ones((4, 4), bool)), w, 0.0),
        lambda w: w * np.eye(4, dtype=np.float32),
        lambda w: -jnp.exp(w),
        lambda w: 1 + w,
        lambda w: w / jnp.linalg.norm(w, axis=0),
        lambda w: jnp.linalg.inv(w),
        lambda w: jax.nn.softmax(w),
        lambda w: jnp.linalg.qr(w)[0],
        lambda w: jnp.sort(w),
        lambda w: lax.top_k(w, 4)[0],
        lambda w: jnp.cumsum(w, axis=0),
        lambda w: jnp.fft.ifft(jnp.fft.fft(w)).real,
        lambda w: w[jnp.array([3, 1, 2, 0])],
        lambda w: jnp.stack(jnp.unstack(w)),
        lambda w: jnp.log2(jnp.polyval(jnp.arange(3.0), w)),
    ],
)
def test_a_function_of_parameters_alone_is_followed(through):
    assert roles_of(lambda p, x: x @ through(p["w"]), {"w": floats(4, 4)}, X) == {
        "w": "kernel"
    }


def test_a_gain_stored_less_one_is_a_scale():
    assert roles_of(lambda p, x: x * (1 + p["s"]), {"s": floats(4)}, X) == {"s": "scale"}


def test_weight_norm_lora_and_dequantisation_make_kernels():
    def weight_norm(p, x):
        return x @ (p["g"] * p["v"] / jnp.linalg.norm(p["v"], axis=0))

    def lora(p, x):
        return x @ (p["w"] + 0.5 * p["a"] @ p["b"])

    def dequantised(p, x):
        return x @ ((p["q"].astype(jnp.float32) - p["zero"]) * p["scales"])

    assert roles_of(weight_norm, {"g": floats(3), "v": floats(4, 3)}, X) == {
        "g": "kernel",
        "v": "kernel",
    }
    factors = {"w": floats(4, 6), "a": floats(4, 2), "b": floats(2, 6)}
    assert manners_of(lora, factors, X) == {
        "a": ["composed", "contracted"],
        "b": ["composed", "contracted"],
        "w": ["contracted"],
    }
    packed = {
        "q": jax.ShapeDtypeStruct((4, 6), jnp.int8),
        "zero": floats(6),
        "scales": floats(6),
    }
    records = records_of(dequantised, packed, X)
    assert {record.role for record in records.values()} == {"kernel"}
    assert not records["q"].differentiable
    assert records["scales"].differentiable


def test_noise_on_a_weight_is_not_data():
    def fn(p, key, x):
        return x @ (p["mean"] + p["spread"] * jax.random.normal(key, (4, 4)))

    params = {"mean": floats(4, 4), "spread": floats(4, 4)}
    for key in (jax.random.key(0), jax.random.PRNGKey(0)):
        assert set(roles_of(fn, params, key, X).values()) == {"kernel"}


def test_noise_that_is_projected_is_the_stream():
    def generator(p, key):
        return jnp.tanh(jax.random.normal(key, (6, 4)) @ p["w"] + p["b"]) * p["s"]

    params = {"w": floats(4, 4), "b": floats(4), "s": floats(4)}
    assert roles_of(generator, params, jax.random.key(0)) == {
        "w": "kernel",
        "b": "bias",
        "s": "scale",
    }


def test_what_a_function_without_inputs_closes_over_is_its_data():
    batch = np.ones((6, 4), np.float32)
    params = {"w": floats(4, 3), "b": floats(3)}
    roles = roles_of(lambda p: ((batch @ p["w"] + p["b"]) ** 2).mean(), params)
    assert roles == {"w": "kernel", "b": "bias"}


# ---- combined with data


@pytest.mark.parametrize(
    ("role", "manner", "operation"),
    [
        ("kernel", "contracted", lambda x, w: x @ w),
        ("kernel", "contracted", lambda x, w: w @ x.T),
        ("kernel", "contracted", lambda x, w: jnp.einsum("ti,ij,tj->t", x, w, x)),
        ("kernel", "contracted", lambda x, w: jnp.linalg.solve(w, x.T)),
        ("scale", "multiplied", lambda x, w: x[:4] * w),
        ("scale", "multiplied", lambda x, w: x[:4] / w),
        ("scale", "multiplied", lambda x, w: w / x[:4]),
        ("scale", "multiplied", lambda x, w: jnp.einsum("ij,ij->ij", x[:4], w)),
        ("bias", "added", lambda x, w: x[:4] + w),
        ("bias", "added", lambda x, w: w - x[:4]),
        ("bias", "added", lambda x, w: x.at[:4].add(w)),
        ("bias", "added", lambda x, w: jnp.polyval(w[0], x)),
        ("scale", "multiplied", lambda x, w: jnp.polyval(x[0], w)),
        ("embedding", "placed", lambda x, w: jnp.stack([x[:4], w])),
        ("other", "other", lambda x, w: jnp.maximum(x[:4], w)),
        ("other", "other", lambda x, w: jnp.where(x[:4] > w, x[:4], 0)),
        ("other", "other", lambda x, w: x[:4] ** w),
    ],
)
def test_operations_with_data(role, manner, operation):
    (record,) = records_of(
        lambda p, x: operation(x, p["w"]), {"w": floats(4, 4)}, X
    ).values()
    assert record.role == role
    assert manner in {use.manner for use in record.uses}


def test_convolutions():
    def fn(p, x):
        x = lax.conv_general_dilated(
            x, p["k"], (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")
        )
        return lax.conv_transpose(x + p["b"], p["up"], (2,), "SAME", dimension_numbers=("NWC", "WIO", "NWC"))  # fmt: skip

    params = {"k": floats(3, 4, 8), "b": floats(8), "up": floats(3, 8, 2)}
    assert roles_of(fn, params, floats(2, 6, 4)) == {
        "k": "kernel",
        "b": "bias",
        "up": "kernel",
    }


def test_a_product_of_two_spectra_is_a_convolution():
    def fn(p, x):
        spectrum = jnp.fft.rfft(x, 8)
        long = jnp.fft.irfft(spectrum * jnp.fft.rfft(p["kernel"], 8))[:, :4]
        return long + jnp.fft.irfft(spectrum * p["mask"])[:, :4] + p["skip"] * x

    params = {"kernel": floats(4), "mask": floats(5), "skip": floats(4)}
    assert roles_of(fn, params, X) == {"kernel": "kernel", "mask": "scale", "skip": "scale"}


# ---- embeddings


@pytest.mark.parametrize(
    "look",
    [
        lambda table, i: table[i],
        lambda table, i: jnp.take(table, i, axis=0),
        lambda table, i: jax.nn.one_hot(i, 10) @ table,
        lambda table, i: jnp.eye(10)[i] @ table,
        lambda table, i: (i[:, None] == jnp.arange(10)).astype(jnp.float32) @ table,
        lambda table, i: jax.vmap(lambda one: table[one])(i),
        lambda table, i: lax.dynamic_index_in_dim(table, i[0]),
        lambda table, i: lax.map(lambda one: table[one], i),
        lambda table, i: jnp.stack([jax.nn.one_hot(i, 10)] * 2) @ table,
    ],
)
def test_lookups(look):
    params, tokens = {"table": floats(10, 4)}, ids(6)
    assert manners_of(lambda p, i: look(p["table"], i), params, tokens) == {
        "table": ["looked up"]
    }

    def tied(p, i):
        return look(p["table"], i) @ p["table"].T

    record = records_of(tied, params, tokens)["table"]
    assert (record.role, record.tied) == ("embedding", True)
    assert [use.role for use in record.uses] == ["embedding", "kernel"]


def test_positions_are_embeddings_sliced_indexed_or_whole():
    def fn(p, x):
        rows = p["sliced"][:6] + p["indexed"][jnp.arange(6)]
        rows += jnp.tile(p["tiled"][:3], (2, 1)) + jnp.stack(
            jnp.unstack(p["restacked"][:6])
        )
        return x + rows + p["sliced_stack"][1, :6] + p["whole"]

    params = {
        "sliced": floats(9, 4),
        "indexed": floats(6, 4),
        "sliced_stack": floats(3, 9, 4),
        "tiled": floats(9, 4),
        "restacked": floats(9, 4),
        "whole": floats(6, 4),
    }
    assert roles_of(fn, params, X) == {
        "sliced": "embedding",
        "indexed": "embedding",
        "sliced_stack": "embedding",
        "tiled": "embedding",
        "restacked": "embedding",
        "whole": "embedding",
    }


def test_positions_from_a_cursor_are_looked_up():
    def fn(p, x, at):
        return x + lax.dynamic_slice_in_dim(p["table"], at, 6) + p["table"][at]

    assert manners_of(fn, {"table": floats(9, 4)}, X, ids()) == {"table": ["looked up"] * 2}


def test_resized_positions_are_what_they_were():
    def fn(p, x):
        return x + jax.image.resize(p["table"][1:], (6, 4), "linear")

    assert roles_of(fn, {"table": floats(10, 4)}, X) == {"table": "embedding"}


def test_parts_of_a_bias_are_not_positions():
    def fn(p, x):
        shift, gain = p["b"][:4], p["b"][4:]
        return (
            x * gain
            + shift
            + p["stack"][0]
            + p["stack"][1]
            + p["order"][jnp.array([1, 0, 3, 2])]
        )

    params = {"b": floats(8), "stack": floats(2, 4), "order": floats(4)}
    assert manners_of(fn, params, X) == {
        "b": ["multiplied", "added"],
        "stack": ["added", "added"],
        "order": ["added"],
    }


def test_tokens_that_are_placed():
    def fn(p, x, hidden):
        x = jnp.where(hidden[:, None], p["mask"], x)
        x = jnp.concatenate([p["class"], x])
        return jnp.zeros((8, 4)).at[0].set(p["register"]).at[1:].set(x)

    params = {"mask": floats(4), "class": floats(1, 4), "register": floats(4)}
    hidden = jax.ShapeDtypeStruct((6,), bool)
    assert manners_of(fn, params, X, hidden) == {key: ["placed"] for key in params}
    assert set(roles_of(fn, params, X, hidden).values()) == {"embedding"}


def test_a_bias_under_a_mask_is_a_bias():
    def fn(p, x, on):
        return x + jnp.where(on[:, None], p["b"], 0.0)

    assert roles_of(fn, {"b": floats(4)}, X, jax.ShapeDtypeStruct((6,), bool)) == {
        "b": "bias"
    }


# ---- attention


def scores(p, x):
    return jnp.einsum("qd,kd->qk", x @ p["query"], x @ p["key"])


@pytest.mark.parametrize(
    "attend",
    [
        lambda s, sink: jax.nn.softmax(jnp.concatenate([s, jnp.broadcast_to(sink, (6, 1))], -1))[:, :-1],
        lambda s, sink: jnp.exp(s - jnp.logaddexp(jax.nn.logsumexp(s, -1, keepdims=True), sink)),
        lambda s, sink: jnp.exp(s - jnp.maximum(s.max(-1, keepdims=True), sink)),
    ],
)  # fmt: skip
def test_sinks_are_neither_weights_of_the_stream_nor_biases(attend):
    params = {"query": floats(4, 4), "key": floats(4, 4), "sink": floats(1)}
    roles = roles_of(lambda p, x: attend(scores(p, x), p["sink"]) @ x, params, X)
    assert roles == {"query": "kernel", "key": "kernel", "sink": "other"}


def test_temperature_and_relative_biases():
    def fn(p, x):
        distance = jnp.clip(jnp.arange(6)[None] - jnp.arange(6)[:, None], -3, 3) + 3
        logits = scores(p, x) * jnp.exp(p["temperature"])
        return jax.nn.softmax(logits + p["near"][distance] + p["every"]) @ x

    params = {
        "query": floats(4, 4),
        "key": floats(4, 4),
        "temperature": floats(),
        "near": floats(7),
        "every": floats(6, 6),
    }
    assert roles_of(fn, params, X) == {
        "query": "kernel",
        "key": "kernel",
        "temperature": "scale",
        "near": "embedding",
        "every": "bias",
    }


# ---- several uses, no use, gradients


def test_all_uses_are_kept_and_the_strongest_decides():
    def fn(p, x):
        return (x @ p["w"] + p["w"]) * p["w"].sum() + p["s"] + x[:4] * p["s"]

    params = {"w": floats(4, 4), "s": floats(4)}
    records = records_of(fn, params, floats(4, 4))
    assert [use.role for use in records["w"].uses] == ["kernel", "embedding", "scale"]
    assert [use.role for use in records["s"].uses] == ["bias", "scale"]
    assert (records["w"].role, records["s"].role) == ("kernel", "scale")
    assert not records["w"].tied


def test_unreached():
    def fn(p, x):
        dead = x @ p["dead"]
        zero = jnp.zeros((6, 4)) @ p["times_zero"]
        del dead
        return x + zero + p["b"], p["passed"]

    params = {
        "dead": floats(4, 4),
        "times_zero": floats(4, 4),
        "b": floats(4),
        "passed": floats(2),
        "idle": floats(3),
    }
    records = records_of(fn, params, X)
    assert {path for path, record in records.items() if not record.reached} == {
        "dead",
        "times_zero",
        "idle",
    }
    assert records["idle"].uses == records["dead"].uses == ()
    assert [use.manner for use in records["passed"].uses] == ["returned"]
    assert records["passed"].role == "other"


@pytest.mark.parametrize(
    "cut",
    [
        lax.stop_gradient,
        jnp.sign,
        jnp.round,
        jnp.floor,
        jnp.ceil,
        lambda x: x.astype(jnp.int32).astype(jnp.float32),
        lambda x: jnp.argmax(x, -1, keepdims=True).astype(jnp.float32),
        lambda x: (x > 0).astype(jnp.float32),
        lambda x: jnp.argsort(x, -1).astype(jnp.float32),
    ],
)
def test_gradients_are_cut(cut):
    def fn(p, x):
        return cut(x @ p["before"]) * p["after"]

    records = records_of(fn, {"before": floats(4, 4), "after": floats(4)}, X)
    assert all(record.reached for record in records.values())
    assert not records["before"].differentiable
    assert records["after"].differentiable


def test_the_line_of_a_use():
    def fn(p, x):
        return x @ p["w"]

    (use,) = records_of(fn, {"w": floats(4, 4)}, X)["w"].uses
    line = fn.__code__.co_firstlineno + 1
    assert use.source == f"test_rules.py:{line} (fn)"
    assert (use.primitive, use.operand, use.times) == ("dot_general", 1, 1)


def test_leaves_that_are_one_array_are_one_parameter():
    table = np.ones((10, 4), np.float32)
    params = {"table": table, "head": table, "copy": table.copy()}
    records = records_of(lambda p, i: p["table"][i] @ p["head"].T, params, ids(6))
    assert records["table"].shared_with == ("head",)
    assert records["head"].shared_with == ("table",)
    assert records["table"].uses == records["head"].uses
    assert records["table"].tied
    assert records["copy"].shared_with == ()
    shape = floats(10, 4)
    split = records_of(lambda p, i: p["a"][i] @ p["b"].T, {"a": shape, "b": shape}, ids(6))
    assert (split["a"].role, split["b"].role) == ("embedding", "kernel")
