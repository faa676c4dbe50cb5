"""The summary: what is unused, frozen, tied, trainable, and where names mislead."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax

from explorer.api.models import audit_roles
from explorer.errors import InputError, TreeError
from explorer.roles.dataflow import trace_roles
from tests.roles.dataflow.reading import floats, ids

SHAPES = {
    "embed": {"embedding": floats(10, 8)},
    "dense": {"kernel": floats(8, 8), "bias": floats(8)},
    "norm": {"scale": floats(8)},
    "gamma": floats(8),
    "frozen": {"kernel": floats(8, 8)},
    "dead": {"kernel": floats(8, 4), "bias": floats(4)},
}


def fn(p, tokens):
    x = p["embed"]["embedding"][tokens]
    x = x @ p["dense"]["kernel"] + p["dense"]["bias"]
    x = x * p["norm"]["scale"] + p["gamma"]
    x = x @ lax.stop_gradient(p["frozen"]["kernel"])
    return x @ p["embed"]["embedding"].T


ROLES = trace_roles(fn, SHAPES, ids(2, 3))


def test_the_summary():
    audit = audit_roles(ROLES, SHAPES)
    # dead ones have the roles of their names
    assert audit.biases == 8 + 8 + 4
    assert audit.weights == 80 + 64 + 8 + 64 + 32
    assert audit.parameters == audit.weights + audit.biases
    assert audit.unused == ("dead/bias", "dead/kernel")
    assert audit.frozen == ("frozen/kernel",)
    assert audit.tied == ("embed/embedding",)
    assert audit.trainable == 80 + 64 + 8 + 8 + 8
    (misleading,) = audit.disagreements
    assert (misleading.path, misleading.by_use, misleading.by_name) == (
        "gamma",
        "bias",
        "scale",
    )
    assert misleading.parameters == 8


def test_a_table_added_whole_disagrees_with_its_name():
    params = {"position_embedding": floats(6, 4)}
    roles = trace_roles(lambda p, x: x + p["position_embedding"], params, floats(6, 4))
    (found,) = audit_roles(roles, params).disagreements
    assert (found.by_use, found.by_name) == ("bias", "embedding")


def test_shared_arrays_count_once():
    table = np.ones((10, 8), np.float32)
    params = {"embed": table, "head": table}
    roles = trace_roles(lambda p, i: p["embed"][i] @ p["head"].T, params, ids(3))
    audit = audit_roles(roles, params)
    assert (audit.parameters, audit.weights, audit.trainable) == (80, 80, 80)
    assert audit.tied == ("embed", "head")


def labels(params):
    """Train the dense layer alone."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: "train" if "dense" in str(path[0]) else "freeze", params
    )


def is_dense(params):
    return jax.tree.map(lambda label: label == "train", labels(params))


def is_other(params):
    return jax.tree.map(lambda label: label == "freeze", labels(params))


FROZEN = ("embed/embedding", "frozen/kernel", "gamma", "norm/scale")


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.partition({"train": optax.adamw(1e-3), "freeze": optax.set_to_zero()}, labels),
        optax.chain(optax.adam(1e-3), optax.masked(optax.set_to_zero(), is_other)),
        optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.1), optax.masked(optax.set_to_zero(), is_other)),
        optax.chain(optax.sgd(0.1), optax.masked(optax.scale(0.0), is_other)),
        optax.chain(optax.sgd(0.1), optax.transforms.freeze(is_other(SHAPES))),
        optax.MultiSteps(
            optax.partition({"train": optax.sgd(0.1), "freeze": optax.set_to_zero()}, labels), 4
        ),
        optax.transforms.selective_transform(optax.adam(1e-3), freeze_mask=is_other(SHAPES)),
    ],
)  # fmt: skip
def test_what_an_optimizer_leaves_alone_is_frozen(optimizer):
    audit = audit_roles(ROLES, SHAPES, optimizer)
    assert audit.frozen == FROZEN
    assert audit.trainable == 64 + 8


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.adamw(1e-3, mask=is_dense),  # the mask is of the decay alone
        optax.masked(optax.sgd(0.1), is_dense),  # the others keep their gradient as update
        optax.chain(optax.clip(1.0), optax.lion(1e-4)),
        optax.lbfgs(),
        optax.chain(optax.adam(1e-3), optax.contrib.reduce_on_plateau()),
        optax.sgd(optax.cosine_decay_schedule(0.1, 10)),
    ],
)
def test_optimizers_that_change_everything(optimizer):
    assert audit_roles(ROLES, SHAPES, optimizer).frozen == ("frozen/kernel",)


def test_decay_alone_changes_a_parameter():
    optimizer = optax.chain(
        optax.set_to_zero(), optax.add_decayed_weights(1e-2), optax.scale(-0.1)
    )
    assert audit_roles(ROLES, SHAPES, optimizer).frozen == ("frozen/kernel",)


def test_an_optimizer_of_another_tree():
    optimizer = optax.partition({"a": optax.sgd(1.0)}, {"other": "a"})
    with pytest.raises(InputError) as caught:
        audit_roles(ROLES, SHAPES, optimizer)
    text = str(caught.value)
    assert text.startswith("optimizer: does not fit the parameters: ")
    assert "expected an optax transformation for this tree" in text
    assert "\n" not in text


def test_an_optimizer_that_is_none():
    with pytest.raises(
        InputError, match="optimizer: does not fit the parameters: 'str' object"
    ):
        audit_roles(ROLES, SHAPES, "adam")


def test_roles_of_another_tree():
    with pytest.raises(TreeError) as caught:
        audit_roles({"a": 1}, SHAPES)
    assert str(caught.value) == (
        "roles: 1 leaves; expected a ParameterRole for each of the 8 parameters"
    )


def test_integers_are_frozen():
    params = {"q": jax.ShapeDtypeStruct((8, 8), jnp.int8), "s": floats(8)}
    roles = trace_roles(lambda p, x: x @ (p["q"] * p["s"]), params, floats(2, 8))
    audit = audit_roles(roles, params)
    assert (audit.frozen, audit.trainable) == (("q",), 8)
