"""Laws that hold for every tree and module of the zoo, and for random trees."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.flatten_util import ravel_pytree
from msgspec.structs import replace

import explorer as ex
from explorer.tree.walk import names_of
from tests import zoo


def over(kinds):
    return pytest.mark.parametrize("entry", kinds.values(), ids=kinds)


def content_of(target, *inputs, **kwargs):
    """Return an inventory without the name of its target."""
    return replace(ex.explore(target, *inputs, **kwargs), target="")


def leaves_by_jax(tree):
    """Return path, shape and format of every leaf, as JAX lists them."""
    found, _ = jax.tree_util.tree_flatten_with_path(nn.unbox(tree))
    return [
        (names_of(keys), jnp.shape(x), jax.dtypes.result_type(x).name) for keys, x in found
    ]


def bits_by_jax(dtype):
    """Return the width of one element, by NumPy's and ml_dtypes' own information."""
    if jnp.issubdtype(dtype, jax.dtypes.prng_key):
        return 8 * dtype.itemsize
    if jnp.issubdtype(dtype, jnp.integer):
        return jnp.iinfo(dtype).bits
    if dtype.kind == "b":
        return 8
    return jnp.finfo(dtype).bits * (2 if dtype.kind == "c" else 1)


def check_halves(tree, yes, no):
    """Assert that two trees are parts of a third, and combine to it, leaf `is` leaf."""
    whole = ex.combine(yes, no)
    chex.assert_trees_all_equal_structs(whole, tree)
    assert all(map(lambda a, b: a is b, jax.tree.leaves(whole), jax.tree.leaves(tree)))
    assert len(jax.tree.leaves(yes)) + len(jax.tree.leaves(no)) == len(
        jax.tree.leaves(tree)
    )


def check_tree(tree):
    """Assert every law of inventories that can be checked with JAX alone."""
    inventory = ex.explore(tree)
    assert [(t.path, t.shape, t.dtype) for t in inventory] == leaves_by_jax(tree)
    sizes = [jnp.size(x) for x in jax.tree.leaves(nn.unbox(tree))]
    assert [t.size for t in inventory] == sizes
    widths = [
        bits_by_jax(jax.dtypes.result_type(x)) for x in jax.tree.leaves(nn.unbox(tree))
    ]
    bytes_ = [-(-size * bits // 8) for size, bits in zip(sizes, widths, strict=True)]
    assert [t.nbytes for t in inventory] == bytes_
    assert inventory.nbytes == sum(bytes_)
    assert inventory.num_weights + inventory.num_biases == inventory.num_parameters


@over(zoo.TREES)
def test_inventories_list_what_jax_lists(entry):
    check_tree(entry())


@over(zoo.PARAMETERS)
def test_parameters_are_what_ravel_pytree_flattens(entry):
    tree = entry()
    count = ex.explore(tree).num_parameters
    assert count == ravel_pytree(tree)[0].size
    assert type(count) is int


@over(zoo.TREES)
def test_shapes_tell_what_arrays_tell(entry):
    tree = entry()
    shapes = jax.eval_shape(lambda: tree)
    assert content_of(shapes) == content_of(tree)


@over(zoo.TREES)
def test_partition_is_undone_by_combine(entry):
    tree = entry()
    before = jax.tree.leaves(tree)
    check_halves(tree, *ex.partition(tree, lambda path, leaf: "kernel" in path[-1:]))
    check_halves(tree, *ex.partition(tree, lambda path, leaf: True))
    assert all(map(lambda a, b: a is b, jax.tree.leaves(tree), before))


@over(zoo.PARAMETERS)
def test_weights_and_biases_are_halves_of_the_parameters(entry):
    tree = entry()
    weights, biases = ex.split_weights_biases(tree)
    check_halves(tree, weights, biases)
    inventory = ex.explore(tree)
    # of one array alone the other half is None, which is not a model
    halves = [
        0 if half is None else ex.count_parameters(half) for half in (weights, biases)
    ]
    assert halves == [inventory.num_weights, inventory.num_biases]


@over(zoo.PARAMETERS)
def test_decay_masks_have_the_structure_of_the_parameters(entry):
    tree = entry()
    mask = ex.decay_mask(tree)
    assert jax.tree.structure(mask) == jax.tree.structure(tree)
    decayed, _ = ex.partition(tree, mask)
    chosen = {t.path for t in ex.explore(tree) if t.role in ("kernel", "embedding")}
    assert {t.path for t in ex.explore(decayed)} == chosen


@over(zoo.NNX)
def test_abstract_nnx_modules_tell_what_concrete_ones_tell(entry):
    inventory = content_of(entry())
    assert inventory == content_of(nnx.eval_shape(entry))
    assert inventory.num_weights + inventory.num_biases == inventory.num_parameters


@over(zoo.NNX)
def test_nnx_states_tell_what_their_modules_tell(entry):
    module = entry()
    assert content_of(nnx.state(module)) == content_of(module)


@over(zoo.NNX)
def test_nnx_parameters_are_those_of_type_param(entry):
    module = entry()
    params = jax.tree.leaves(nnx.state(module, nnx.Param))
    assert ex.count_parameters(module) == sum(x.size for x in params)


@over(zoo.LINEN)
def test_linen_modules_tell_what_their_variables_tell(entry):
    module, inputs, kwargs = entry
    variables = zoo.variables(module, *inputs, **kwargs)
    abstract = content_of(module, *inputs, **kwargs)
    assert abstract.tensors == ex.explore(variables).tensors
    assert abstract.tensors == content_of(module.bind(variables)).tensors


LEAVES = st.one_of(
    st.none(),
    st.floats(width=32),
    st.builds(
        lambda shape, dtype: np.zeros(shape, dtype),
        st.lists(st.integers(0, 3), max_size=3),
        st.sampled_from(["float32", "float16", "bfloat16", "int32", "uint8", "bool"]),
    ),
)
NAMES = st.one_of(st.sampled_from(["kernel", "bias", "params", "step", "0", ""]), st.text())
RANDOM_TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(NAMES, inner, max_size=4),
        st.tuples(inner, inner).map(lambda pair: zoo.Pair(*pair)),
    ),
    max_leaves=20,
)


def is_tree(target):
    """Return whether a target is not None or a bare number, which are refused as models."""
    return not isinstance(target, float | None)


@settings(deadline=None, max_examples=60)
@given(RANDOM_TREES.filter(is_tree), st.randoms(use_true_random=False))
def test_random_trees(tree, random):
    check_tree(tree)
    check_halves(tree, *ex.partition(tree, lambda path, leaf: random.random() < 0.5))
    mask = jax.tree.map(lambda leaf: random.random() < 0.5, tree)
    check_halves(tree, *ex.partition(tree, mask))


def test_ties_by_identity_are_exact_and_shown_as_tied():
    """An array in two places is one by its identity: no rule decides, nothing is assumed."""
    plain = "inferred (by name and shape; a plain tree does not mark buffers)"
    kernel = jnp.ones((4, 3))
    tree = {"a": {"kernel": kernel, "bias": jnp.ones(3)}, "b": {"kernel": kernel}}
    ledger = ex.ledger(tree)
    assert (ledger.parameters, ledger.stored_elements) == (15, 27)
    assert ledger.tied == [["a/kernel", "b/kernel"]]
    assert ledger.provenance["parameters"] == plain
    assert ledger.provenance["nbytes"] == "exact"
    row = next(line for line in str(ex.explore(tree)).splitlines() if line.startswith("b "))
    assert "[4, 3]" in row
    assert "tied" in row
