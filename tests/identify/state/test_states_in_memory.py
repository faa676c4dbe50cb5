"""States of training as libraries build them, in memory and as they are saved."""

from typing import Any

import flax.serialization
import flax.struct
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.training import train_state

import explorer as ex


def network() -> dict:
    return {"dense": {"kernel": np.ones((4, 3)), "bias": np.ones(3)}}


def test_slow_parameters_follow_the_fast_ones(tmp_path):
    """Zhang et al. 2019: lookahead keeps a second copy, synchronised every few steps."""
    fast, slow = network(), jax.tree.map(np.copy, network())
    pair = optax.LookaheadParams(fast, slow)
    optimizer = optax.lookahead(optax.adam(1e-3), 5, 0.5)
    state = train_state.TrainState.create(apply_fn=None, params=pair, tx=optimizer)
    assert ex.count_parameters(pair) == 15
    ledger = ex.ledger(state)
    assert (ledger.parameters, ledger.provenance["parameters"]) == (15, "exact")
    path = tmp_path / "state.msgpack"
    path.write_bytes(flax.serialization.to_bytes(state))
    assert ex.count_parameters(path) == 15


def test_an_average_that_was_saved_alone_is_the_model():
    """diffusers' EMAModel: a list of the parameters, and numbers."""
    average = {"steps": np.int32(9), "shadow_params": [np.ones((4, 3)), np.ones(3)]}
    assert ex.count_parameters(average) == 15
    assert ex.count_parameters({"model": network(), "ema": average}) == 15


def test_the_state_of_haiku_is_not_parameters():
    """Its codebooks, its averages, the vectors of its spectral norm: in any container."""

    def network(x):
        x = hk.BatchNorm(True, True, 0.9)(hk.Linear(8)(x), True)
        kernel = hk.get_parameter("kernel", (8, 4), init=jnp.ones)
        x = x @ hk.SpectralNorm()(kernel) @ jnp.ones((4, 8))
        hk.EMAParamsTree(0.9)({"copy": {"kernel": kernel}})
        return hk.nets.VectorQuantizerEMA(8, 16, 0.25, 0.99)(x, True)

    init = hk.transform_with_state(network).init
    key, x = jax.random.PRNGKey(0), jax.ShapeDtypeStruct((2, 4), jnp.float32)
    params, state = jax.eval_shape(init, key, x)
    size = 4 * 8 + 8 + 8 + 8 + 8 * 4
    for tree in ((params, state), {"model_params": params, "model_state": state}):
        assert ex.count_parameters(tree) == size
    assert ex.count_parameters(state) == 0


class Agent(flax.struct.PyTreeNode):
    critic: Any
    target_critic: Any


@pytest.mark.parametrize("whole", [True, False])
def test_a_target_of_a_train_state_is_a_copy(whole: bool, tmp_path):
    critic = train_state.TrainState.create(
        apply_fn=None, params=network(), tx=optax.adam(1e-3)
    )
    target = critic.replace(params=network(), opt_state=()) if whole else network()
    agent = Agent(critic, target)
    path = tmp_path / "agent.msgpack"
    path.write_bytes(flax.serialization.to_bytes(agent))
    for each in (agent, path):
        assert ex.count_parameters(each) == 15
