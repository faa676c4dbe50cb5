"""A model and every file that holds it agree: totals, names, and roles."""

from collections import Counter

import equinox as eqx
import flax.serialization
import flax.traverse_util
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from flax import linen as nn
from flax import nnx
from flax.training import train_state
from orbax.checkpoint import v1 as orbax
from safetensors.numpy import save_file

import explorer as ex
from tests import zoo

LEARNING_RATE = 1e-3


class NnxNetwork(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.embed = nnx.Embed(11, 8, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, 8, decode=False, rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs)
        self.dropout = nnx.Dropout(0.1, rngs=rngs)
        self.head = nnx.Linear(8, 3, rngs=rngs)


def nnx_model():
    model = NnxNetwork(nnx.Rngs(0))
    return model, nnx.to_pure_dict(nnx.state(model)), nnx.Param


def linen_model():
    module, x = zoo.MLP(), jnp.ones((1, 3))
    variables = module.init(jax.random.key(0), x)
    return variables, nn.unbox(variables), None


def equinox_model():
    model = eqx.nn.MLP(2, 3, 4, 1, key=jax.random.key(0))
    arrays = eqx.filter(model, eqx.is_array)
    leaves = jax.tree_util.tree_flatten_with_path(arrays)[0]
    tree: dict = {}
    for path, leaf in leaves:
        node = tree
        *names, last = (str(getattr(k, "name", getattr(k, "idx", None))) for k in path)
        for name in names:
            node = node.setdefault(name, {})
        node[last] = leaf
    return model, tree, None


def haiku_model():
    net = hk.transform(lambda x: hk.nets.MLP([4, 2])(hk.LayerNorm(-1, True, True)(x)))
    params = hk.data_structures.to_mutable_dict(
        net.init(jax.random.key(0), jnp.ones((1, 3)))
    )
    return params, params, None


MODELS = {
    "nnx": nnx_model,
    "linen": linen_model,
    "equinox": equinox_model,
    "haiku": haiku_model,
}


def plain(tree):
    """Return a tree of NumPy arrays; random keys by their words."""

    def content(leaf):
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(leaf) if is_key else leaf)

    return jax.tree.map(content, flax.serialization.to_state_dict(tree))


def flat(tree, separator):
    return flax.traverse_util.flatten_dict(plain(tree), sep=separator)


def write_orbax(path, tree):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path.absolute(), plain(tree))
    return path


def write_msgpack(path, tree):
    path = path.with_suffix(".msgpack")
    path.write_bytes(flax.serialization.msgpack_serialize(plain(tree)))
    return path


def write_safetensors(path, tree):
    path = path.with_suffix(".safetensors")
    save_file({k: np.array(v, order="C") for k, v in flat(tree, ".").items()}, path)
    return path


def write_npz(path, tree):
    path = path.with_suffix(".npz")
    np.savez(path, **flat(tree, "/"))
    return path


def write_keystr(path, tree):
    """Write the names that JAX itself gives to leaves: `['dense']['kernel']`."""
    path = path.with_suffix(".npz")
    leaves = jax.tree_util.tree_flatten_with_path(plain(tree))[0]
    np.savez(path, **{jax.tree_util.keystr(names): leaf for names, leaf in leaves})  # pyright: ignore
    return path


WRITERS = (write_orbax, write_msgpack, write_safetensors, write_npz, write_keystr)


def described(inventory):
    """Return what is said of each tensor that is a parameter, whatever its order."""
    return Counter(
        (tensor.size, tensor.shape, tensor.role)
        for tensor in inventory
        if tensor.kind.is_parameter
    )


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_a_file_says_what_its_model_says(make, write, tmp_path):
    model, tree, _ = make()
    live, stored = ex.explore(model), ex.explore(write(tmp_path / "model", tree))
    assert stored.num_parameters == live.num_parameters
    assert stored.num_weights == live.num_weights
    assert described(stored) == described(live)
    assert ex.compare(plain(tree), stored.target).identical


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_an_optimizer_beside_it_changes_nothing(make, write, tmp_path):
    model, tree, of_type = make()
    params = tree.get("params", tree)
    if of_type is not None:
        params = nnx.to_pure_dict(nnx.state(model, of_type))
    moments = optax.adamw(LEARNING_RATE).init(params)
    both = {"model": tree, "optimizer": moments}
    stored = ex.explore(write(tmp_path / "both", both))
    assert stored.num_parameters == ex.count_parameters(model)
    assert described(stored) == described(ex.explore(model))


def test_a_state_of_nnx_with_its_boxes(tmp_path):
    model = NnxNetwork(nnx.Rngs(0))
    state = nnx.state(model, nnx.Not(nnx.RngState))
    path = tmp_path / "state"
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path.absolute(), state)
    live = ex.explore(state)
    assert ex.compare(state, path).identical
    assert described(ex.explore(path)) == described(live)


def test_a_state_of_nnx_saved_by_the_second_interface_of_orbax(tmp_path):
    model = NnxNetwork(nnx.Rngs(0))
    state = nnx.state(model)
    orbax.save(tmp_path / "state", state)
    assert ex.compare(state, tmp_path / "state").identical
    stored = ex.explore(tmp_path / "state")
    assert described(stored) == described(ex.explore(model))


@pytest.mark.parametrize("form", ["orbax", "msgpack"])
def test_a_train_state_and_its_checkpoint_are_identical(form: str, tmp_path):
    """Its step is a number of Python: 32 bits in memory, 64 in Orbax's file."""
    params = linen_model()[0]["params"]
    state = train_state.TrainState.create(
        apply_fn=zoo.MLP().apply, params=params, tx=optax.adam(LEARNING_RATE)
    )
    assert type(state.step) is int
    path = tmp_path / "state.msgpack"
    if form == "orbax":
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(path.absolute(), state)
    else:
        path.write_bytes(flax.serialization.to_bytes(state))
    assert ex.compare(state, path).identical


def test_a_counter_that_is_an_array_is_recast(tmp_path):
    path = write_orbax(tmp_path / "state", {"count": np.int64(0), "w": np.ones(3)})
    changes = ex.compare({"count": np.int32(0), "w": np.ones(3)}, path)
    assert [change.before for change in changes.recast] == ["count"]
