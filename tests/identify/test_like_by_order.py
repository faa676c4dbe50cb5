"""Equinox's files hold leaves without names: their types are the model's, in its order."""

import equinox as eqx
import jax
import pytest

import explorer as ex
from explorer.errors import InputError


class Normed(eqx.Module):
    """A module with state, and with leaves that are flags of Python."""

    linear: eqx.nn.Linear
    norm: eqx.nn.BatchNorm
    dropout: eqx.nn.Dropout

    def __init__(self, key: jax.Array):
        self.linear = eqx.nn.Linear(4, 8, key=key)
        self.norm = eqx.nn.BatchNorm(8, "batch", mode="ema")
        self.dropout = eqx.nn.Dropout(0.5)


@pytest.fixture
def saved(tmp_path):
    """A model, its state, and the file of both."""
    pair = eqx.nn.make_with_state(Normed)(jax.random.key(0))
    eqx.tree_serialise_leaves(tmp_path / "model.eqx", pair)
    return *pair, tmp_path / "model.eqx"


def test_leaves_are_the_models_in_its_order(saved):
    model, state, path = saved
    size = 4 * 8 + 8 + 8 + 8  # the averages of the normalisation are not parameters
    assert ex.count_parameters((model, state)) == size
    without = ex.ledger(path)
    assert without.parameters == size + 16
    assert without.provenance["parameters"].startswith("assumed (")
    inventory = ex.explore(path, like=(model, state))
    ledger = ex.ledger(inventory)
    assert (ledger.parameters, ledger.weights, ledger.biases) == (size, 4 * 8 + 8, 16)
    assert not ledger.provenance["parameters"].startswith("assumed (")
    assert any("found by the order of leaves: 7 tensors" in note for note in ledger.notes)


def test_an_abstract_model_serves(tmp_path):
    def make():
        return eqx.nn.MLP(4, 2, 8, 2, key=jax.random.key(0))

    eqx.tree_serialise_leaves(tmp_path / "mlp.eqx", make())
    inventory = ex.explore(tmp_path / "mlp.eqx", like=eqx.filter_eval_shape(make))
    assert (inventory.num_parameters, inventory.num_biases) == (130, 18)


@pytest.mark.parametrize(
    ("like", "text"),
    [
        (eqx.nn.Linear(4, 8, key=jax.random.key(0)), "leaves after the model's 2"),
        (eqx.nn.Linear(8, 4, key=jax.random.key(0)), r"leaf 0 is \[8, 4\] where the model"),
        (
            eqx.nn.MLP(4, 8, 8, 3, key=jax.random.key(0)),
            "its leaves are known by their order",
        ),
    ],
    ids=["shorter", "other shapes", "longer"],
)
def test_another_model_is_refused(saved, like, text: str):
    with pytest.raises(InputError, match=text):
        ex.explore(saved[-1], like=like)
