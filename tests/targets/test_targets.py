"""What a target is, and that every public function takes the same kinds of it."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx

import explorer as ex
from explorer.errors import InputError
from explorer.targets import ArchitectureTarget, Call, Checkpoint, Tree, call_of, resolve
from explorer.testing import assert_parameter_count

X = jax.ShapeDtypeStruct((1, 2), jnp.float32)
TREE = {"kernel": np.ones((2, 3), np.float32), "bias": np.ones(3, np.float32)}
CONFIG = {
    "model_type": "gpt2", "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 4, "vocab_size": 6,
}  # fmt: skip


def linear() -> nnx.Linear:
    return nnx.Linear(2, 3, rngs=nnx.Rngs(0))


def affine(params: dict, x: jax.Array) -> jax.Array:
    return x @ params["kernel"] + params["bias"]


def bound() -> nn.Module:
    return nn.Dense(3).bind(nn.Dense(3).init(jax.random.key(0), jnp.ones((1, 2))))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    np.savez(tmp_path / "model.npz", **TREE)
    return tmp_path / "model.npz"


TARGETS: dict[str, Callable[[], Any]] = {
    "a tree": lambda: TREE,
    "Linen and inputs": lambda: (nn.Dense(3), X),
    "a bound module": bound,
    "an NNX module": linear,
    "NNX and inputs": lambda: (linear(), X),
    "a function": lambda: (affine, TREE, (X,)),
    "an inventory": lambda: ex.explore(TREE),
}


@pytest.mark.parametrize("kind", TARGETS)
def test_every_public_function_takes_every_kind_of_target(kind: str):
    target = TARGETS[kind]()
    assert ex.count_parameters(target) == 9
    assert ex.count_tensors(target) == 2
    assert ex.count_bytes(target) == 36
    assert ex.ledger(target).biases == 3
    assert ex.summarize(target, by="role").total.parameters == 9
    assert ex.compare(target, target).identical
    assert_parameter_count(target, parameters=9, weights=6, biases=3)


def test_paths_names_and_configs_are_targets_of_every_public_function(file: Path):
    for target, parameters in (
        (file, 9),
        (str(file), 9),
        ("gpt2", 124_439_808),
        (CONFIG, None),
    ):
        count = ex.count_parameters(target)
        assert parameters in (None, count)
        assert ex.ledger(target).parameters == count
        assert ex.summarize(target).total.parameters == count
        assert ex.compare(target, target).identical


def test_what_each_target_is(file: Path, tmp_path: Path):
    assert resolve(file) == Checkpoint(str(file), str(tmp_path))
    assert isinstance(resolve("gpt2"), ArchitectureTarget)
    assert isinstance(resolve(CONFIG), ArchitectureTarget)
    assert isinstance(resolve(nn.Dense(3), X), Call)
    assert isinstance(resolve((affine, TREE, (X,))), Call)
    for kind, framework in (
        ("a tree", "pytree"),
        ("a bound module", "linen"),
        ("an NNX module", "nnx"),
    ):
        found = resolve(TARGETS[kind]())
        assert isinstance(found, Tree)
        assert found.framework == framework
    inventory = ex.explore(TREE)
    assert resolve(inventory) is inventory


def test_tuples_of_modules_and_of_callable_nodes_are_trees():
    import equinox as eqx

    layers = eqx.nn.Linear(2, 3, key=jax.random.key(0)), eqx.nn.Lambda(jax.nn.relu)
    assert isinstance(resolve(layers), Tree)
    assert isinstance(resolve((linear(), linear())), Tree)
    assert isinstance(resolve(nnx.split(linear())), Tree)
    assert ex.count_parameters(layers) == 9


def test_an_imported_tuple_is_the_call_that_it_is_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    source = "import jax.numpy as jnp\nfrom flax import linen as nn\n"
    (tmp_path / "a_users_model.py").write_text(
        f"{source}MODEL = nn.Dense(3), jnp.ones((1, 2))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    found = resolve("a_users_model:MODEL")
    assert isinstance(found, Call)
    assert found.name == "a_users_model:MODEL"
    assert ex.compare("a_users_model:MODEL", (nn.Dense(3), X)).identical
    del sys.modules["a_users_model"]


def test_a_class_that_is_imported_is_not_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    source = (
        "from flax import nnx\nclass Net(nnx.Module):\n    def __init__(self, rngs): ...\n"
    )
    (tmp_path / "a_users_class.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InputError, match="is a class that is not made without arguments"):
        ex.explore("a_users_class:Net")
    del sys.modules["a_users_class"]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (len, "is a builtin_function_or_method, not a model; .*; pass \\(fn, params, inputs\\)"),
        (nn.Dense, "is a type, not a model; .*; pass an instance of the class"),
        (b"model.npz", "is a bytes, not a model; .*; pass a str or a pathlib.Path"),
        (None, "the target: is None, not a model; .*; perhaps a function returned nothing"),
        (3, "is a int, not a model; .*; pass the arrays themselves, or the tree that holds"),
        (["a", "b"], "is a list of str, not a model; .*; pass one at a time"),
        ((nn.Dense, X), "is a tuple of type, not a model; .*; pass an instance of the class"),
        (sys, "is a module, not a model; .*; pass a model that is in it"),
        (jax.jit(len), "is a PjitFunction, not a model; .*; pass \\(fn, params, inputs\\)"),
        (optax.adam(1e-3), "not a model; .*; pass the state that optimizer.init"),
        (hk.transform(len), "not a model; .*; pass \\(module.apply, params, inputs\\)"),
        (nn.Dense(3), "a Linen module without example inputs"),
        ("no-such-model", "no such file or folder, and no architecture of that name"),
    ],
)  # fmt: skip
def test_what_is_not_a_target_is_refused_by_all_in_one_line(target: Any, message: str):
    for function in (ex.explore, ex.count_bytes, ex.ledger, ex.summarize, ex.report_roles):
        with pytest.raises(InputError, match=message) as caught:
            function(target)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("target", [TREE, linear(), ex.explore(TREE)])
def test_what_cannot_be_called_has_no_roles_by_use(target: Any):
    with pytest.raises(
        InputError, match="nothing says on which inputs; expected"
    ) as caught:
        ex.report_roles(target)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="does not describe an architecture"):
        ex.build_model(target)
    with pytest.raises(InputError, match=r"expected a str or a pathlib\.Path"):
        ex.load(target)


@pytest.mark.parametrize("target", [TREE, CONFIG, "gpt2"])
def test_inputs_of_what_takes_none_are_refused(target: Any):
    with pytest.raises(
        InputError, match="inputs were given with something that is not a module"
    ):
        ex.explore(target, X)


def test_a_path_is_looked_up_once_by_the_door(file: Path, monkeypatch: pytest.MonkeyPatch):
    """A target enters the door once: what it is is not asked again on its way."""
    from explorer.storage import local

    asked: list[str] = []
    exists = local.exists
    monkeypatch.setattr(local, "exists", lambda path: asked.append(path) or exists(path))
    ex.explore(file)
    assert asked == [str(file)]


def test_the_call_of_an_architecture_is_that_of_its_module():
    call = call_of(resolve(CONFIG), length=3)
    assert call.name == "gpt2"
    assert call.inputs[0].shape == (1, 3)
    inventory = ex.explore(ex.build_model(CONFIG), jax.ShapeDtypeStruct((1, 3), jnp.int32))
    assert inventory.card == ex.explore(CONFIG).card
    assert inventory.num_parameters == ex.count_parameters(CONFIG)
