"""Programs inside programs: each is gone through, or said to be opaque."""

from functools import partial
from importlib import import_module
from importlib.util import find_spec

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.custom_batching import sequential_vmap
from jax.experimental import compute_on, scheduling_groups
from jax.experimental import pallas as pl
from jax.sharding import AbstractMesh, AxisType, Mesh
from jax.sharding import PartitionSpec as P

from tests.roles.dataflow.reading import floats, ids, manners_of, records_of, roles_of

X = floats(6, 4)
LAYER = {"w": floats(4, 4), "b": floats(4)}
TRUTH = {"w": "kernel", "b": "bias"}


def layer(p, x):
    return jnp.tanh(x @ p["w"] + p["b"])


@jax.custom_vjp
def straight_through(x):
    return jnp.round(x)


straight_through.defvjp(lambda x: (jnp.round(x), None), lambda _, g: (g,))


def on_host(fn):
    wrap = getattr(
        compute_on, "compute_on2", compute_on.compute_on
    )  # its name until JAX 0.11
    space = jax.memory.Space.Device
    return wrap(fn, compute_type="device_host", out_memory_spaces=space)


def in_order(fn):
    if not find_spec("jax.experimental.overlap"):  # JAX 0.12 brings it
        return fn
    return import_module("jax.experimental.overlap").program_order(fn, enforce=True)


@pytest.mark.parametrize(
    "wrap",
    [
        jax.jit,
        jax.checkpoint,
        lambda f: jax.checkpoint(jax.checkpoint(jax.jit(f))),
        lambda f: partial(lax.composite(f, "layer")),
        lambda f: lambda p, x: lax.cond(True, f, f, p, x),
        lambda f: lambda p, x: jax.named_call(f, name="layer")(p, x),
        lambda f: lambda p, x: jax.vmap(f, (None, 0))(p, x),
        lambda f: lambda p, x: lax.map(partial(f, p), x),
        lambda f: lambda p, x: jax.jvp(partial(f, p), (x,), (x,))[0],
        lambda f: lambda p, x: jax.lax.optimization_barrier(f(p, x)),
        on_host,
        in_order,
        sequential_vmap,
        lambda f: scheduling_groups.xla_metadata_call(f, group="layer"),
    ],
)
def test_wrapped(wrap):
    assert roles_of(wrap(layer), LAYER, X) == TRUTH


def test_custom_derivatives_decide_where_gradients_go():
    @jax.custom_jvp
    def second_only(x, y):
        return x * y

    second_only.defjvp(lambda p, t: (p[0] * p[1], p[0] * t[1]))

    @jax.custom_vjp
    def first_only(x, y):
        return x + y, x - y

    first_only.defvjp(lambda x, y: ((x + y, x - y), None), lambda _, g: (g[0], 0 * g[1]))

    @partial(jax.custom_vjp, nondiff_argnums=(0,))
    def applied(f, x):
        return f(x)

    applied.defvjp(lambda f, x: (f(x), x), lambda f, x, g: (g * x,))

    def fn(p, x):
        def step(h, row):
            return h + straight_through(p["rounded"]) * row, jnp.round(p["cut"]) * row

        h, rows = lax.scan(step, jnp.zeros(4), x)
        x = jax.nn.relu(x * p["relu"]) + h + rows
        x = x + second_only(x, p["second"]) + second_only(p["first"], x)
        a, b = first_only(p["kept"], p["lost"])
        return x + a + jnp.sign(b) + applied(jnp.sin, p["applied"])

    names = ["rounded", "cut", "relu", "first", "second", "kept", "lost", "applied"]
    params = {name: floats(4) for name in names}
    records = records_of(fn, params, X)
    assert {name for name in names if not records[name].differentiable} == {
        "cut",
        "first",
        "lost",
    }
    assert all(record.reached for record in records.values())


def test_scan_with_constants_carried_and_sliced_parameters():
    def fn(p, x):
        def step(carry, row):
            h, bias = carry
            h = jnp.tanh(h @ p["constant"] + row["w"].sum() * h + row["x"] + bias)
            return (h, bias), h * row["gain"]

        start = (p["start"], p["carried"])
        rows = {"x": x, "gain": p["gain"], "w": p["unit"]}
        (h, _), ys = lax.scan(step, start, rows, reverse=True)
        return h + ys

    params = {
        "constant": floats(4, 4),
        "start": floats(4),
        "carried": floats(4),
        "gain": floats(6, 4),
        "unit": floats(6, 1),
    }
    records = records_of(fn, params, X)
    assert {name: record.role for name, record in records.items()} == {
        "constant": "kernel",
        "start": "embedding",
        "carried": "bias",
        "gain": "scale",
        "unit": "scale",
    }
    times = {name: [use.times for use in record.uses] for name, record in records.items()}
    assert times["constant"] == times["gain"] == times["carried"] == [6]
    assert [(use.manner, use.times) for use in records["start"].uses] == [("placed", 1)]


def test_scans_in_scans_multiply_out():
    def fn(p, x):
        def inner(x, w):
            return x @ w, None

        def outer(x, ws):
            x, _ = lax.scan(inner, x, ws)
            return x + p["b"], None

        return lax.scan(outer, x, p["w"])[0]

    records = records_of(fn, {"w": floats(3, 5, 4, 4), "b": floats(4)}, X)
    (kernel,), (bias,) = records["w"].uses, records["b"].uses
    assert (kernel.times, bias.times) == (15, 3)
    assert kernel.macs == 15 * 6 * 4 * 4


def test_scans_of_no_step_and_of_one():
    def fn(length, p, x):
        def step(h, row):
            return h @ p["recurrent"] + row @ p["inner"], None

        return lax.scan(step, jnp.zeros(4), x[:length])[0] + x[0]

    params = {"recurrent": floats(4, 4), "inner": floats(4, 4)}
    assert roles_of(partial(fn, 0), params, X) == dict.fromkeys(params, "unused")
    once = {"recurrent": "unused", "inner": "kernel"}  # its state is zero
    assert roles_of(partial(fn, 1), params, X) == once
    assert roles_of(partial(fn, 2), params, X) == dict.fromkeys(params, "kernel")


def test_a_result_of_a_scan_that_nothing_needs():
    def fn(p, x):
        def step(carry, row):
            needed, idle = carry
            return (needed @ p["w"] + row, idle + p["idle"]), row * p["dropped"]

        return lax.scan(step, (x[0], x[0]), x)[0][0]

    params = {"w": floats(4, 4), "idle": floats(4), "dropped": floats(4)}
    assert roles_of(fn, params, X) == {"w": "kernel", "idle": "unused", "dropped": "unused"}


def test_loops_of_unknown_length():
    def fn(p, x, n):
        def body(i, carry):
            x, idle = carry
            return x @ p["w"] + p["b"][i], idle * p["idle"]

        x, _ = lax.fori_loop(0, n, body, (x, x))
        return lax.while_loop(lambda x: (x * p["asked"]).sum() < 9, lambda x: x + 1, x)

    params = {"w": floats(4, 4), "b": floats(9, 4), "idle": floats(4), "asked": floats(4)}
    records = records_of(fn, params, X, ids())
    assert {name: record.role for name, record in records.items() if record.reached} == {
        "w": "kernel",
        "b": "bias",
        "asked": "scale",
    }
    (use,) = records["w"].uses
    assert (use.times, use.macs) == (None, 6 * 4 * 4)
    assert not records["asked"].differentiable  # it only decides how long


def test_branches_are_united():
    def fn(p, x, which):
        x = lax.switch(
            which,
            [
                lambda x: x @ p["a"],
                lambda x: x * p["b"],
                lambda x: jnp.broadcast_to(p["c"], x.shape),
            ],
            x,
        )
        return x @ lax.cond(which > 0, lambda: p["left"], lambda: p["right"])

    square = floats(4, 4)
    params = {"a": square, "b": floats(4), "c": floats(4), "left": square, "right": square}
    assert roles_of(fn, params, X, ids()) == {
        "a": "kernel",
        "b": "scale",
        "c": "embedding",
        "left": "kernel",
        "right": "kernel",
    }
    record = records_of(
        lambda p, x: lax.cond(p["p"] > 0, jnp.sin, jnp.cos, x), {"p": floats()}, X
    )["p"]
    assert (record.role, record.reached, record.differentiable) == ("other", True, False)


def test_vmap_over_experts():
    experts = {"w": floats(3, 4, 5), "b": floats(3, 5), "table": floats(3, 10, 4)}

    def expert(p, i):
        return p["table"][i] @ p["w"] + p["b"]

    roles = {"w": "kernel", "b": "bias", "table": "embedding"}
    assert roles_of(jax.vmap(expert), experts, ids(3, 2)) == roles
    assert roles_of(jax.vmap(expert, (0, None)), experts, ids(2)) == roles


def test_shard_map_counts_every_device():
    def fn(mesh, p, x):
        def shard(x, w, b):
            return lax.psum(x @ w, "model") + b

        specs = (P("data", "model"), P("model"), P())
        sharded = jax.shard_map(shard, mesh=mesh, in_specs=specs, out_specs=P("data"))
        return sharded(x, p["w"], p["b"])

    params, x = {"w": floats(4, 4), "b": floats(4)}, floats(8, 4)
    one = Mesh(np.array(jax.devices()[:1]).reshape(1, 1), ("data", "model"))
    many = AbstractMesh((4, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
    for mesh, devices in ((one, 1), (many, 8)):
        records = records_of(partial(fn, mesh), params, x)
        assert {name: record.role for name, record in records.items()} == TRUTH
        assert records["w"].uses[0].times == devices
        assert records["w"].macs == 8 * 4 * 4


def test_routed_experts_by_ragged_products():
    def fn(p, x, sizes):
        h = lax.ragged_dot(x, p["up"], sizes) + jnp.repeat(
            p["bias"], sizes, axis=0, total_repeat_length=6
        )
        return lax.ragged_dot(jax.nn.relu(h), p["down"], sizes)

    params = {"up": floats(3, 4, 8), "bias": floats(3, 8), "down": floats(3, 8, 4)}
    records = records_of(fn, params, X, ids(3))
    assert [use.rows for use in records["up"].uses] == [6]
    assert records["up"].macs == records["down"].macs == 6 * 4 * 8
    assert (records["up"].role, records["down"].role) == ("kernel", "kernel")


def scaled(x_ref, w_ref, o_ref):
    o_ref[...] = x_ref[...] * w_ref[...]


def test_kernels_and_callbacks_are_opaque():
    def fn(p, x):
        shape = jax.ShapeDtypeStruct((6, 4), jnp.float32)
        kernel = pl.pallas_call(scaled, out_shape=shape, interpret=True)
        alone = kernel(p["a"], p["b"])  # of parameters alone: they are followed
        x = kernel(x, p["c"]) @ alone.T
        return x + jax.pure_callback(lambda x, p: x, x, x, p["d"])

    params = {name: floats(6, 4) for name in "abc"} | {"d": floats(3)}
    records = records_of(fn, params, X)
    assert {name: record.role for name, record in records.items()} == {
        "a": "kernel",
        "b": "kernel",
        "c": "other",
        "d": "other",
    }
    assert [use.manner for use in records["c"].uses] == ["opaque"]
    assert records["c"].uses[0].primitive == "pallas_call"
    assert records["c"].differentiable
    assert not records["d"].differentiable


def test_a_program_of_an_unknown_operation_is_opaque():
    from jax.extend import core as extend

    unknown = extend.Primitive("unknown_call")
    unknown.def_abstract_eval(lambda x, w, jaxpr: x)
    body = jax.make_jaxpr(lambda x, w: x * w)(X, X)

    def fn(p, x):
        return unknown.bind(x, p["w"], jaxpr=body)

    (use,) = records_of(fn, {"w": X}, X)["w"].uses
    assert (use.manner, use.primitive, use.operand) == ("opaque", "unknown_call", 1)


def test_a_linear_solve_multiplies_by_the_inverse():
    def fn(p, x):
        return lax.custom_linear_solve(
            lambda v: p["matrix"] @ v + v,
            x[:4, 0] + p["right"],
            lambda matvec, b: jnp.linalg.solve(p["matrix"] + jnp.eye(4), b),
            symmetric=True,
        )

    params = {"matrix": floats(4, 4), "right": floats(4)}
    records = records_of(fn, params, X)
    assert {name: r.role for name, r in records.items()} == {
        "matrix": "kernel",
        "right": "bias",
    }
    assert all(record.differentiable for record in records.values())
    alone = roles_of(
        lambda p, x: x @ jnp.linalg.inv(p["matrix"]), {"matrix": floats(4, 4)}, X
    )
    assert alone == {"matrix": "kernel"}


def test_running_sums_and_associative_scans():
    def fn(p, x):
        def combine(left, right):
            return left[0] * right[0], right[0] * left[1] + right[1]

        decay = jnp.broadcast_to(jax.nn.sigmoid(p["decay"]), x.shape)
        _, h = lax.associative_scan(combine, (decay, x @ p["inner"]))
        return jnp.cumsum(h, 0) * p["gain"]

    params = {"decay": floats(4), "inner": floats(4, 4), "gain": floats(4)}
    assert roles_of(fn, params, X) == {"decay": "scale", "inner": "kernel", "gain": "scale"}


def test_sorting_the_stream_with_a_parameter():
    def fn(p, x):
        keys = x @ p["score"]
        order = jnp.argsort(keys)
        top, _ = lax.top_k(keys, 2)
        return x[order] * p["gain"], top

    params = {"score": floats(4), "gain": floats(4)}
    assert manners_of(fn, params, X) == {"score": ["contracted"], "gain": ["multiplied"]}
