"""Leaves of trees: formats, sharing, axes and devices, and what is refused."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import export
from jax.sharding import AbstractMesh, NamedSharding
from jax.sharding import PartitionSpec as P

import explorer as ex
from explorer.errors import TreeError
from explorer.inventory.listing import Sharding
from explorer.inventory.tensor import Tie
from explorer.objects.pytree import read
from tests import zoo

# leaves


def test_numbers_have_the_formats_that_jax_gives_them():
    listing = read([True, 1, 1.0, 1j, np.int8(1), np.float64(1)])
    assert listing.dtypes == ["bool", "int32", "float32", "complex64", "int8", "float64"]
    assert listing.dtypes[:4] == [jnp.asarray(x).dtype.name for x in (True, 1, 1.0, 1j)]
    assert set(listing.shapes) == {()}


def test_narrow_formats_take_their_bits():
    tree = {"a": jnp.zeros(3, "int4"), "b": jnp.zeros((5, 2), "float8_e5m2")}
    listing = read(tree)
    assert listing.dtypes == ["int4", "float8_e5m2"]
    assert listing.nbytes == [2, 10]


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_keys_are_random_state_with_the_bytes_of_their_data(impl):
    keys = jax.random.split(jax.random.key(0, impl=impl), 3)
    for given in (keys, jax.eval_shape(lambda: keys)):
        listing = read({"params": {"noise": given}})
        assert listing.nbytes == [jax.random.key_data(keys).nbytes]
        assert listing.collections == ["rng_state"]
        assert listing.dtypes == [keys.dtype.name]
        assert listing.shapes == [(3,)]


def test_tracers_are_read_inside_jit_and_vmap():
    seen = []

    def look(params):
        seen.append(ex.explore(params))
        return params

    params = {"kernel": jnp.ones((5, 2, 3)), "bias": jnp.ones((5, 3))}
    jax.jit(look)(params)
    jax.vmap(look)(params)
    assert [inventory.num_parameters for inventory in seen] == [45, 9]
    assert seen[0] == ex.explore(params)


def test_any_object_with_a_shape_and_a_format_is_an_array():
    class Lazy:
        shape = (2, np.int64(3))
        dtype = "bfloat16"

    listing = read([Lazy(), Lazy()])
    assert (listing.shapes, listing.dtypes) == ([(2, 3)] * 2, ["bfloat16"] * 2)
    assert type(listing.shapes[0][1]) is int
    assert not listing.ties


def test_counts_beyond_32_bits_are_exact():
    shape = jax.ShapeDtypeStruct((70_000, 70_000), jnp.bfloat16)
    inventory = ex.explore({"kernel": shape})
    assert (inventory.num_parameters, inventory.nbytes) == (4_900_000_000, 9_800_000_000)


# sharing


def test_one_array_in_two_places_counts_once():
    table = jnp.ones((5, 3))
    tree = {"embed": {"embedding": table}, "head": {"kernel": table}, "copy": table + 0}
    assert read(tree).ties == [
        Tie(
            (("embed", "embedding"), ("head", "kernel")),
            "the same array object",
            shown=True,
        )
    ]
    inventory = ex.explore(tree)
    assert (inventory.num_tensors, inventory.num_parameters) == (3, 30)


def test_numpy_arrays_are_shared_by_identity_and_views_are_not():
    base = np.ones((4, 3), np.float32)
    assert len(read([base, base]).ties) == 1
    assert not read([base[:], base[:]]).ties
    assert ex.explore([base[:2], base[2:], base]).num_parameters == 24


def test_nothing_abstract_and_no_number_is_shared():
    shape, number = jax.ShapeDtypeStruct((3,), jnp.float32), 1.5
    assert not read([shape, shape, number, number, np.float32(2)]).ties
    assert ex.count_parameters([shape, shape]) == 6


def test_of_an_average_and_the_parameters_the_parameters_count():
    params = {"kernel": jnp.ones((2, 3))}
    inventory = ex.explore({"ema": params, "params": params})
    assert inventory.num_parameters == 6
    assert [t.name for t in inventory if t.alias] == ["ema/kernel"]


# axes and devices


@pytest.mark.parametrize("wrap", [nn.with_partitioning, nn.with_logical_partitioning])
def test_boxes_are_opened_and_their_axes_kept(wrap):
    params = zoo.params(zoo.boxed(wrap))
    listing = read(params)
    assert listing.keys == [("bias",), ("kernel",)]
    assert listing.shardings == {("kernel",): Sharding("(embed, mlp)")}


def test_a_box_of_ones_own_and_boxes_in_boxes_are_opened():
    class Box(nn.meta.AxisMetadata):
        def __init__(self, content):
            self.content = content

        def unbox(self):
            return self.content

        replace_boxed = add_axis = remove_axis = lambda self, *args: self

    tree = [Box(jnp.ones(2)), nn.Partitioned(Box(jnp.ones(3)), ("a",))]
    listing = read(tree)
    assert listing.shapes == [(2,), (3,)]
    assert listing.shardings == {("1",): Sharding("(a)")}


def test_boxes_are_opened_without_an_operation():
    mesh = jax.make_mesh((1,), ("embed",))
    box = nn.Partitioned(jax.ShapeDtypeStruct((2,), jnp.float32), ("embed",), mesh=mesh)
    assert read({"kernel": box}).shapes == [(2,)]


@pytest.mark.parametrize(
    ("spec", "axes", "nbytes"),
    [
        (P("data", None), "('data', None) on {data: 8, model: 2}", 2 * 6 * 4),
        (P("data", "model"), "('data', 'model') on {data: 8, model: 2}", 2 * 3 * 4),
        (P(None, ("model",)), "(None, 'model') on {data: 8, model: 2}", 16 * 3 * 4),
        (P(("data", "model")), "(('data', 'model'),) on {data: 8, model: 2}", 1 * 6 * 4),
        (P(), "() on {data: 8, model: 2}", 16 * 6 * 4),
        (P(None, "data"), "(None, 'data') on {data: 8, model: 2}", 16 * 1 * 4),
    ],
)
def test_abstract_shardings_give_the_bytes_of_the_fullest_device(spec, axes, nbytes):
    sharding = NamedSharding(AbstractMesh((8, 2), ("data", "model")), spec)
    shape = jax.ShapeDtypeStruct((16, 6), jnp.float32, sharding=sharding)
    tensor = ex.explore({"kernel": shape})["kernel"]
    assert (tensor.size, tensor.nbytes) == (96, 384)
    assert tensor.device_nbytes == nbytes
    assert tensor.sharding == axes


SHARDED = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P
from flax import linen as nn
import explorer as ex
mesh = jax.make_mesh((8,), ("data",))
def put(spec, x):
    return jax.device_put(x, NamedSharding(mesh, spec))
tree = {
    "a": put(P("data", None), jnp.ones((16, 4))),
    "b": nn.Partitioned(put(P(None, "data"), jnp.ones((4, 16), jnp.bfloat16)), ("embed", "mlp")),
    "c": put(P(), jnp.ones(3)),
    "d": jnp.ones(3),
    "e": put(P("data"), jax.random.split(jax.random.key(0), 8)),
}
inventory = ex.explore(tree)
for name in "abcde":
    tensor, array = inventory[name], nn.unbox(tree)[name]
    held = max(shard.data.nbytes for shard in array.addressable_shards)
    assert tensor.shape == array.shape and tensor.nbytes == array.nbytes
    assert tensor.device_nbytes == (None if name == "d" else held), (name, tensor, held)
print([inventory[name].sharding for name in "abcde"])
"""


def test_sharded_arrays_are_listed_once_with_what_a_device_holds():
    code = 'import jax; jax.config.update("jax_num_cpu_devices", 8)' + SHARDED
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(
        [
            "('data', None) on {data: 8}",
            "(embed, mlp)",
            "() on {data: 8}",
            "",
            "('data',) on {data: 8}",
        ]
    )


# refusals

EXPECTED = "expected an array of numbers, a ShapeDtypeStruct or a number"
CURE = "leave it out, or put None in its place"


@pytest.mark.parametrize(
    ("leaf", "found"),
    [
        ("gelu\n\x1b[31m", "a str, 'gelu\\n\\x1b[31m'"),
        (b"x", "a bytes"),
        (print, "a builtin_function_or_method"),
        (lambda x: x, "a function"),
        (np.tanh, "a ufunc"),
        (jnp.float32, "a _ScalarMeta"),
        (np.dtype("float32"), "a Float32DType"),
        (object(), "a object"),
        ({1, 2}, "a set"),
        (np.array(["a"]), "an array of <U1"),
        (np.array([None]), "an array of object"),
        (np.zeros(2, "datetime64[s]"), "an array of datetime64[s]"),
        (np.zeros(2, [("x", "f4")]), "an array of [('x', '<f4')]"),
        (
            jax.ShapeDtypeStruct(export.symbolic_shape("b, 3"), jnp.float32),
            "an array of unknown size (b, 3)",
        ),
    ],
)
def test_what_is_not_an_array_of_numbers_is_refused_by_its_path(leaf, found):
    with pytest.raises(TreeError) as caught:
        read({"model": [1.0, {"act": leaf}]})
    assert str(caught.value) == f"model/1/act: {found}; {EXPECTED}; {CURE}"


def test_a_leaf_that_is_the_tree_is_refused():
    with pytest.raises(TreeError, match=r"^the tree: a str, 'gpt2'; expected an array"):
        read("gpt2")


def test_linen_modules_in_trees_are_refused():
    with pytest.raises(TreeError) as caught:
        read({"net": [zoo.MLP()]})
    assert str(caught.value) == (
        "net/0: a Linen module, MLP; expected its variables: a Linen module does not "
        "hold them; explore(module, *inputs) finds their shapes"
    )


def test_cycles_and_keys_without_order_are_refused():
    tree = {"a": [1.0]}
    tree["a"].append(tree)
    with pytest.raises(TreeError, match=r"^the tree: dict that contains itself, a/1; "):
        read(tree)
    with pytest.raises(TreeError, match=r"^the tree: dict whose keys cannot be sorted "):
        read({1: 1.0, "a": 2.0})
