"""Pickles of JAX's ecosystem and joblib, through the allow-list; Equinox's leaves."""

import io
import pickle
from pathlib import Path

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import joblib
import numpy as np
import optax
import pytest
from flax import nnx
from flax.core import freeze
from jax.flatten_util import ravel_pytree

import explorer as ex
from explorer.errors import FormatError, UnsafePickleError
from tests.formats.stores import CountingStore
from tests.formats.torch_bytes import Call, Raw, pickled

PARAMS = {
    "params": {"Dense_0": {"kernel": jnp.ones((4, 3)), "bias": jnp.ones(3, jnp.bfloat16)}}
}
STATS = {"batch_stats": {"bn": {"mean": jnp.zeros(3)}}}


def dump(path: Path, tree: object, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(tree, protocol=protocol))
    return path


def size_of(tree: object) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


# JAX and Flax


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("wrap", [lambda tree: tree, freeze], ids=["dict", "FrozenDict"])
def test_trees_of_jax_arrays(tmp_path: Path, wrap, protocol: int):
    path = dump(tmp_path / "x.pkl", wrap(PARAMS | STATS), protocol)
    inventory = ex.explore(path)
    assert inventory.num_parameters == ravel_pytree(PARAMS)[0].size == 15
    assert inventory["params/Dense_0/bias"].dtype == "bfloat16"
    assert inventory["batch_stats/bn/mean"].collection == "batch_stats"
    values = ex.load(path)
    np.testing.assert_array_equal(values["params"]["Dense_0"]["kernel"], np.ones((4, 3)))
    assert values["params"]["Dense_0"]["bias"].dtype == jnp.bfloat16


def test_formats_that_numpy_does_not_have(tmp_path: Path):
    names = ("bfloat16", "float8_e4m3fn", "float8_e5m2", "int4", "uint4")
    tree = {name: jnp.ones((3, 5), name) for name in names}
    inventory = ex.explore(dump(tmp_path / "x.pkl", tree))
    assert [(t.name, t.dtype, t.shape) for t in inventory] == [
        (n, n, (3, 5)) for n in names
    ]
    for name, array in ex.load(tmp_path / "x.pkl").items():
        np.testing.assert_array_equal(array.astype(np.float32), np.ones((3, 5)), name)


def test_one_array_and_a_key(tmp_path: Path):
    assert ex.explore(dump(tmp_path / "a.pkl", jnp.ones((2, 3)))).num_parameters == 6
    inventory = ex.explore(
        dump(tmp_path / "k.pkl", {"w": jnp.ones(2), "key": jax.random.key(0)})
    )
    assert inventory.num_parameters == 2
    key = inventory["key"]
    assert (key.collection, key.dtype, key.shape) == ("rng_state", "key<fry>", ())


def test_states_of_nnx_keep_their_types(tmp_path: Path):
    class Model(nnx.Module):
        def __init__(self, rngs: nnx.Rngs):
            self.linear = nnx.Linear(4, 8, rngs=rngs)
            self.norm = nnx.BatchNorm(8, rngs=rngs)
            self.dropout = nnx.Dropout(0.5, rngs=rngs)

    model = Model(nnx.Rngs(0))
    inventory = ex.explore(dump(tmp_path / "x.pkl", nnx.state(model)))
    live = ex.explore(model)
    assert inventory.num_parameters == live.num_parameters == 4 * 8 + 8 + 16
    assert inventory["norm/mean"].collection == "batch_stats"
    assert inventory["linear/kernel"].collection == "params"
    assert ex.compare(model, tmp_path / "x.pkl").identical


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.adamw(1e-3),
        optax.chain(optax.clip(1.0), optax.adam(optax.linear_schedule(1, 0, 3))),
        optax.inject_hyperparams(optax.adam)(learning_rate=1e-3),
        optax.adafactor(1e-3, min_dim_size_to_factor=2),
        optax.MultiSteps(optax.sgd(0.1, momentum=0.9), 2),
        optax.masked(
            optax.adam(1e-3), {"params": {"Dense_0": {"kernel": True, "bias": False}}}
        ),
    ],
    ids=["adamw", "chain", "inject", "adafactor", "multi", "masked"],
)
def test_states_of_optax_are_optimizer_state(tmp_path: Path, optimizer):
    state = optimizer.init(PARAMS)
    inventory = ex.explore(dump(tmp_path / "state.pkl", state))
    assert inventory.num_parameters == 0
    assert sum(t.size for t in inventory) == size_of(state)
    assert {t.collection for t in inventory} == {"opt_state"}
    # under any name, beside the parameters
    both = ex.explore(dump(tmp_path / "both.pkl", {"p": PARAMS, "o": state}))
    assert both.num_parameters == 15


def test_fields_of_optax_have_their_names(tmp_path: Path):
    state = optax.adam(1e-3).init(PARAMS)
    names = {t.name for t in ex.explore(dump(tmp_path / "x.pkl", state))}
    assert {"0/count", "0/mu/params/Dense_0/kernel", "0/nu/params/Dense_0/bias"} <= names


def test_the_table_of_fields_is_optaxs():
    """Every class of the table that this optax has, with the fields that it has there."""
    from explorer.formats.pytorch.jax_names import _FIELDS

    modules = [optax.transforms, optax.contrib, optax]
    found = {
        name: next((getattr(m, name) for m in modules if hasattr(m, name)), None)
        for name in _FIELDS
    }
    known = {name: of for name, of in found.items() if hasattr(of, "_fields")}
    assert len(known) > 25
    assert {name: list(of._fields) for name, of in known.items()} == {  # pyright: ignore
        name: _FIELDS[name] for name in known
    }


def test_hostile_objects(tmp_path: Path):
    path = tmp_path / "x.pkl"
    path.write_bytes(pickled({"a": Call("optax", "X", tuple(range(40)))}))
    with pytest.raises(FormatError, match=r"makes optax\.X of 40 arguments"):
        ex.explore(path)
    path.write_bytes(
        pickled({"a": Call("jax._src.array", "_reconstruct_array", (1, 2, 3))})
    )
    with pytest.raises(FormatError, match="a JAX array without the state of a NumPy array"):
        ex.explore(path)
    for module, name in (("flax.training", "f"), ("os", "system"), ("optaxx", "Y")):
        path.write_bytes(pickled({"a": Call(module, name, ())}))
        with pytest.raises(UnsafePickleError, match=rf"names {module}\.{name}"):
            ex.explore(path)


# joblib


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_of_joblib(tmp_path: Path, protocol: int):
    arrays = {
        "w": np.arange(12, dtype=np.float32).reshape(4, 3),
        "f": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "empty": np.zeros((0, 3)),
        "list": [np.ones(3), "words", 5],
        "large": np.zeros((300, 300)),
    }
    path = tmp_path / "x.joblib"
    joblib.dump(arrays, path, protocol=protocol)
    inventory = ex.explore(path)
    assert inventory.num_parameters == 12 + 6 + 3 + 90_000
    values = ex.load(path)
    for name in ("w", "f", "empty", "large"):
        np.testing.assert_array_equal(values[name], arrays[name])
    store = CountingStore()
    from explorer.formats.files import list_path

    assert list_path(str(path), store) == list_path(str(path))
    assert sum(store.reads) < 30_000  # not the 720 kB of the large one


def test_joblib_that_is_not_plain_arrays(tmp_path: Path):
    path = tmp_path / "x.joblib"
    joblib.dump({"o": np.array([{}, 1], dtype=object)}, path)
    with pytest.raises(
        FormatError, match="an array of Python objects, which joblib pickles"
    ):
        ex.explore(path)
    joblib.dump({"w": np.ones(100)}, path, compress=3)
    with pytest.raises(FormatError, match=r"compressed by zlib, as joblib\.dump does"):
        ex.explore(path)
    path.write_bytes(b"\x80\x04\x95" + bytes(60))
    with pytest.raises(FormatError, match="its joblib pickle has byte 0x00"):
        ex.explore(path)
    wrapper = Call(
        "joblib.numpy_pickle", "NumpyArrayWrapper", (), {"shape": (3,), "dtype": 1}
    )
    path.write_bytes(pickled({"w": wrapper}))
    with pytest.raises(FormatError, match="an array of joblib's without a shape or dtype"):
        ex.explore(path)
    dtype = Call("numpy", "dtype", ("f8",))
    wrapper = Call(
        "joblib.numpy_pickle",
        "NumpyArrayWrapper",
        (),
        {"shape": (1 << 58,), "dtype": dtype},
    )
    path.write_bytes(pickled({"w": wrapper, "x": Raw(b"K\x01")}))
    with pytest.raises(FormatError, match="beyond its end"):
        ex.explore(path)


# Equinox


@pytest.mark.parametrize(
    "head", [b"", b'{"width": 8}\n', b'{"long": "' + b"x" * 900 + b'"}\n']
)
def test_leaves_of_equinox(tmp_path: Path, head: bytes):
    model = eqx.nn.MLP(4, 3, 8, 2, key=jax.random.key(0))
    path = tmp_path / "model.eqx"
    with open(path, "wb") as file:
        file.write(head)
        eqx.tree_serialise_leaves(file, model)
    inventory = ex.explore(path)
    arrays = jax.tree.leaves(eqx.filter(model, eqx.is_array))
    assert inventory.source == "equinox leaves"
    assert inventory.num_parameters == size_of(arrays)
    assert [t.shape for t in inventory] == [array.shape for array in arrays]
    assert inventory.remarks == (
        "the format keeps no names: leaves are numbered in the order of the tree",
    )
    for number, array in enumerate(arrays):
        np.testing.assert_array_equal(ex.load(path)[str(number)], array)


def test_broken_leaves(tmp_path: Path):
    out = io.BytesIO()
    for array in (np.ones(3), np.ones((2, 2))):
        np.save(out, array)
    path = tmp_path / "x.eqx"
    path.write_bytes(out.getvalue()[:-5])
    with pytest.raises(FormatError, match="array 1 has 27 bytes of data; expected 32"):
        ex.explore(path)
    path.write_bytes(b"\x01\x02\x03")
    with pytest.raises(FormatError, match=r"arrays, as equinox\.tree_serialise_leaves"):
        ex.explore(path)
    # a file of one array with bytes after it is not such a file
    np.save(out := io.BytesIO(), np.ones(3))
    (tmp_path / "x.npy").write_bytes(out.getvalue() + b"junk")
    with pytest.raises(FormatError, match="the array has 28 bytes of data; expected 24"):
        ex.explore(tmp_path / "x.npy")


def test_flax_modules_in_a_pickle(tmp_path: Path):
    """Variables of a Linen module, as people pickle them."""
    variables = nn.Dense(3).init(jax.random.key(0), jnp.ones((1, 4)))
    inventory = ex.explore(dump(tmp_path / "x.pickle", variables))
    assert inventory.num_parameters == 15
    assert inventory.num_biases == 3
