"""Modules that are pytrees: Equinox, and a class in the manner of penzai's.

Their leaves are not all arrays: activation functions, strings, numbers, None.
"""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

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


# ---- penzai's own types, by the two modules of it that are read


class Struct:
    """penzai.core.struct.Struct."""


class Named(Struct):
    """An array with named axes, a node of its array."""

    def __init__(self, data_array: Any, named_axes: dict[str, int]):
        self.data_array, self.named_axes = data_array, named_axes


class Variable:
    """A mutable variable: a leaf to JAX."""

    def __init__(self, label: str, value: Any):
        self.label, self.value = label, value


class Parameter(Variable):
    """One that is trained."""


class Value(Struct):
    """The value of a variable: a node."""

    def __init__(self, value: Any):
        self.value = value


class ParameterValue(Value):
    """That of a parameter."""


class Model(Struct):
    """A layer that holds variables and a constant."""

    def __init__(self, sub: Any, scale: Any, count: Any, table: Any, epsilon: Any = 1e-6):
        self.sub, self.scale, self.count, self.table = sub, scale, count, table
        self.epsilon = epsilon

    def __call__(self, x: Any) -> Any:
        x = x @ self.sub["u"].value.data_array + self.sub["v"].value.data_array
        return x * self.scale.value.data_array + self.table.data_array


for kind, names in (
    (Named, ("data_array",)),
    (ParameterValue, ("value",)),
    (Value, ("value",)),
    (Model, ("sub", "scale", "count", "table", "epsilon")),
):
    jax.tree_util.register_pytree_with_keys(
        kind,
        lambda node, names=names: (
            [(jax.tree_util.GetAttrKey(name), getattr(node, name)) for name in names],
            getattr(node, "named_axes", None),
        ),
        lambda axes, children, kind=kind: (
            kind(*children, axes) if kind is Named else kind(*children)
        ),
    )


def is_variable(node: Any) -> bool:
    return isinstance(node, Variable)


def freezer(of: type, into: type) -> Callable[[Any], Any]:
    def freeze(tree: Any) -> Any:
        return jax.tree.map(
            lambda leaf: into(leaf.value) if type(leaf) is of else leaf,
            tree,
            is_leaf=is_variable,
        )

    return freeze


@pytest.fixture
def penzai(monkeypatch: pytest.MonkeyPatch) -> None:
    variables, struct = (ModuleType(f"penzai.core.{n}") for n in ("variables", "struct"))
    axes = ModuleType("penzai.core.named_axes")
    vars(variables).update(
        Parameter=Parameter,
        ParameterValue=ParameterValue,
        AbstractVariable=Variable,
        AbstractVariableValue=Value,
        freeze_params=freezer(Parameter, ParameterValue),
        freeze_state_vars=freezer(Variable, Value),
    )
    vars(struct)["Struct"], vars(axes)["NamedArrayBase"] = Struct, Named
    core = ModuleType("penzai.core")
    vars(core).update(variables=variables, struct=struct, named_axes=axes)
    for module in (ModuleType("penzai"), core, variables, struct, axes):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.delitem(sys.modules, "explorer.objects.penzai_variables", raising=False)
    yield
    sys.modules.pop("explorer.objects.penzai_variables", None)


def test_a_model_of_penzai(penzai: None):
    def named(*shape: int) -> Named:
        return Named(jnp.ones(shape), {f"axis{i}": n for i, n in enumerate(shape)})

    model = Model(
        {"u": Parameter("u", named(4, 3)), "v": Parameter("v", named(3))},
        Parameter("s", named(3)),
        Variable("c", jnp.zeros(())),
        named(3),
    )
    inventory = ex.explore(model, jnp.ones((2, 4)))
    assert inventory.source == "penzai model"
    found = {t.name: (t.kind.role, t.kind.collection) for t in inventory}
    assert found == {
        "sub/u": ("kernel", "params"),
        "sub/v": ("bias", "params"),
        "scale": ("scale", "params"),
        "count": ("other", "state"),
        "table": ("other", "buffers"),
    }
    assert inventory["sub/u"].sharding == "(axis0, axis1)"
    assert inventory.num_parameters == ex.count_parameters(model) == 18
    report = ex.report_roles(model, jnp.ones((2, 4)))
    assert (report.parameters, report.biases) == (18, 3)
    roles = ex.trace_roles(model, jnp.ones((2, 4)))
    assert roles.sub["v"].value.data_array.role == "bias"
