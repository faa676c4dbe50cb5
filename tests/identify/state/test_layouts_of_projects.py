"""Checkpoints laid out as well-known projects lay them out: what each counts.

The layouts follow the projects' own code (Brax, Dopamine, Big Vision, T5X, stable-baselines3,
Keras, jaxrl); arrays are small.
"""

import flax.serialization
import jax
import numpy as np
import optax
import pytest
from flax import nnx

import explorer as ex

SIZE = 15


def params() -> dict:
    return {"dense": {"kernel": np.ones((4, 3)), "bias": np.ones(3)}}


def state(tree) -> dict:
    """Return Adam's state as it is written."""
    saved = flax.serialization.to_state_dict(optax.adam(1e-3).init(tree))
    return jax.tree.map(np.asarray, saved)


def test_a_leaf_name_of_nnx_is_not_an_attention_value():
    model = nnx.Embed(7, 4, rngs=nnx.Rngs(0))
    tree = {"tok": {"value": np.ones((7, 4))}}
    assert ex.explore(tree)["tok/value"].component != "attention"
    assert ex.count_parameters(tree) == ex.count_parameters(model)


def test_statistics_of_nnx_in_a_dict_of_params_are_not_parameters():
    layers = nnx.Linear(3, 2, rngs=nnx.Rngs(0)), nnx.BatchNorm(2, rngs=nnx.Rngs(0))
    model = nnx.Sequential(*layers)
    tree = {"params": nnx.to_pure_dict(nnx.state(model))}
    ledger = ex.ledger(tree)
    assert ledger.parameters == ex.count_parameters(model)
    assert ledger.provenance["parameters"].startswith("inferred (")


LAYOUTS = {
    "agents": (
        {
            "actor": {"params": params(), "opt": state(params())},
            "critic": {"params": params(), "opt": state(params())},
        },
        2 * SIZE,
    ),
    "soft actor-critic": (
        {
            "actor": params(),
            "critic": params(),
            "target_critic": params(),
            "actor_opt": state(params()),
            "log_alpha": np.float32(0),
            "alpha_opt": state(np.float32(0)),
        },
        2 * SIZE + 1,
    ),
    "brax": (
        (
            {"mean": np.ones(7), "std": np.ones(7), "count": np.float32(3)},
            {"params": params()},
            {"params": params()},
        ),
        2 * SIZE,
    ),
    "dopamine": (
        {
            "online_params": {"params": params()},
            "target_params": {"params": params()},
            "optimizer_state": state(params()),
            "current_iteration": 3,
        },
        SIZE,
    ),
    "big vision": (
        {
            "params": params(),
            "opt": {"0": {"count": np.int32(1)}, "1": {"mu": params(), "nu": params()}},
            "extra": {"accum_train_time": 0.0},
        },
        SIZE,
    ),
    "t5x": (
        {
            "optimizer": {
                "target": params(),
                "state": {
                    "step": np.int32(3),
                    "param_states": {"dense": {"kernel": {"v_row": np.ones(4)}}},
                },
            }
        },
        SIZE,
    ),
    "keras": (
        {
            "dense": {"kernel": np.ones((4, 3)), "bias": np.ones(3)},
            "norm": {"moving_mean": np.ones(3), "moving_var": np.ones(3)},
            "optimizer": {"iterations": np.int64(3), "dense_kernel_m": np.ones((4, 3))},
        },
        SIZE,
    ),
    "stable baselines": (
        {
            "policy": params(),
            "obs_rms": {"mean": np.ones(3), "var": np.ones(3), "count": np.float32(1)},
            "policy.optimizer": {"state": {"0": {"exp_avg": np.ones(3)}}},
        },
        SIZE,
    ),
    "statistics beside their layer": (
        {
            "bn": {"scale": np.ones(3), "bias": np.ones(3)},
            "bn_state": {"mean": np.ones(3), "var": np.ones(3)},
        },
        6,
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_parameters_of_a_layout(name):
    tree, expected = LAYOUTS[name]
    assert ex.count_parameters(tree) == expected
