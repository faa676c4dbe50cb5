"""What is watched equals NumPy's float64 figures, whatever the tensor and wherever it is placed."""

import re
import subprocess
import sys
from functools import partial

import chex
import jax
import jax.export
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from explorer.errors import InputError, TreeError
from explorer.training.watch.watch import Watch
from tests.training.devices import environment

BF16 = ml_dtypes.bfloat16
COLUMNS = (
    "norm", "rms", "mean", "std", "grad_norm", "update_ratio", "zeros", "dead_rows", "distance",
)  # fmt: skip


def normal(*shape, mean=0.0, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).normal(mean, 1, shape).astype(dtype)


def sparse(*shape):
    """A kernel with zeros, of which units 1 and 3 are dead."""
    kernel = normal(*shape)
    kernel[kernel < 0] = 0
    kernel[..., 1::2] = 0
    return kernel


def outlier(*shape):
    """Small values behind a first one that is 10,000 times as large."""
    array = normal(*shape)
    array.flat[0] = 1e4
    return array


ZOO = {
    "scalar": np.float32(-2.5),
    "zero": np.float32(0),
    "empty": np.zeros(0, np.float32),
    "no_inputs": np.zeros((0, 5), np.float32),
    "no_outputs": np.zeros((5, 0), np.float32),
    "vector": normal(17),
    "one": normal(1),
    "kernel": normal(40, 30),
    "conv": normal(3, 3, 8, 16),
    "sparse": sparse(20, 6),
    "sparse_conv": sparse(3, 3, 4, 6),
    "zeros": np.zeros((4, 3), np.float32),
    "bfloat16": normal(300, 200, mean=3.0, dtype=BF16),
    "float16": np.full((64, 63), 200, np.float16),
    "constant": np.full((700, 900), 0.1, np.float32),
    "far": normal(100, 100, mean=1000.0),
    "outlier": outlier(64, 64),
    "outlier_vector": outlier(4096),
    "long": np.abs(normal(3_000_000)),
    "tall": normal(60_000, 4, mean=3.0),
    "tiny": normal(8, 8) * np.float32(1e-12),
}
GRADS = {name: (array * -3).astype(array.dtype) for name, array in ZOO.items()}
UPDATES = {
    name: np.asarray(np.float32(0.01) + 0 * array, array.dtype)
    for name, array in ZOO.items()
}
FIRST = {name: np.asarray(array * 0.5, array.dtype) for name, array in ZOO.items()}


def expected(x, grad, update, first=None):
    """Return one row, in float64 on the host."""
    x, grad, update = (np.asarray(a, np.float64) for a in (x, grad, update))
    norm, moved = np.linalg.norm(x), np.linalg.norm(update)
    some = x.size > 0
    dead = np.nan
    if x.ndim > 1 and some:
        dead = np.mean([not unit.any() for unit in np.moveaxis(x, -1, 0)])
    with np.errstate(divide="ignore"):
        ratio = np.divide(moved, norm) if moved else 0.0
    return np.array([
        norm, np.sqrt(np.mean(x**2)) if some else np.nan, x.mean() if some else np.nan,
        x.std() if some else np.nan, np.linalg.norm(grad), ratio,
        np.mean(x == 0) if some else np.nan, dead,
        np.nan if first is None else np.linalg.norm(x - np.asarray(first, np.float64)),
    ])  # fmt: skip


def close(table, wanted):
    """A mean is as good as the values are large; all else to float32's last digits."""
    table = np.asarray(table, np.float64)
    for at, column in enumerate(COLUMNS):
        scale = np.nan_to_num(wanted[..., 1].max()) if column == "mean" else 0
        np.testing.assert_allclose(
            table[..., at], wanted[..., at], rtol=2e-5, atol=2e-6 * scale, err_msg=column
        )


def layers(count: int) -> dict[str, np.ndarray]:
    """Tensors of six types, as many of each as layers; those of a type have other values."""
    names = ("sparse", "bfloat16", "conv", "vector", "empty", "zeros")
    return {
        f"{name}_{at}": np.asarray(ZOO[name] * (at - 1), ZOO[name].dtype)
        for at in range(count)
        for name in names
    }


def measure_layers(count: int, distance: bool = True):
    params, (grads, updates, first) = layers(count), (layers(count) for _ in range(3))
    return jax.jit(Watch(every=1, distance=distance).measure).lower(
        0, params, grads, updates, first
    )


def test_tensors_of_one_type_have_each_its_own_figures():
    params = layers(5)
    trees = [
        {name: np.asarray(array * scale, array.dtype) for name, array in params.items()}
        for scale in (2, 0.5, -1)
    ]
    watch = Watch(every=1, distance=True)
    table = np.asarray(watch.measure(0, params, *trees))
    for name, row in zip(watch.rows(params), table, strict=True):
        close(row, expected(params[name], *(tree[name] for tree in trees)))


@pytest.mark.parametrize("distance", [False, True])
def test_more_layers_make_no_more_sums_to_compile(distance: bool):
    few, many = (measure_layers(count, distance).as_text() for count in (5, 20))
    assert many.count("stablehlo.reduce(") == few.count("stablehlo.reduce(") > 0


class Figures(chex.TestCase):
    """With jit and without."""

    @chex.variants(with_jit=True, without_jit=True)
    def test_equal_numpy(self):
        watch = Watch(every=4, distance=True)
        measure = self.variant(watch.measure)
        table = measure(8, ZOO, GRADS, UPDATES, FIRST)
        rows = watch.rows(ZOO)
        assert rows == tuple(sorted(ZOO))
        assert table.shape == (len(rows), len(COLUMNS))
        assert table.dtype == jnp.float32
        for name, row in zip(rows, table, strict=True):
            with self.subTest(name):
                close(row, expected(ZOO[name], GRADS[name], UPDATES[name], FIRST[name]))


def test_columns_are_pinned():
    assert Watch.COLUMNS == COLUMNS


def row_of(array, column, **others):
    tree = {"x": array}
    table = Watch(every=1).measure(0, tree, others.get("grads", tree), tree)
    return float(table[0, COLUMNS.index(column)])


def test_sixteen_bits_are_summed_in_thirty_two():
    draw = normal(1000, 1000, mean=3.0, dtype=BF16)
    assert row_of(draw, "mean") == pytest.approx(3.0, abs=0.005)
    assert row_of(draw, "std") == pytest.approx(1.0, abs=0.005)
    assert row_of(np.full(100_000, 200, np.float16), "std") == 0
    assert row_of(np.full(100_000, 200, np.float16), "norm") == pytest.approx(
        200 * 100_000**0.5
    )


@pytest.mark.parametrize("value", [0.1, 200.0, -3e-5, 1e10])
def test_equal_values_deviate_by_exactly_nothing(value):
    same = np.full((123, 457), value, np.float32)
    assert row_of(same, "std") == 0
    assert row_of(same, "mean") == np.float32(value)


def test_nothing_is_zero_or_all_is():
    assert row_of(np.ones((3000, 6000), np.float32), "zeros") == 0
    nothing = np.zeros((300, 700), np.float32)
    assert row_of(nothing, "zeros") == pytest.approx(1, rel=1e-6)
    assert row_of(nothing, "dead_rows") == pytest.approx(1, rel=1e-6)
    assert row_of(nothing + 1, "dead_rows") == 0


def test_what_does_not_move_has_ratio_zero_even_if_it_is_zero():
    zeros, ones = np.zeros(3, np.float32), np.ones(3, np.float32)
    tree = {"a": zeros, "b": zeros, "c": ones}
    updates = {"a": zeros, "b": ones, "c": zeros}
    table = Watch(every=1).measure(0, tree, tree, updates)
    np.testing.assert_array_equal(table[:, COLUMNS.index("update_ratio")], [0, np.inf, 0])


def test_a_tensor_that_is_not_a_number_says_so_and_leaves_the_others():
    tree = {"a": normal(4, 4), "b": normal(4, 4)}
    tree["a"][1, 2] = np.nan
    table = np.asarray(Watch(every=1).measure(0, tree, tree, tree))
    assert np.isnan(table[0, : COLUMNS.index("dead_rows")]).all()
    close(table[1], expected(tree["b"], tree["b"], tree["b"]))


def test_units_are_what_the_layout_says_they_are():
    """Rows of embeddings, outputs of heads, the first axis of PyTorch's and Equinox's kernels."""
    embedding, heads, weight = normal(10, 4), normal(6, 4, 8), normal(8, 5)
    embedding[[2, 7]], heads[:, 1, :], weight[3] = 0, 0, 0
    heads[:, 2, 5] = 0
    tree = {
        "embed": {"embedding": embedding},
        "attention": {
            "query": {"kernel": heads, "bias": np.zeros((4, 8), np.float32)},
            "out": {"kernel": sparse(4, 8, 6)},
        },
        "linear": {"weight": weight},
    }
    watch = Watch(every=1)
    table = np.asarray(watch.measure(0, tree, tree, tree))
    found = dict(zip(watch.rows(tree), table[:, COLUMNS.index("dead_rows")], strict=True))
    right = {
        "attention/out/kernel": 3 / 6, "attention/query/bias": np.nan,
        "attention/query/kernel": 9 / 32, "embed/embedding": 2 / 10, "linear/weight": 1 / 8,
    }  # fmt: skip
    assert found == pytest.approx(right, nan_ok=True)


def test_only_every_so_many_steps_are_watched_and_the_others_do_no_work():
    watch = Watch(every=3)
    tree = {"k": normal(4, 4)}
    measure = jax.jit(lambda step: watch.measure(step, tree, tree, tree))
    seen = [not np.isnan(measure(step)).all() for step in range(7)]
    assert seen == [True, False, False, True, False, False, True]
    outside = {
        str(eqn.primitive)
        for eqn in jax.make_jaxpr(measure)(1).eqns[0].params["jaxpr"].eqns
    }
    assert not {name for name in outside if name.startswith("reduce")}
    assert "cond" in outside


def test_it_is_compiled_for_every_platform():
    tree = {
        "k": jax.ShapeDtypeStruct((4, 4), jnp.bfloat16),
        "b": jax.ShapeDtypeStruct((4,), "f4"),
    }
    watch = Watch(distance=True)
    step = jax.ShapeDtypeStruct((), jnp.int32)
    exported = jax.export.export(jax.jit(watch.measure), platforms=("cpu", "cuda", "tpu"))(
        step, tree, tree, tree, tree
    )
    (table,) = exported.out_avals
    assert (table.shape, table.dtype) == ((2, 9), jnp.float32)


def test_a_scan_of_steps_gives_what_the_steps_give():
    watch = Watch(every=2)
    first = {"k": jnp.asarray(normal(6, 5)), "b": jnp.asarray(normal(5))}

    def step(params, number):
        updates = jax.tree.map(lambda x: -0.1 * x, params)
        table = watch.measure(number, params, params, updates)
        return jax.tree.map(jnp.add, params, updates), table

    _, scanned = jax.lax.scan(step, first, jnp.arange(5))
    params = first
    for number in range(5):
        params, table = step(params, number)
        np.testing.assert_allclose(scanned[number], table, rtol=1e-6, equal_nan=True)


# what is kept


def test_nothing_is_kept_unless_a_distance_is_asked_for():
    tree = {"k": jnp.ones((2, 2))}
    assert Watch().init(tree) == ()
    table = Watch(every=1).measure(0, tree, tree, tree, ())
    assert np.isnan(table[0, COLUMNS.index("distance")])


def test_a_distance_from_what_was_not_kept_is_refused():
    tree = {"k": jnp.ones((2, 2))}
    watch = Watch(every=1, distance=True)
    with pytest.raises(InputError, match=r"^Watch\(distance=True\): the state keeps no initial parameters; make it with Trainer\(watch=watch\).init or create_state\(..., watch=watch\)$"):  # fmt: skip
        watch.measure(0, tree, tree, tree, Watch().init(tree))
    assert watch.measure(0, tree, tree, tree, watch.init(tree))[0, -1] == 0


def test_kept_parameters_outlive_those_that_a_step_is_given():
    watch = Watch(every=1, distance=True)

    @partial(jax.jit, donate_argnums=0)
    def step(params, kept):
        updates = jax.tree.map(jnp.ones_like, params)
        table = watch.measure(0, params, params, updates, kept)
        return jax.tree.map(jnp.add, params, updates), table

    make = jax.jit(lambda: {"k": jnp.ones((4, 4))})
    for params, kept in [
        (p := make(), watch.init(p)),
        jax.jit(lambda: (q := make(), watch.init(q)))(),
    ]:
        for moved in range(3):
            given = params
            params, table = step(params, kept)
            assert given["k"].is_deleted()
            assert float(table[0, -1]) == pytest.approx(4 * moved)


# one device or eight

SHARDED = """
import re
import jax, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from explorer.training.watch.watch import Watch
from tests.training.watch.test_watch import normal, sparse

assert jax.device_count() == 8
mesh = Mesh(np.array(jax.devices()).reshape(2, 4), ("data", "tensor"))
trees = {
    "kernel": (normal(64, 64, mean=3.0), P("data", "tensor")),
    "sparse": (sparse(16, 8), P("tensor", "data")),
    "stack": (normal(4, 16, 8), P("data", "tensor", None)),
    "bias": (normal(16), P("tensor")),
    **{f"layers_{n}/in": (normal(64, 64, seed=n), P("data", "tensor")) for n in range(5)},
    **{f"layers_{n}/out": (normal(64, 64, seed=n), P("tensor", "data")) for n in range(5)},
}
host = {name: array for name, (array, _) in trees.items()}
spread = {n: jax.device_put(a, NamedSharding(mesh, spec)) for n, (a, spec) in trees.items()}
watch = Watch(every=2, distance=True, stacks=(("stack", 1),))

def measure(step, params, kept):
    grads = jax.tree.map(jax.numpy.sin, params)
    return watch.measure(step, params, grads, jax.tree.map(lambda g: -0.1 * g, grads), kept)

one = jax.jit(measure)(0, host, jax.tree.map(lambda x: 0.5 * x, host))
kept = watch.init(jax.tree.map(lambda x: 0.5 * x, spread))
assert kept["kernel"].sharding == spread["kernel"].sharding
compiled = jax.jit(measure).lower(0, spread, kept).compile()
eight = compiled(0, spread, kept)
np.testing.assert_allclose(one, eight, rtol=1e-5, atol=1e-6)
assert np.isnan(compiled(1, spread, kept)).all()
# no tensor is brought together on one device: only tables and what is smaller
gathered = re.findall(r"= \\(?(?:f32|s32)\\[([0-9,]*)\\][^=]*all-(?:gather|to-all)\\(", compiled.as_text())
sizes = [np.prod([int(n) for n in shape.split(",") if n]) for shape in gathered]
assert max(sizes, default=0) <= 2 * eight.size < spread["kernel"].size / 4, sizes
"""


def test_eight_devices_give_what_one_gives():
    found = subprocess.run(
        [sys.executable, "-c", SHARDED],
        env=environment(devices=8),
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr[-2000:]
    assert "rematerialization" not in found.stderr


# bad input


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"every": 0}, "Watch(every=): 0; expected a whole number of steps, 1 or more"),
        ({"every": 2.5}, "Watch(every=): 2.5; expected a whole number of steps, 1 or more"),
        ({"stacks": ("layers/**",)}, "Watch(stacks=): 'layers/**'; expected (glob, axes) pairs such as (\"layers/**\", 1)"),
        ({"stacks": "layers/**"}, "Watch(stacks=): 'layers/**'; expected (glob, axes) pairs such as (\"layers/**\", 1)"),
        ({"stacks": 1}, "Watch(stacks=): 1; expected (glob, axes) pairs such as (\"layers/**\", 1)"),
        ({"glob": ("a", "b")}, "Watch(glob=): ('a', 'b'); expected one glob"),
        ({"stacks": (("layers/**", 0),)}, "Watch(stacks=): ('layers/**', 0); expected (glob, axes) pairs such as (\"layers/**\", 1)"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        Watch(**settings)


def test_trees_that_make_no_sense():
    tree = {"a": {"kernel": np.ones((2, 2), "f4")}}
    with pytest.raises(InputError, match=r"^Watch\(glob=\): 'b/\*\*' matches none of 1 tensor; expected a glob of names such as a/kernel$"):  # fmt: skip
        Watch(glob="b/**").rows(tree)
    with pytest.raises(InputError, match=r"^Watch\(stacks=\): a/kernel has 2 axes and is said to stack 3; expected stacks along axes that the tensor has$"):  # fmt: skip
        Watch(stacks=(("a/**", 3),)).rows(tree)
    with pytest.raises(TreeError, match=r"^a/kernel: float; expected an array or a shape$"):
        Watch().rows({"a": {"kernel": 1.0}})
    with pytest.raises(TreeError, match=r"^Watch.measure\(grads=\): a tree of 0 leaves; expected the structure of the parameters, 1 leaves$"):  # fmt: skip
        Watch().measure(0, tree, {}, tree)
    with pytest.raises(TreeError, match=r"^Watch.measure\(kept=\): a tree of 2 leaves; "):
        Watch(distance=True).measure(0, tree, tree, tree, {"a": [1.0, 2.0]})
