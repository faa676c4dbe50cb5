"""Walking: JAX's order and names, at any depth, through any node, and out of cycles."""

import sys
from collections import OrderedDict, defaultdict
from types import MappingProxyType

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from flax import nnx

from explorer.errors import TreeError
from explorer.tree.walk import atom_types, name_of_key, names_of, walk
from tests import zoo


@pytest.mark.parametrize("entry", zoo.TREES.values(), ids=zoo.TREES)
def test_leaves_come_in_the_order_and_by_the_names_of_jax(entry):
    tree = entry()
    found, _ = jax.tree_util.tree_flatten_with_path(tree)
    leaves = walk(tree)
    assert leaves.paths == [names_of(keys) for keys, _ in found]
    assert all(a is b for a, (_, b) in zip(leaves.values, found, strict=True))


def test_names_are_those_of_every_kind_of_key():
    keys = (
        jax.tree_util.DictKey("a"),
        jax.tree_util.DictKey(0),
        jax.tree_util.SequenceKey(0),
        jax.tree_util.GetAttrKey("b"),
        jax.tree_util.FlattenedIndexKey(2),
    )
    assert names_of(keys) == ("a", "0", "0", "b", "2")
    assert name_of_key("?") == "?"


def test_a_tree_of_ten_thousand_levels_is_walked():
    depth = 10_000
    tree = leaf = []
    for level in range(depth):
        inner = [[], {"a": []}, OrderedDict()][level % 3]
        leaf.append(inner) if isinstance(leaf, list) else leaf.update(x=inner)
        leaf = inner["a"] if type(inner) is dict else inner
    leaf.append(1.0) if isinstance(leaf, list) else leaf.update(x=1.0)
    (path,) = walk(tree).paths
    assert len(path) > depth > sys.getrecursionlimit()


def test_what_is_shared_but_no_cycle_is_walked_twice():
    shared = [1.0]
    assert walk({"a": shared, "b": [shared]}).paths == [("a", "0"), ("b", "0", "0")]


def cycle_through_list():
    tree = [1.0]
    tree.append({"back": tree})
    return {"model": tree}


def cycle_through_ordered_dict():
    tree = OrderedDict(kernel=1.0)
    tree["self"] = tree
    return {"model": tree}


def cycle_through_dataclass():
    tree = zoo.Config(1.0, None)
    tree.bias = (tree,)
    return {"model": tree}


@pytest.mark.parametrize(
    ("build", "kind", "at"),
    [
        (cycle_through_list, "list", "model/1/back"),
        (cycle_through_ordered_dict, "OrderedDict", "model/self"),
        (cycle_through_dataclass, "Config", "model/bias/0"),
    ],
)
def test_a_cycle_is_named(build, kind, at):
    with pytest.raises(TreeError) as caught:
        walk(build())
    assert str(caught.value) == (
        f"model: {kind} that contains itself, {at}; expected a tree; "
        "remove the reference to itself"
    )


@pytest.mark.parametrize(
    "make", [dict, lambda d: defaultdict(int, d)], ids=["dict", "defaultdict"]
)
def test_keys_without_an_order_are_named(make):
    with pytest.raises(
        TreeError, match=r"^net/0: \w+ whose keys cannot be sorted \(int, str\)"
    ):
        walk({"net": [make({1: 1.0, "a": 2.0})]})


def test_dataclasses_that_jax_does_not_know_are_nodes_of_their_fields():
    tree = {"layer": zoo.Config(kernel=jnp.ones(2), bias=None)}
    assert walk(tree).paths == [("layer", "kernel")]
    assert walk(zoo.Config).paths == [()]


def test_other_mappings_are_leaves_as_for_jax():
    tree = MappingProxyType({"a": 1.0})
    assert walk(tree).values == [tree]
    assert jax.tree.leaves(tree) == [tree]


def test_enter_opens_nodes_and_marks_what_is_in_them():
    def enter(path, node, mark):
        if isinstance(node, zoo.Pair):
            return {"opened": node.bias}, "/".join(path)
        return node, mark

    leaves = walk([zoo.Pair(1.0, 2.0), 3.0, zoo.Pair(4.0, None)], enter, "root")
    assert leaves.paths == [("0", "opened"), ("1",), ("2", "opened")]
    assert leaves.values == [1.0, 3.0, 4.0]
    assert leaves.marks == ["0", "root", "2"]


def test_boxes_and_variables_are_atoms():
    assert isinstance(nnx.Param(1.0), atom_types())
    assert isinstance(nn.Partitioned(1.0, ("a",)), atom_types())
    assert not isinstance(jnp.ones(1), atom_types())
