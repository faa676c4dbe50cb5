"""Trees: collections, libraries, and what reading them does not do."""

import subprocess
import sys
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
import pytest
from flax import nnx
from flax.training.train_state import TrainState

import explorer as ex
from explorer.objects.pytree import read
from tests import zoo


def collections_of(tree):
    listing = read(tree)
    assert listing.collections is not None
    return {"/".join(k): c for k, c in zip(listing.keys, listing.collections, strict=True)}


# collections


def test_integers_among_parameters_are_not_parameters():
    tree = {"params": {"kernel": jnp.ones((2, 3)), "ids": jnp.arange(4), "on": True}}
    assert collections_of(tree) == {
        "params/kernel": "params",
        "params/ids": "",
        "params/on": "",
    }
    assert ex.count_parameters(tree) == 6
    assert ex.explore(tree)["params/ids"].collection == "buffers"


def test_statistics_are_not_parameters():
    inventory = ex.explore(zoo.variables(zoo.MLP(), zoo.array(1, 3)))
    assert inventory.num_parameters == 3 * 4 + 4 + 4 + 4 + 4 * 2 + 2
    assert inventory.num_buffers == 4 + 4


def test_a_train_state_has_its_collections():
    class State(TrainState):
        batch_stats: object = None
        loss_scale: object = None
        dropout_key: object = None

    variables = zoo.variables(zoo.MLP(), zoo.array(1, 3))
    state = State.create(
        apply_fn=print,
        tx=optax.adam(1e-3),
        **variables,
        loss_scale=jnp.ones(()),
        dropout_key=jax.random.key(0),
    )
    listing = read({"run": [state]})
    assert read(state).format == "train state"
    found = dict(zip([k[2] for k in listing.keys], listing.collections or [], strict=True))
    assert found == {
        "step": "state",
        "params": "params",
        "opt_state": "opt_state",
        "batch_stats": "batch_stats",
        "loss_scale": "state",
        "dropout_key": "rng_state",
    }
    assert ex.count_parameters(state) == 34


def test_a_record_with_the_fields_of_a_train_state_is_one():
    class Mine(NamedTuple):
        params: object
        opt_state: object
        moving: object

    params = {"kernel": jnp.ones((2, 3))}
    state = Mine(params, optax.adam(1e-3).init(params), {"kernel": jnp.ones((2, 3))})
    assert read(state).format == "train state"
    assert ex.count_parameters(state) == 6
    assert collections_of(state)["moving/kernel"] == "state"


@pytest.mark.parametrize(
    "make",
    [
        lambda: optax.scale_by_adam(),
        lambda: optax.adamw(1e-3),
        lambda: optax.chain(optax.clip(1.0), optax.MultiSteps(optax.adam(1e-3), 2)),
        lambda: optax.inject_hyperparams(optax.sgd)(1e-3, momentum=0.9),
        lambda: optax.multi_transform(
            {"a": optax.adam(1e-3), "b": optax.sgd(1e-3)}, {"kernel": "a", "bias": "b"}
        ),
    ],
)
def test_an_optimizer_state_has_no_parameters(make):
    state = make().init({"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)})
    listing = read(state)
    assert listing.format == "optax state"
    assert set(listing.collections or []) == {"opt_state"}
    assert len(listing.keys) == len(jax.tree.leaves(state))
    assert set(collections_of({"mine": [state]}).values()) == {"opt_state"}


def test_a_chain_with_a_state_of_ones_own_is_an_optimizer_state():
    tree = (zoo.Pair(jnp.ones(2), jnp.ones(3)), optax.EmptyState())
    assert set(collections_of(tree).values()) == {"opt_state"}
    assert set(collections_of(((tree,),)).values()) == {"opt_state"}


def test_parameters_beside_an_optimizer_state_stay_parameters():
    params = {"kernel": jnp.ones((2, 3))}
    for tx in (
        optax.adam(1e-3),
        optax.scale_by_adam(),
        optax.inject_hyperparams(optax.sgd)(1.0),
    ):
        assert ex.count_parameters((params, tx.init(params))) == 6


# libraries


def test_of_equinox_modules_arrays_alone_are_leaves():
    mlp = eqx.nn.MLP(2, 3, 4, 1, activation=jnp.tanh, key=jax.random.key(0))
    assert any(callable(leaf) for leaf in jax.tree.leaves(mlp))
    listing = read({"model": [mlp, eqx.nn.Dropout(0.5)]})
    assert listing.keys[0] == ("model", "0", "layers", "0", "weight")
    assert ex.count_parameters(mlp) == 2 * 4 + 4 + 4 * 3 + 3
    assert read(mlp).format == "equinox module"


def test_equinox_statistics_are_buffers():
    make = eqx.nn.make_with_state(eqx.nn.BatchNorm)
    model, state = make(3, axis_name="batch", mode="ema")
    inventory = ex.explore((model, state))
    assert (inventory.num_parameters, inventory.num_biases, inventory.num_buffers) == (
        6,
        3,
        7,
    )
    whole = eqx.nn.BatchNorm(3, axis_name="batch", mode="ema")
    assert ex.explore(whole).num_parameters == 6


def test_haiku_names_stay_one_element():
    listing = read(zoo.haiku_params())
    assert listing.format == "haiku parameters"
    assert ("mlp/~/linear_0", "w") in listing.keys
    assert ex.explore(zoo.haiku_params()).num_biases == 3 + 4 + 2


def test_nnx_variables_in_other_trees_go_by_their_type():
    norm = nnx.BatchNorm(3, rngs=nnx.Rngs(0))
    found = collections_of({"parts": [norm, {"extra": nnx.Cache(jnp.ones(2))}]})
    assert found == {
        "parts/0/bias": "params",
        "parts/0/mean": "batch_stats",
        "parts/0/scale": "params",
        "parts/0/var": "batch_stats",
        "parts/1/extra": "cache",
    }


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("dict", "pytree"),
        ("odd names", "pytree"),
        ("linen", "pytree"),
        ("linen variables", "flax variables"),
        ("adamw", "optax state"),
        ("sgd", "optax state"),
    ],
)
def test_the_kind_of_tree_is_reported(name, form):
    assert read(zoo.TREES[name]()).format == form


# what reading does not do


def test_ten_thousand_levels_are_read():
    tree = leaf = {}
    for _ in range(10_000):
        leaf["x"] = leaf = {}
    leaf["bias"] = jnp.ones(3)
    assert ex.count_parameters(tree) == 3


def test_reading_shapes_touches_no_device():
    code = """
import jax, jax.numpy as jnp, sys
from explorer.objects.pytree import read
from jax._src import xla_bridge
read({"params": {"kernel": jax.ShapeDtypeStruct((10**6, 10**6), jnp.float32), "rate": 0.5}})
assert not xla_bridge.backends_are_initialized()
print([m for m in ("flax.nnx", "flax.linen", "optax", "equinox") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_deleted_arrays_still_have_a_shape():
    array = jnp.ones((2, 3))
    array.delete()
    assert ex.count_parameters({"kernel": array}) == 6


def test_reading_changes_nothing():
    tree = zoo.train_state()
    before = jax.tree.leaves(tree)
    structure = jax.tree.structure(tree)
    read(tree)
    assert jax.tree.structure(tree) == structure
    assert all(map(lambda a, b: a is b, jax.tree.leaves(tree), before))
