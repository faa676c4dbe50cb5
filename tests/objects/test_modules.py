"""Modules that are pytrees: of Equinox, of penzai, and of a class of one's own.

Their leaves are not all arrays: activation functions, strings, numbers, None.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from penzai import pz

import explorer as ex
from explorer.errors import InputError

KEY = jax.random.key(0)
TOKENS = jnp.ones(6, int)


class Block(eqx.Module):
    """Attributes whose names say nothing, and leaves of every kind."""

    f: eqx.nn.LayerNorm
    a: eqx.nn.MultiheadAttention
    m: eqx.nn.MLP
    e: eqx.nn.Embedding
    d: eqx.nn.Dropout
    t: jax.Array
    rate: float
    mode: str
    act: Callable
    steps: int = eqx.field(static=True, default=3)
    extra: None = None

    def __init__(self, key: Any):
        self.f, self.e = eqx.nn.LayerNorm(4), eqx.nn.Embedding(10, 4, key=key)
        self.a = eqx.nn.MultiheadAttention(2, 4, key=key)
        self.m, self.d = eqx.nn.MLP(4, 4, 8, 1, key=key), eqx.nn.Dropout(0.1)
        self.t, self.rate, self.mode, self.act = jnp.ones((6, 4)), 0.5, "on", jax.nn.gelu

    def __call__(self, tokens: Any, key: Any = None) -> Any:
        x = jax.vmap(self.e)(tokens) + self.t
        h = jax.vmap(self.f)(x)
        x = x + self.act(jax.vmap(self.m)(x + self.a(h, h, h))) * self.rate
        return self.d(x, key=key, inference=key is None)


COMPONENTS = {
    "f": "norm", "a": "attention", "m": "mlp", "e": "embedding", "t": "embedding",
}  # fmt: skip
BIASES = {"f/bias", "m/layers/0/bias", "m/layers/1/bias"}
TABLES = {"e/weight", "t"}


def test_roles_and_components_of_an_equinox_module():
    model = Block(KEY)
    inventory = ex.explore(model, TOKENS)
    assert {tensor.name for tensor in inventory.select(role="bias")} == BIASES
    assert {tensor.name for tensor in inventory.select(role="embedding")} == TABLES
    for tensor in inventory:
        assert tensor.kind.component == COMPONENTS[tensor.path[0]], tensor.name
    size = sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_array)))
    assert inventory.num_parameters == size == ex.count_parameters(model)
    assert inventory.source == "equinox module"
    # without inputs the classes of the modules still say what they are part of
    named = {t.name: t.kind.component for t in ex.explore(model)}
    assert {n: c for n, c in named.items() if n != "t"} == {
        t.name: t.kind.component for t in inventory if t.name != "t"
    }


@pytest.mark.parametrize("call", [lambda m: (m, TOKENS), lambda m: ((m, TOKENS),)])
def test_reports_of_an_equinox_module(call):
    model = Block(KEY)
    report = ex.report_roles(*call(model))
    inventory = ex.explore(model, TOKENS)
    assert (report.parameters, report.biases) == (
        inventory.num_parameters,
        inventory.num_biases,
    )
    assert {row.path: row.component for row in report.rows} == {
        tensor.name: tensor.kind.component for tensor in inventory
    }
    assert report.target == "Block"


def test_traces_of_an_equinox_module():
    model = Block(KEY)
    for roles in (
        ex.trace_roles(lambda model, x: model(x), model, TOKENS),
        ex.trace_roles(model, TOKENS),
        ex.trace_roles(model, TOKENS, key=KEY),
    ):
        assert (roles.t.role, roles.f.bias.role, roles.e.weight.role) == (
            "embedding",
            "bias",
            "embedding",
        )
        assert roles.act is roles.rate is None
        audit = ex.audit_roles(roles, model)
        assert audit.biases == ex.explore(model, TOKENS).num_biases
        weights, biases = ex.split_weights_biases(model, roles=roles)
        assert ex.count_parameters(biases) == audit.biases
        assert ex.count_parameters(weights) == audit.weights


def test_shapes_random_keys_state_and_shared_layers():
    model = eqx.filter_eval_shape(Block, KEY)
    x = jax.ShapeDtypeStruct((6,), jnp.int32)
    assert ex.explore(model, x, key=KEY) == ex.explore(Block(KEY), TOKENS, key=KEY)
    norm, state = eqx.nn.make_with_state(eqx.nn.BatchNorm)(4, "batch", mode="batch")
    inventory = ex.explore((norm, state))
    assert (inventory.num_parameters, inventory.num_buffers) == (8, 9)
    layer = eqx.nn.Linear(4, 4, key=KEY)
    twice = ex.explore(eqx.nn.Sequential([layer, layer]), jnp.ones(4))
    assert (twice.num_tensors, twice.num_parameters) == (4, 20)


def test_a_module_that_cannot_be_called_with_its_inputs():
    with pytest.raises(InputError, match="Block: cannot be called with"):
        ex.report_roles(Block(KEY), jnp.ones((2, 6), int))
    (remark,) = ex.explore(Block(KEY), jnp.ones((2, 6), int)).remarks
    assert remark.startswith("roles are by name, because the call could not be traced")


@jax.tree_util.register_pytree_node_class
class Layer:
    """A pytree of one's own, as penzai's are: what is not an array is a leaf too."""

    def __init__(
        self, arrays: Any, act: Any = jax.nn.relu, name: Any = "n", rate: Any = 0.3
    ):
        self.parts = (arrays, act, name, rate)

    def tree_flatten(self) -> tuple[Any, None]:
        return self.parts, None

    @classmethod
    def tree_unflatten(cls, aux: None, children: Any) -> "Layer":
        del aux
        return cls(*children)

    def __call__(self, x: Any) -> Any:
        arrays, act, _, rate = self.parts
        return act(x @ arrays["p"] + arrays["q"]) * rate


def test_a_class_of_ones_own():
    layer = Layer({"p": jnp.ones((4, 3)), "q": jnp.ones(3)})
    inventory = ex.explore(layer, jnp.ones((2, 4)))
    assert (inventory.num_tensors, inventory.num_weights, inventory.num_biases) == (
        2,
        12,
        3,
    )
    assert ex.count_parameters({"a": layer, "b": [layer, Layer({"p": jnp.ones(2)})]}) == 17
    roles = ex.trace_roles(layer, jnp.ones((2, 4)))
    assert roles.parts[0]["q"].role == "bias"
    assert ex.report_roles(layer, jnp.ones((2, 4))).biases == 3
    with pytest.raises(InputError, match="act: a function"):  # in a plain container
        ex.explore({"act": lambda x: x, "p": jnp.ones(2)})
    with pytest.raises(InputError, match="params/act: is custom_jvp"):
        ex.trace_roles(lambda p, x: x, {"act": jax.nn.relu, "p": jnp.ones(2)}, 1.0)


# ---- penzai


def test_a_model_of_penzai():
    rngs = jax.random.key(0)
    layers = [
        pz.nn.Affine.from_config("first", rngs, {"features": 4}, {"hidden": 3}),
        pz.nn.Elementwise(jax.nn.relu),
        pz.nn.LayerNorm.from_config("norm", rngs, across_axes={"hidden": 3}),
    ]
    model = pz.nn.Sequential(layers)
    x = pz.nx.ones({"batch": 2, "features": 4})
    inventory = ex.explore(model, x)
    assert inventory.source == "penzai model"
    assert sorted(t.kind.role for t in inventory) == ["bias", "bias", "kernel", "scale"]
    assert {t.collection for t in inventory} == {"params"}
    by_type = sum(variable.value.data_array.size for variable in pz.unbind_params(model)[1])
    assert inventory.num_parameters == ex.count_parameters(model) == by_type == 21
    (kernel,) = (t for t in inventory if t.role == "kernel")
    assert kernel.sharding == "(features, hidden)"
    report = ex.report_roles(model, x)
    assert (report.parameters, report.biases) == (21, 3 + 3)


def test_state_and_constants_of_penzai_are_not_parameters():
    @pz.pytree_dataclass
    class Counted(pz.nn.Layer):
        gain: pz.Parameter
        count: pz.StateVariable
        table: pz.nx.NamedArray

        def __call__(self, x, **side):
            return x * self.gain.value + self.table

    model = Counted(
        pz.Parameter(value=pz.nx.ones({"f": 3}), label="gain"),
        pz.StateVariable(value=jnp.zeros(()), label="count"),
        pz.nx.ones({"f": 3}),
    )
    found = {t.name: t.collection for t in ex.explore(model)}
    assert sorted(found.values()) == ["buffers", "params", "state"]
    assert ex.count_parameters(model) == 3
