"""NNX: Variables by type, shared ones once, graphs with cycles, nothing run or changed."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import explorer as ex
from explorer.errors import TreeError
from explorer.inventory.listing import Sharding
from explorer.inventory.tensor import Tie
from explorer.objects.nnx import read
from tests import zoo


def collections_of(target):
    listing = read(target)
    assert listing.collections is not None
    return {"/".join(k): c for k, c in zip(listing.keys, listing.collections, strict=True)}


# types of Variables


def test_each_type_of_variable_has_its_collection():
    found = collections_of(zoo.Perceptron(nnx.Rngs(0)))
    assert {name: c for name, c in found.items() if "blocks" not in name} == {
        "drop/rngs/count": "rng_state",
        "drop/rngs/key": "rng_state",
        "frequencies": "buffers",
        "lora/lora_a": "params",
        "lora/lora_b": "params",
        "norm/bias": "params",
        "norm/mean": "batch_stats",
        "norm/scale": "params",
        "norm/var": "batch_stats",
        "table/embedding": "params",
    }
    assert collections_of(zoo.Stateful()) == {
        "average": "shadow_weights",
        "cache": "cache",
        "gain": "params",
        "seen": "intermediates",
        "table/a": "variable",
        "table/b": "variable",
    }


def test_a_registered_name_is_the_collection():
    class Seen(nnx.Variable):
        pass

    nnx.register_variable_name("seen_tokens", Seen, overwrite=True)
    assert collections_of(Seen(jnp.ones(2))) == {"": "seen_tokens"}


def test_random_state_and_statistics_are_not_parameters():
    inventory = ex.explore(zoo.Perceptron(nnx.Rngs(0)))
    linear, norm, lora, table = 11 * (9 + 3), 3 + 3, 6 + 6, 15
    assert inventory.num_parameters == linear + norm + lora + table
    assert inventory.num_buffers == 3 + 3 + 4  # statistics and the bare array
    assert inventory.num_biases == 11 * 3 + 3


def test_integer_parameters_are_buffers():
    inventory = ex.explore(nnx.Dict(packed=nnx.Param(jnp.zeros((4, 2), jnp.int8))))
    assert inventory.num_parameters == 0
    assert inventory["packed"].collection == "buffers"


def test_lists_keep_their_order():
    listing = read(zoo.Perceptron(nnx.Rngs(0)))
    order = [key[1] for key in listing.keys if key[0] == "blocks" and key[2] == "bias"]
    assert order == [str(i) for i in range(11)]


def test_optimizers_hold_optimizer_state():
    model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(1e-3), wrt=nnx.Param)
    assert set(collections_of(optimizer).values()) == {"opt_state"}
    both = ex.explore(nnx.ModelAndOptimizer(model, optax.adam(1e-3)))
    assert both.num_parameters == 9
    moments = {t.name: t for t in both if t.collection == "opt_state" and t.shape}
    assert sum(t.size for t in moments.values()) == 2 * 9


def test_moments_and_averages_of_states_are_not_parameters():
    state = nnx.state(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), nnx.Param)
    moments = optax.adam(1e-3).init(state)
    assert isinstance(moments[0].mu["kernel"], nnx.Param)
    assert set(collections_of((state, moments, None)).values()) == {"params", "opt_state"}
    assert ex.count_parameters((state, moments)) == 9
    assert ex.count_parameters(moments) == 0
    assert ex.count_parameters({"params": state, "opt_state": moments}) == 9
    averages = jax.tree.map(lambda x: x + 0, state)
    inventory = ex.explore({"params": state, "ema_params": averages})
    assert inventory.num_parameters == 9
    assert inventory["ema_params/kernel"].collection == "ema"


def test_names_in_a_module_are_the_users_own():
    layer = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    module = nnx.Dict(
        cache=layer, opt_state=nnx.Param(jnp.ones(2)), step=nnx.data(jnp.ones(1))
    )
    for target in (module, nnx.state(module)):
        assert collections_of(target) == {
            "cache/bias": "params",
            "cache/kernel": "params",
            "opt_state": "params",
            "step": "buffers",
        }


@pytest.mark.parametrize("hijax", [False, True])
def test_variables_of_every_make_are_opened(hijax):
    listing = read(nnx.Dict(w=nnx.Param(jnp.ones((2, 3)), hijax=hijax)))
    assert (listing.keys, listing.shapes) == ([("w",)], [(2, 3)])


def test_references_to_arrays_are_arrays():
    listing = read(nnx.Dict(w=nnx.Param(jnp.ones((2, 3)), ref=True)))
    assert (listing.shapes, listing.dtypes) == ([(2, 3)], ["float32"])


def test_numbers_in_variables_are_tensors():
    listing = read(nnx.Dict(rate=nnx.Param(0.5)))
    assert (listing.shapes, listing.dtypes) == ([()], ["float32"])


def test_objects_that_are_not_pytrees_are_read():
    class Plain(nnx.Object):
        def __init__(self):
            self.kernel = nnx.Param(jnp.ones((2, 3)))
            self.width, self.activation, self.name = 3, nnx.relu, "plain"

    assert collections_of(nnx.Dict(inner=Plain())) == {"inner/kernel": "params"}


# kinds of targets


def test_modules_states_and_splits_tell_the_same():
    module = zoo.Perceptron(nnx.Rngs(0))
    whole = read(module)
    graphdef, state = nnx.split(module)
    assert read(state).collections == whole.collections
    split = read((graphdef, state))
    assert [key[1:] for key in split.keys] == whole.keys
    assert split.collections == whole.collections
    assert {listing.format for listing in (whole, split, read(state))} == {"flax nnx"}


def test_a_state_of_bare_arrays_goes_by_names():
    state = nnx.state(nnx.Linear(2, 3, rngs=nnx.Rngs(0)))
    assert ex.count_parameters(nnx.State(nnx.to_pure_dict(state))) == 9


def test_what_is_not_of_nnx_is_refused():
    with pytest.raises(TreeError) as caught:
        read({"a": 1.0})
    assert str(caught.value) == (
        "dict: is not an NNX object; expected an nnx.Module, nnx.State, nnx.Variable or "
        "(GraphDef, State)"
    )


def test_a_variable_without_numbers_is_refused_by_its_path():
    with pytest.raises(TreeError, match=r"^inner/name: a str, 'x'; expected an array"):
        read(nnx.Dict(inner=nnx.Dict(name=nnx.Variable("x"))))


# sharing


class Tied(nnx.Module):
    """A Variable shared by two attributes, and a module shared by two more."""

    def __init__(self, rngs):
        self.embed = nnx.Embed(5, 3, rngs=rngs)
        self.head = self.embed.embedding
        self.decoder = nnx.Dict(embed=self.embed, rest=nnx.data([self.embed]))


def test_shared_variables_count_once():
    tie = Tie(
        (
            ("decoder", "embed", "embedding"),
            ("decoder", "rest", "0", "embedding"),
            ("embed", "embedding"),
            ("head",),
        ),
        "the same Variable",
        shown=True,
    )
    for module in (Tied(nnx.Rngs(0)), nnx.eval_shape(lambda: Tied(nnx.Rngs(0)))):
        listing = read(module)
        assert listing.ties == [tie]
        assert ex.count_parameters(module) == 15
        assert ex.count_tensors(module) == 4


def test_a_shared_variable_that_holds_a_tree_is_shared_leaf_by_leaf():
    pair = nnx.Param({"a": jnp.ones(2), "b": jnp.ones(3)})
    assert [tie.keys for tie in read(nnx.Dict(x=pair, y=pair)).ties] == [
        (("x", "a"), ("y", "a")),
        (("x", "b"), ("y", "b")),
    ]


def test_two_variables_of_one_array_are_two():
    array = jnp.ones(3)
    module = nnx.Dict(a=nnx.Param(array), b=nnx.Param(array))
    assert not read(module).ties
    assert ex.count_parameters(module) == 6


class Node(nnx.Module):
    """A module with references to others, as the test sets them."""

    def __init__(self):
        self.kernel = nnx.Param(jnp.ones(2))


def test_references_to_modules_around_are_left_out():
    root, child = Node(), Node()
    root.child, child.parent, root.itself = child, root, root
    listing = read(root)
    assert listing.keys == [("child", "kernel"), ("kernel",)]
    assert not listing.ties


def test_a_dense_graph_of_modules_is_walked_in_bounded_time():
    nodes = [Node() for _ in range(24)]
    for node in nodes:
        node.others = nnx.List(nodes)
    inventory = ex.explore(nnx.List(nodes))
    assert inventory.num_parameters == 2 * len(nodes)
    assert inventory.num_tensors <= len(nodes) ** 3


# axes


def test_axes_of_variables_are_kept():
    with nnx.use_eager_sharding(False):
        kernel = nnx.Param(jnp.ones((2, 3)), out_sharding=("embed", None))
    module = nnx.Dict(kernel=kernel, bias=nnx.Param(jnp.ones(3)))
    assert read(module).shardings == {("kernel",): Sharding("(embed, None)")}


def test_axes_given_as_a_spec_or_a_sharding_are_kept():
    mesh = jax.make_mesh((1,), ("data",))
    spec = jax.sharding.PartitionSpec("data", None)
    for given, axes in (
        (spec, "(data, None)"),
        (jax.sharding.NamedSharding(mesh, spec), "('data', None) on {data: 1}"),
    ):
        with nnx.use_eager_sharding(False):
            module = nnx.Dict(kernel=nnx.Param(jnp.ones((2, 3)), out_sharding=given))
        assert read(module).shardings == {("kernel",): Sharding(axes)}


# no side effects


def test_nothing_is_run_patched_or_changed():
    class Loud(nnx.Module):
        def __init__(self, rngs):
            self.linear = nnx.Linear(2, 3, rngs=rngs)

        def __call__(self, x):
            raise AssertionError("was called")

    module = Loud(nnx.Rngs(0))
    attributes, call = dict(vars(module)), Loud.__call__
    before = jax.tree.leaves(nnx.state(module))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(module)
    assert vars(module) == attributes
    assert Loud.__call__ is call
    assert all(map(lambda a, b: a is b, jax.tree.leaves(nnx.state(module)), before))


def test_abstract_modules_touch_no_memory():
    module = nnx.eval_shape(lambda: nnx.Linear(10**6, 10**5, rngs=nnx.Rngs(0)))
    before = len(jax.live_arrays())
    assert ex.count_parameters(module) == 10**11 + 10**5
    assert len(jax.live_arrays()) == before


def test_values_are_not_read():
    class Untouchable(np.ndarray):
        def __array_finalize__(self, parent):
            pass

        def __getitem__(self, index):
            raise AssertionError("was read")

    array = np.zeros((2, 3), np.float32).view(Untouchable)
    assert ex.count_parameters(nnx.Dict(kernel=nnx.Param(array))) == 6
