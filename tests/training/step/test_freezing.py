"""Frozen parameters: bit for bit as they were, whatever the optimizer would do."""

import chex
import jax
import numpy as np
import optax
import pytest

from explorer.errors import InputError, TreeError
from explorer.training.step.freezing import freeze
from explorer.training.step.train_step import make_train_step
from tests.training import tiny

# decay and momentum both move parameters without a gradient
OPTIMIZER = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(0.1, weight_decay=0.5))
PARAMS = jax.device_get(tiny.network_state(OPTIMIZER).params)


@pytest.mark.parametrize(
    ("choice", "spared", "held"),
    [
        ({"roles": ["bias"]}, True, {"layers_0/bias", "layers_1/bias"}),
        ({"roles": ["weight"]}, False, {"layers_0/kernel", "layers_1/kernel"}),
        ({"globs": ["layers_0/**"]}, False, {"layers_0/bias", "layers_0/kernel"}),
        (
            {"roles": ["bias"], "globs": ["layers_1/*"]},
            True,
            {"layers_0/bias", "layers_1/bias", "layers_1/kernel"},
        ),
        ({"roles": "bias"}, True, {"layers_0/bias", "layers_1/bias"}),
        ({"globs": "layers_0/*"}, True, {"layers_0/bias", "layers_0/kernel"}),
    ],
)
def test_what_is_frozen_stays_and_the_rest_learns(choice, spared, held):
    found = freeze(OPTIMIZER, PARAMS, **choice)
    state = tiny.network_state(found.optimizer)
    step = make_train_step(
        tiny.squares(tiny.NETWORK),
        found.optimizer,
        labels=found.labels if spared else None,
        steps_per_call=3,
    )
    state, _ = step(state, tiny.stacked(tiny.batches(3)))
    changed = {
        "/".join(key.key for key in keys): int(np.sum(new != old))
        for (keys, new), old in zip(
            jax.tree_util.tree_flatten_with_path(state.params)[0],
            jax.tree.leaves(PARAMS),
            strict=True,
        )
    }
    assert {name for name, count in changed.items() if count == 0} == held
    assert sum(changed.values()) == found.trainable
    assert found.trainable + found.frozen == 6 * 8 + 8 + 8 * 4 + 4
    assert type(found.trainable) is type(found.frozen) is int


def test_no_moments_are_kept_of_what_is_frozen():
    found = freeze(OPTIMIZER, PARAMS, roles=["kernel"])
    slots = jax.eval_shape(found.optimizer.init, PARAMS)
    sizes = sum(leaf.size for leaf in jax.tree.leaves(slots) if leaf.ndim)
    assert sizes == 2 * found.trainable


def test_gradients_of_what_is_frozen_are_spared():
    found = freeze(optax.sgd(0.1), PARAMS, globs=["layers_0/*"])
    loss_fn, batch = tiny.squares(tiny.NETWORK), tiny.points(8)
    state = tiny.network_state(found.optimizer)
    flops = []
    for labels in (None, found.labels):
        step = make_train_step(loss_fn, found.optimizer, labels=labels)
        analysis = step.lower(state, batch).compile().cost_analysis()  # pyright: ignore
        flops.append(analysis["flops"])
    # the gradient of the first kernel is a product of 8 x 6 with 8 x 8
    assert flops[0] - flops[1] > 2 * 8 * 6 * 8


def test_roles_may_be_given_where_names_do_not_tell():
    params = {"a": np.ones((2, 2), np.float32), "b": np.ones(2, np.float32)}
    found = freeze(
        optax.sgd(1.0), params, roles=["bias"], role_tree={"a": "bias", "b": "kernel"}
    )
    assert found.labels == {"a": "frozen", "b": "trained"}
    assert (found.trainable, found.frozen) == (2, 4)


def test_labels_have_the_structure_of_params():
    found = freeze(OPTIMIZER, PARAMS, roles=["bias"])
    chex.assert_trees_all_equal_structs(found.labels, PARAMS)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (
            {"roles": ["embedding"]},
            "freeze(roles=): no parameter is a embedding; expected of bias, kernel, which this model has",
        ),
        (
            {"roles": ["biases"]},
            "freeze(roles=): 'biases'; expected of kernel, embedding, scale, bias, other, weight",
        ),
        (
            {"roles": ["bias"], "globs": ["layers_7/**"]},
            "freeze(globs=): 'layers_7/**' matches no parameter; expected a glob of paths such as layers_0/bias",
        ),
        (
            {"globs": [1]},
            "freeze(globs=): [1]; expected one or several of the globs, each a string",
        ),
        (
            {"roles": None},
            "freeze(roles=): None; expected one or several of the roles, each a string",
        ),
        ({}, "freeze: neither a role nor a glob; expected some of the parameters"),
        (
            {"globs": ["**"]},
            "freeze: all parameters are frozen; expected some of the parameters",
        ),
    ],
)
def test_what_matches_nothing_is_said(choice, message):
    with pytest.raises(InputError) as raised:
        freeze(OPTIMIZER, PARAMS, **choice)
    assert str(raised.value) == message


def test_roles_of_another_tree_are_refused():
    with pytest.raises(TreeError) as raised:
        freeze(OPTIMIZER, PARAMS, roles=["bias"], role_tree={"a": "bias"})
    assert str(raised.value) == (
        "role_tree: a tree of 1 leaves; expected the structure of params, 4 leaves, each a role"
    )
