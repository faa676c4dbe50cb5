"""Types read from a model: with them the figures of its files are exact."""

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from flax import linen as nn
from flax import nnx

import explorer as ex
from explorer.errors import InputError
from tests.cli.in_process import run


class Codebook(nnx.Module):
    """A module whose state no name gives away."""

    def __init__(self, rngs: nnx.Rngs):
        self.linear = nnx.Linear(4, 3, rngs=rngs)
        self.norm = nnx.BatchNorm(3, rngs=rngs)
        self.codes = nnx.Variable(jnp.ones((16, 3)))  # a plain Variable is not a Param


SIZE = 4 * 3 + 3 + 3 + 3


def save(path, tree):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path.absolute(), tree)
    return path


def test_a_live_model_and_its_checkpoint_are_the_same(tmp_path):
    model = Codebook(nnx.Rngs(0))
    path = save(tmp_path / "state", nnx.state(model))
    assert ex.compare(model, path).identical
    inventory = ex.explore(path, like=model)
    assert inventory.num_parameters == ex.count_parameters(model) == SIZE
    assert ex.ledger(inventory).provenance["parameters"] == "exact"
    assert {t.collection for t in inventory} == {t.collection for t in ex.explore(model)}


def test_without_the_model_the_figure_is_not_exact(tmp_path):
    path = save(tmp_path / "state", nnx.state(Codebook(nnx.Rngs(0))))
    assert ex.ledger(path).provenance["parameters"].startswith("inferred (")


def test_an_abstract_model_and_its_optimizer(tmp_path):
    model = Codebook(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adamw(1e-3), wrt=nnx.Param)
    path = save(tmp_path / "both", nnx.state((model, optimizer)))
    abstract = nnx.eval_shape(lambda: Codebook(nnx.Rngs(0)))
    for like in (abstract, model, (model, optimizer)):
        inventory = ex.explore(path, like=like)
        assert inventory.num_parameters == SIZE
        assert ex.ledger(inventory).provenance["parameters"] == "exact"


class Network(nn.Module):
    @nn.compact
    def __call__(self, x):
        statistics = self.variable("measured", "kernel", jnp.zeros, (3, 3))
        return nn.Dense(3)(x) @ statistics.value


@pytest.mark.parametrize("names", [(), ("state",), ("run", "state")])
def test_a_linen_module_in_what_a_loop_puts_around_it(names, tmp_path):
    module, x = Network(), jnp.ones((1, 4))
    variables = module.init(jax.random.key(0), x)
    state = {**variables, "opt_state": optax.adam(1e-3).init(variables["params"])}
    for name in reversed(names):
        state = {name: state}
    path = tmp_path / "state.msgpack"
    path.write_bytes(flax.serialization.to_bytes(state))
    inventory = ex.explore(path, like=(module, x))
    assert inventory.num_parameters == 4 * 3 + 3
    assert ex.ledger(inventory).provenance["parameters"] == "exact"


def test_what_does_not_fit_is_named(tmp_path):
    tree = {"a": {"kernel": np.ones((4, 3))}, "b": {"kernel": np.ones((2, 2))}}
    model = {
        "params": {
            "a": {"kernel": np.ones((4, 5))},
            "b": {"kernel": np.ones((2, 2))},
            "c": {"bias": np.ones(2)},
        }
    }
    inventory = ex.explore(tree, like=model)
    remarks = "; ".join(inventory.remarks)
    assert "a/kernel is [4, 3], not [4, 5]" in remarks
    assert "params/c/bias" in remarks
    assert ex.ledger(inventory).provenance["parameters"].startswith("inferred (")


def test_a_model_that_shares_a_table_counts_it_once(tmp_path):
    table = np.ones((50, 8))
    stored = {"embed": {"embedding": table}, "head": {"kernel": np.copy(table)}}
    model = {"params": {"embed": {"embedding": table}, "head": {"kernel": table}}}
    assert ex.explore(stored).num_parameters == 800
    assert ex.explore(stored, like=model).num_parameters == 400


def test_the_command_reads_types_too(tmp_path):
    np.savez(tmp_path / "weights.npz", a=np.ones((4, 3)), b=np.ones(3))
    (tmp_path / "made.py").write_text(
        "import numpy as np\n"
        "model = {'params': {'a': np.ones((4, 3))}, 'buffers': {'b': np.ones(3)}}\n"
    )
    done = run("show", tmp_path / "weights.npz", "--like", "made:model", cwd=tmp_path)
    assert done.stdout.splitlines()[2].startswith("12 parameters in 1 tensor ")


def test_a_model_of_other_tensors_is_refused():
    with pytest.raises(
        InputError, match="shares no tensor with the tree, by name and shape"
    ):
        ex.explore({"a": np.ones(3)}, like={"params": {"b": np.ones(3)}})


def test_what_the_model_says_nothing_of_keeps_the_figure_from_being_exact():
    tree = {"l": {"kernel": np.ones((4, 8))}, "anchors": np.ones((100, 4))}
    inventory = ex.explore(tree, like={"params": {"l": {"kernel": np.ones((4, 8))}}})
    assert ex.ledger(inventory).provenance["parameters"].startswith("inferred (")
    assert any("anchors" in remark for remark in inventory.remarks)
