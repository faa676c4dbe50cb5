"""Partition and combine: parts are exact, masks are prefixes, errors name the path."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

from explorer.errors import TreeError
from explorer.tree.partition import combine, map_leaves, partition
from tests import zoo


def is_kernel(path, leaf):
    return path[-1] == "kernel"


def test_each_leaf_goes_to_one_half_and_none_stands_in_the_other():
    kernel, bias = jnp.ones((2, 3)), jnp.ones(3)
    yes, no = partition({"a": [zoo.Pair(bias, kernel)], "b": None}, is_kernel)
    assert yes["a"][0].kernel is kernel
    assert no["a"][0].bias is bias
    assert yes["a"][0].bias is no["a"][0].kernel is yes["b"] is no["b"] is None


def test_predicates_are_given_the_path_and_the_leaf():
    seen = {}
    partition({"a": [1.0, None], "b": {"c": 2.0}}, seen.setdefault)
    assert seen == {("a", "0"): 1.0, ("b", "c"): 2.0}


def test_boxes_and_variables_move_whole():
    box, variable = nn.Partitioned(jnp.ones(2), ("a",)), nnx.Param(jnp.ones(2))
    yes, no = partition({"box": box, "variable": variable}, lambda path, leaf: leaf is box)
    assert yes == {"box": box, "variable": None}
    assert no["box"] is None
    assert no["variable"] is variable
    whole = combine(yes, no)
    assert whole["box"] is box
    assert whole["variable"] is variable


def test_the_names_of_axes_survive():
    tree = zoo.params(zoo.boxed())
    whole = combine(*partition(tree, is_kernel))
    assert whole["kernel"].names == ("embed", "mlp")


def test_a_tree_of_bools_chooses():
    tree = {"a": 1.0, "b": [2.0, None, 3.0]}
    assert partition(tree, {"a": True, "b": [False, None, np.True_]}) == (
        {"a": 1.0, "b": [None, None, 3.0]},
        {"a": None, "b": [2.0, None, None]},
    )


def test_a_tree_of_bools_may_be_a_prefix():
    tree = {"a": {"x": 1.0, "y": 2.0}, "b": [3.0]}
    assert partition(tree, {"a": True, "b": False})[0] == {"a": tree["a"], "b": [None]}
    assert partition(tree, True)[0] == tree


def test_a_callable_module_of_bools_is_a_tree_of_bools():
    module = eqx.filter(eqx.nn.MLP(2, 3, 4, 1, key=jax.random.key(0)), eqx.is_array)
    mask = jax.tree.map(lambda x: x.ndim == 2, module)
    assert callable(mask)
    matrices, vectors = partition(module, mask)
    assert [x.ndim for x in jax.tree.leaves(matrices)] == [2, 2]
    assert [x.ndim for x in jax.tree.leaves(vectors)] == [1, 1]


def test_a_mask_in_boxes_fits_a_tree_of_boxes():
    tree = zoo.params(zoo.boxed())
    mask = jax.tree.map(lambda x: x.ndim == 2, tree)
    yes, no = partition(tree, mask)
    assert yes["kernel"] is tree["kernel"]
    assert no["bias"] is tree["bias"]


def test_three_parts_combine():
    assert combine([1.0, None, None], [None, 2.0, None], [None, None, 3.0]) == [
        1.0,
        2.0,
        3.0,
    ]
    assert combine([None, 1.0], [None, None]) == [None, 1.0]


def test_it_can_be_traced():
    tree = zoo.params()

    @jax.jit
    def double_kernels(tree):
        kernels, rest = partition(tree, is_kernel)
        return combine(jax.tree.map(lambda x: 2 * x, kernels), rest)

    doubled = double_kernels(tree)
    np.testing.assert_array_equal(doubled["head"]["kernel"], 2 * tree["head"]["kernel"])
    np.testing.assert_array_equal(doubled["head"]["bias"], tree["head"]["bias"])


def test_leaves_are_mapped_with_their_paths():
    tree = {"a": (1.0, None), "b": nn.Partitioned(2.0, ())}
    assert map_leaves(lambda path, leaf: path, tree) == {
        "a": (("a", "0"), None),
        "b": ("b",),
    }


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: combine({"a": [1.0]}, {"a": [2.0]}),
            "a/0: a leaf in 2 of the trees; expected a leaf in one of them and None in the "
            "others; combine the parts of one partition",
        ),
        (
            lambda: combine(1.0, 2.0),
            "the tree: a leaf in 2 of the trees; expected a leaf in one of them and None in "
            "the others; combine the parts of one partition",
        ),
        (
            lambda: combine({"a": 1.0, "b": None}, {"a": None}),
            "b: in tree 1 and not in tree 2; expected trees with one structure; "
            "combine the parts of one partition",
        ),
        (
            lambda: combine([None], [None], [None, 1.0]),
            "1: in tree 3 and not in tree 1; expected trees with one structure; "
            "combine the parts of one partition",
        ),
        (
            lambda: combine([1.0], (None,)),
            "the trees: other container types in tree 2 than in tree 1; expected trees "
            "with one structure; combine the parts of one partition",
        ),
        (combine, "combine(): no arguments; expected the parts of one tree"),
        (
            lambda: partition({"a": [1.0]}, {"a": [0.5]}),
            "a/0: float in the tree of bools; expected True or False",
        ),
    ],
)
def test_errors_name_the_path(call, message):
    with pytest.raises(TreeError) as caught:
        call()
    assert str(caught.value) == message


def test_a_tree_of_bools_of_another_structure_does_not_fit():
    with pytest.raises(
        TreeError, match=r"^the tree of bools: does not fit the tree \(.*'b'"
    ):
        partition({"a": 1.0}, {"b": True})
