"""Optimizer state under any name: what optax makes, as checkpoints spell it."""

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

import explorer as ex

PARAMS = {
    "dense": {"kernel": jnp.ones((4, 3)), "bias": jnp.zeros(3)},
    "norm": {"scale": jnp.ones(3)},
}
SIZE = 4 * 3 + 3 + 3

OPTIMIZERS = {
    "adabelief": optax.adabelief(1e-3),
    "adadelta": optax.adadelta(1e-3),
    "adafactor": optax.adafactor(1e-3, min_dim_size_to_factor=2),
    "adagrad": optax.adagrad(1e-3),
    "adam": optax.adam(1e-3),
    "adamax": optax.adamax(1e-3),
    "adamw": optax.adamw(optax.cosine_decay_schedule(1e-3, 10)),
    "adan": optax.adan(1e-3),
    "amsgrad": optax.amsgrad(1e-3),
    "lamb": optax.lamb(1e-3),
    "lars": optax.lars(1e-3),
    "lion": optax.lion(1e-3),
    "momentum": optax.sgd(1e-3, momentum=0.9),
    "nadamw": optax.nadamw(1e-3),
    "novograd": optax.novograd(1e-3),
    "optimistic": optax.optimistic_gradient_descent(1e-3),
    "rmsprop": optax.rmsprop(1e-3, centered=True, momentum=0.9),
    "rprop": optax.rprop(1e-3),
    "sgd": optax.sgd(1e-3),
    "sm3": optax.sm3(1e-3),
    "yogi": optax.yogi(1e-3),
    "ademamix": contrib.ademamix(1e-3),
    "cocob": contrib.cocob(),
    "dadapt": contrib.dadapt_adamw(1e-3),
    "dog": contrib.dog(1e-3),
    "muon": contrib.muon(1e-3),
    "prodigy": contrib.prodigy(),
    "schedule_free": contrib.schedule_free_adamw(1e-3),
    "accumulated": optax.MultiSteps(optax.adamw(1e-3), 4).gradient_transformation(),
    "clipped": optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3)),
    "finite": optax.apply_if_finite(optax.adam(1e-3), 3),
    "hyperparameters": optax.inject_hyperparams(optax.adamw)(learning_rate=1e-3),
    "masked": optax.masked(optax.adam(1e-3), {"dense": True, "norm": False}),
    "partitioned": optax.partition(
        {"a": optax.adam(1e-3), "b": optax.sgd(1e-3, momentum=0.9)},
        {"dense": "a", "norm": "b"},
    ),
}


def as_saved(tree):
    """Return a tree of dicts and arrays, as msgpack and Orbax write its names."""
    return jax.tree.map(np.asarray, flax.serialization.to_state_dict(tree))


@pytest.mark.parametrize("item", ["opt", "optimizer_state", "tx", "saved"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_what_optax_makes_is_not_a_parameter(name: str, item: str):
    state = as_saved(OPTIMIZERS[name].init(PARAMS))
    for tree in (
        {"model": PARAMS, item: state},
        {"0": PARAMS, "1": {item: state, "step": np.int32(3)}},
    ):
        assert ex.count_parameters(tree) == SIZE


@pytest.mark.parametrize("name", sorted(OPTIMIZERS.keys() - {"sgd", "cocob", "sm3"}))
def test_a_state_alone_has_no_parameters(name: str):
    state = {"opt_state": as_saved(OPTIMIZERS[name].init(PARAMS))}
    assert ex.count_parameters(state) == 0


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_state_alone_needs_no_name_around_it(name: str, tmp_path):
    """As `to_bytes(opt_state)`, and with the names that `jax.tree_util.keystr` writes."""
    state = OPTIMIZERS[name].init(PARAMS)
    assert ex.count_parameters(as_saved(state)) == 0
    leaves = jax.tree_util.tree_flatten_with_path(state)[0]
    arrays = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}
    np.savez(tmp_path / "state.npz", **arrays)  # pyright: ignore
    ledger = ex.ledger(tmp_path / "state.npz")
    assert (ledger.parameters, ledger.tensors) == (0, len(leaves))


@pytest.mark.parametrize("name", ["adam", "lion", "lamb", "muon", "schedule_free"])
def test_a_state_of_one_array_alone(name: str):
    state = as_saved(OPTIMIZERS[name].init(jnp.ones((4, 3))))
    assert ex.count_parameters(state) == 0


def test_a_state_of_ones_own_mirrors_the_parameters():
    state = {"steps": np.int32(1), "first": PARAMS, "second": PARAMS}
    tree = {"net": PARAMS, "my_optimizer": state}
    assert ex.count_parameters(as_saved(tree)) == SIZE


@pytest.mark.parametrize(
    "tree",
    [
        {"mu": {"kernel": np.ones((4, 3))}, "logvar": {"kernel": np.ones((4, 3))}},
        {"encoder": {"mu": np.ones(3), "sigma": np.ones(3)}},
        {"norm": {"scale": np.ones(3), "count": np.int32(0)}},
        {"m": {"kernel": np.ones((4, 3))}, "v": {"kernel": np.ones((3, 4))}},
        {"momentum_encoder": {"kernel": np.ones((4, 3))}},
    ],
)
def test_modules_with_such_names_are_parameters(tree):
    floats = [leaf.size for leaf in jax.tree.leaves(tree) if leaf.dtype.kind == "f"]
    assert ex.count_parameters(tree) == sum(floats)
