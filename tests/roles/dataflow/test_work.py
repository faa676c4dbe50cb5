"""Multiply-adds, against counts done by hand and against XLA's own."""

from math import prod

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from explorer.roles.dataflow import trace
from tests.roles.dataflow.reading import floats, ids, records_of
from tests.roles.dataflow.zoo import ZOO

SIDES = st.integers(1, 5)


def macs_of(fn, params, *inputs) -> int:
    return trace(fn, params, *inputs).macs


def test_an_mlp():
    def fn(p, x):
        for w in p:
            x = jax.nn.relu(x @ w)
        return x

    found = trace(fn, [floats(20, 50), floats(50, 30), floats(30, 10)], floats(7, 20))
    assert [record.macs for record in found.roles] == [
        7 * 20 * 50,
        7 * 50 * 30,
        7 * 30 * 10,
    ]
    assert (found.macs, found.free_macs) == (7 * (20 * 50 + 50 * 30 + 30 * 10), 0)


def test_attention():
    batch, length, heads, size = 2, 10, 4, 32

    def fn(p, x):
        q, k, v = ((x @ p[n]).reshape(batch, length, heads, -1) for n in "qkv")
        return jax.nn.dot_product_attention(q, k, v).reshape(x.shape) @ p["o"]

    found = trace(
        fn, dict.fromkeys("qkvo", floats(size, size)), floats(batch, length, size)
    )
    scores = 2 * batch * length * length * size  # q·k, and shares times values
    assert found.free_macs == scores
    assert found.macs == scores + 4 * batch * length * size * size


@pytest.mark.parametrize(
    ("params", "stride", "dilation", "groups", "out"),
    [
        ((3, 3, 4, 8), 1, 1, 1, (8, 8)),
        ((3, 3, 4, 8), 2, 1, 1, (4, 4)),
        ((3, 3, 2, 8), 1, 2, 2, (8, 8)),
        ((3, 3, 1, 8), 1, 1, 4, (8, 8)),
    ],
)
def test_convolutions(params, stride, dilation, groups, out):
    def fn(p, x):
        return lax.conv_general_dilated(
            x, p, (stride, stride), "SAME",
            rhs_dilation=(dilation, dilation),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
        )  # fmt: skip

    # each output sums over a window of its group's channels
    assert macs_of(fn, floats(*params), floats(2, 8, 8, 4)) == 2 * prod(out) * prod(params)


def test_a_convolution_in_groups_of_the_batch():
    def fn(p, x):
        return lax.conv_general_dilated(
            x, p, (1,), "VALID",
            dimension_numbers=("NWC", "WIO", "NWC"),
            batch_group_count=2,
        )  # fmt: skip

    # 2 batches of 3 remain; each of 8 channels sums 3 taps of 4 channels
    assert macs_of(fn, floats(3, 4, 8), floats(6, 10, 4)) == 3 * 8 * 8 * 3 * 4


@pytest.mark.parametrize(("padding", "factor"), [("VALID", 1), ("SAME", None)])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_a_transposed_convolution_multiplies_each_input_by_the_kernel(
    padding, factor, stride
):
    def fn(p, x):
        return lax.conv_transpose(
            x, p, (stride,), padding, dimension_numbers=("NWC", "WIO", "NWC")
        )

    found = macs_of(fn, floats(4, 5, 6), floats(2, 10, 5))
    each = 2 * 10 * 4 * 5 * 6
    if factor:  # nothing is cropped; where no zeros are put in, padding counts
        assert found == each if stride > 1 else found >= each
    else:
        assert abs(found - each) <= 2 * 4 * 5 * 6 * 4


@settings(max_examples=60, deadline=None)
@given(st.tuples(SIDES, SIDES, SIDES, SIDES), st.integers(1, 3), st.integers(0, 3))
def test_taps_of_a_transposed_convolution(sizes, dilation, pad):
    """Every pair of an output and a tap, tried one by one."""
    length, taps, stride, spread = sizes

    def fn(p, x):
        return lax.conv_general_dilated(
            x, p, (stride,), [(pad, pad + taps * dilation)],
            lhs_dilation=(spread + 1,),
            rhs_dilation=(dilation,),
            dimension_numbers=("NWC", "WIO", "NWC"),
        )  # fmt: skip

    x, p = floats(1, length, 1), floats(taps, 1, 1)
    (_, out, _) = jax.eval_shape(fn, p, x).shape
    places = [o * stride + t * dilation - pad for o in range(out) for t in range(taps)]
    real = {i * (spread + 1) for i in range(length)}
    assert macs_of(fn, p, x) == sum(place in real for place in places)


@settings(max_examples=60, deadline=None)
@given(st.lists(SIDES, min_size=5, max_size=5), st.permutations("abcde"), st.data())
def test_products_of_any_axes(sides, order, data):
    """An einsum takes as many multiply-adds as all its indices have values together."""
    size = dict(zip("abcde", sides, strict=True))
    shared, left, right = order[:2], order[2], order[3]
    batch, inner = shared
    a, b = [batch, inner, left], [batch, inner, right]
    a, b = data.draw(st.permutations(a)), data.draw(st.permutations(b))
    text = f"{''.join(a)},{''.join(b)}->{batch}{left}{right}"
    shapes = [[size[axis] for axis in axes] for axes in (a, b)]
    found = macs_of(
        lambda p, x: jnp.einsum(text, x, p), floats(*shapes[1]), floats(*shapes[0])
    )
    assert found == size[batch] * size[inner] * size[left] * size[right]


def test_ragged_products_count_each_row_once():
    def fn(p, x, sizes):
        return lax.ragged_dot(x, p, sizes)

    assert macs_of(fn, floats(16, 8, 32), floats(100, 8), ids(16)) == 100 * 8 * 32


def test_experts_chosen_are_counted_and_dense_ones_all():
    tokens, experts, per_token, size, hidden = 6, 4, 2, 8, 16
    route = tokens * size * experts
    one = size * hidden  # of a token, an expert and a projection
    for name, rows in (
        ("gathered_experts", 12),
        ("ragged_experts", 12),
        ("dense_experts", 0),
    ):
        model = ZOO[name]
        records = records_of(model.fn, model.params(), *model.inputs)
        met = rows or tokens * experts
        for kernel in ("up", "down"):
            assert records[kernel].macs == met * one
            assert {use.rows for use in records[kernel].uses} == {rows}
        assert records["router"].macs == route
        assert met == tokens * (per_token if rows else experts)


@pytest.mark.parametrize("name", ZOO)
def test_parts_add_up_to_the_whole(name: str):
    model = ZOO[name]
    found = trace(model.fn, model.params(), *model.inputs)
    assert found.macs == found.free_macs + sum(r.macs for r in jax.tree.leaves(found.roles))


def test_parameters_that_make_one_matrix_share_its_work_by_size():
    def fn(p, x):
        fused = jnp.concatenate([p["q"], p["k"], p["v"]], 1)
        return x @ fused, x @ (p["w"] + p["a"] @ p["b"])

    shapes = {"q": floats(8, 12), "k": floats(8, 4), "v": floats(8, 4), "w": floats(8, 8)}
    found = trace(fn, {**shapes, "a": floats(8, 2), "b": floats(2, 8)}, floats(3, 8))
    macs = {name: record.macs for name, record in found.roles.items()}
    assert [macs[name] for name in "qkv"] == [3 * 8 * 12, 3 * 8 * 4, 3 * 8 * 4]
    assert macs["w"] == 3 * 8 * 8 * 64 // 96
    assert macs["a"] == macs["b"] == 3 * 8 * 8 * 16 // 96 + 8 * 2 * 8 // 2


def test_scans_are_multiplied_out():
    def fn(p, x):
        return lax.scan(lambda x, w: (x @ w, x.T @ x), x, p)[0]

    def with_rows(p, x):
        return lax.scan(lambda x, w: (x @ w, x.T @ x), x, p)

    stack, x = floats(9, 8, 8), floats(5, 8)
    assert macs_of(fn, stack, x) == 9 * 5 * 8 * 8  # rows that nothing needs are not work
    found = trace(with_rows, stack, x)
    assert (found.macs, found.free_macs) == (2 * 9 * 5 * 8 * 8, 9 * 5 * 8 * 8)


def unrolled_transformer(p, tokens):
    x = p["embed"][tokens]
    for layer in p["layers"]:
        h = x * lax.rsqrt((x**2).mean(-1, keepdims=True) + 1e-6) * layer["norm"]
        q, k, v = ((h @ layer[n]).reshape(*x.shape[:2], 8, -1) for n in "qkv")
        x = x + jax.nn.dot_product_attention(q, k, v).reshape(x.shape) @ layer["o"]
        x = x + jax.nn.relu(x @ layer["up"]) @ layer["down"]
    return x @ p["embed"].T


def test_against_the_compiler():
    size, vocabulary, tokens = 512, 64, ids(1, 128)
    layer = {n: floats(size, size) for n in "qkvo"} | {
        "norm": floats(size),
        "up": floats(size, 4 * size),
        "down": floats(4 * size, size),
    }
    params = {"embed": floats(vocabulary, size), "layers": [layer] * 2}
    cost = jax.jit(unrolled_transformer).lower(params, tokens).compile().cost_analysis()
    flops = (cost[0] if isinstance(cost, list) else cost)["flops"]
    macs = macs_of(unrolled_transformer, params, tokens)
    assert macs == 128 * (2 * 12 * size * size + vocabulary * size + 2 * 2 * 128 * size)
    assert macs == pytest.approx(flops / 2, rel=0.05)
