"""Trees that JAX cannot flatten are refused before it tries: the interpreter recurses on."""

import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax.core import FrozenDict

import explorer as ex
from explorer import training
from explorer.errors import ExplorerError, TreeError
from explorer.tree.nesting import check_tree
from tests import zoo

DEPTH = 5_000
CONFIG = {
    "model_type": "gpt2", "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 4, "vocab_size": 6,
}  # fmt: skip
ONE = {"a": np.ones(2, np.float32)}
MESH = training.make_mesh()


def cyclic() -> Any:
    tree: dict[str, Any] = {"kernel": np.ones((2, 3), np.float32)}
    tree["self"] = [tree]
    return tree


def branching() -> Any:
    """Contain itself twice: breadth first, there would be 2^200 nodes."""
    tree: list[Any] = [np.ones(3, np.float32)]
    tree += [tree, tree]
    return tree


def deep() -> Any:
    tree: Any = np.ones((2, 3), np.float32)
    for level in range(DEPTH):
        tree = {"a": tree} if level % 2 else [tree]
    return tree


def mixed() -> Any:
    return {"net": {1: np.ones((2, 3), np.float32), "a": np.ones(3, np.float32)}}


def shared() -> Any:
    """Forty dicts without a cycle, which unfold into 2^40 leaves."""
    tree: dict[str, Any] = {"kernel": np.ones((2, 3), np.float32)}
    for _ in range(40):
        tree = {"a": tree, "b": tree}
    return tree


BAD: dict[str, Callable[[], Any]] = {
    "cyclic": cyclic, "branching": branching, "deep": deep, "mixed": mixed, "shared": shared,
}  # fmt: skip


def loss(params: Any, *inputs: Any, **named: Any) -> Any:
    return jnp.zeros(())


X = jnp.ones(2)
FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "count_parameters": ex.count_parameters,
    "explore": ex.explore,
    "explore(like=)": lambda t: ex.explore(t, like=t),
    "explore((fn, tree, x))": lambda t: ex.explore((loss, t, (X,))),
    "explore((fn, params, tree))": lambda t: ex.explore((loss, ONE, (t,))),
    "explore(module, tree)": lambda t: ex.explore(nn.Dense(3), t),
    "summarize": ex.summarize,
    "ledger": ex.ledger,
    "compare": lambda t: ex.compare(t, t),
    "split_weights_biases": ex.split_weights_biases,
    "split_weights_biases(roles=)": lambda t: ex.split_weights_biases(ONE, roles=t),
    "decay_mask": ex.decay_mask,
    "combine": lambda t: ex.combine(t, t),
    "combine(part, tree)": lambda t: ex.combine(ONE, t),
    "partition": lambda t: ex.partition(t, lambda path, leaf: True),
    "partition(tree, tree)": lambda t: ex.partition(ONE, t),
    "trace_roles": lambda t: ex.trace_roles(loss, t, X),
    "trace_roles(inputs)": lambda t: ex.trace_roles(loss, ONE, t),
    "trace_roles(kwargs)": lambda t: ex.trace_roles(loss, ONE, x=t),
    "trace_roles(result)": lambda t: ex.trace_roles(lambda params: t, ONE),
    "report_roles": lambda t: ex.report_roles((loss, t, (X,))),
    "audit_roles(roles)": lambda t: ex.audit_roles(t, ONE),
    "audit_roles(params)": lambda t: ex.audit_roles(ex.trace_roles(loss, ONE, X), t),
    "to_checkpoint": lambda t: ex.to_checkpoint(t, CONFIG),
    "Arrays": training.Arrays,
    "Freezing": lambda t: training.Freezing("**/a*").labels(t),
    "freeze": lambda t: training.freeze(optax.sgd(0.1), t, globs=["**/a*"]),
    "Watch.rows": lambda t: training.Watch(every=1).rows(t),
    "Watch.init": lambda t: training.Watch(every=1, distance=True).init(t),
    "Watch.measure": lambda t: training.Watch(every=1).measure(0, ONE, t, ONE),
    "create_state": lambda t: training.create_state(
        nn.Dense(3), optax.sgd(0.1), jax.random.key(0), t
    ),
    "names_of_bad": lambda t: training.names_of_bad(t, [0]),
    "shardings_of": lambda t: training.shardings_of(t, MESH),
    "sharded_shapes": lambda t: training.sharded_shapes(t, MESH),
    "place_batch": lambda t: training.place_batch(t, MESH),
}
# what is walked and not flattened may be of any depth
ANY_DEPTH = {
    "count_parameters", "explore", "explore(like=)", "summarize", "ledger", "compare",
}  # fmt: skip


def recurse(levels: int) -> int:
    return levels and 1 + recurse(levels - 1)


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_one_line_and_the_interpreter_recurses_on(name: str, kind: str):
    tree = BAD[kind]()
    if kind == "deep" and name in ANY_DEPTH:
        FUNCTIONS[name](tree)
    else:
        with pytest.raises(ExplorerError) as caught:
            FUNCTIONS[name](tree)
        assert "\n" not in str(caught.value)
    assert recurse(sys.getrecursionlimit() // 2) == sys.getrecursionlimit() // 2
    assert len(jax.tree.leaves({"a": [1, (2, 3)]})) == 3


def refusal(tree: Any) -> str:
    with pytest.raises(TreeError) as caught:
        check_tree(tree)
    return str(caught.value)


def test_where_and_why_is_said():
    keys = (
        "keys cannot be sorted (int, str); expected sortable keys, which JAX requires; make"
    )
    assert refusal({"model": cyclic()}) == (
        "model: dict that contains itself, model/self/0; expected a tree; remove the "
        "reference to itself"
    )
    assert refusal({"model": deep()}) == (
        "model/a/0: is nested more than 200 levels deep; expected a tree that JAX can "
        "flatten; pass its parts one by one"
    )
    assert refusal(mixed()) == f"net: dict whose {keys} them all strings"
    assert refusal([FrozenDict({1: 1.0, "a": 2.0})]) == (
        f"0: FrozenDict whose {keys} them all strings"
    )


@pytest.mark.parametrize(
    "node", [lambda t: (t,) * 100, lambda t: FrozenDict(a=t, b=[t] * 9)]
)
def test_sharing_of_other_containers(node: Callable[[Any], Any]):
    tree: Any = np.ones(3, np.float32)
    for _ in range(8):
        tree = node(tree)
    found = refusal(tree)
    assert found.startswith("the tree: unfolds into more than 2")
    assert found.endswith("; expected a tree; hold each container in one place")


def test_a_part_in_many_places_is_accepted():
    """Sharing alone is accepted: 100,000 arrays in three places, a dict in 400,000."""
    part = {f"w{i}": np.float32(0) for i in range(100_000)}
    check_tree([part, (part, {"again": part})])
    check_tree([{"w": np.float32(0)}] * 400_000)


@pytest.mark.parametrize("entry", zoo.TREES.values(), ids=zoo.TREES)
def test_what_jax_flattens_is_accepted(entry: Callable[[], Any]):
    check_tree(entry())


@pytest.mark.parametrize("levels", [0, 1, 64, 199, 200])
def test_trees_as_deep_as_is_accepted_are_split_and_combined(levels: int):
    tree: Any = np.ones(3, np.float32)
    for level in range(levels):
        tree = {"a": tree} if level % 2 else [tree]
    weights, biases = ex.split_weights_biases(tree)
    assert jax.tree.structure(ex.combine(weights, biases)) == jax.tree.structure(tree)
    assert ex.trace_roles(lambda params: jax.tree.leaves(params)[0] * 2, tree) is not None
