"""Computing again instead of keeping: the same numbers in less memory."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorer.errors import InputError
from explorer.models.remat import REMAT
from explorer.models.transformer import Transformer
from explorer.roles.dataflow import trace_roles
from tests.models.tiny import IDS, model_of

pytestmark = pytest.mark.slow  # compiles models

LAYERS = {"num_hidden_layers": 8}


def loss_of(model: Transformer):
    def loss(variables, ids):
        return jax.nn.logsumexp(model.apply(variables, ids).logits).astype(jnp.float32)

    return loss


def temporaries(model: Transformer, variables, ids) -> int:
    """Return the bytes that XLA sets aside for a gradient."""
    lowered = jax.jit(jax.grad(loss_of(model))).lower(variables, ids)
    return lowered.compile().memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize(
    ("name", "remat", "scan"),
    [
        ("llama", "full", False),
        ("llama", "dots", True),
        ("gpt2", "dots_no_batch", False),
        ("deepseek_v3", "full", True),
    ],
)
def test_gradients_are_the_same_whatever_is_kept(name, remat, scan):
    model, variables = model_of(name, scan)
    again = model.clone(remat=remat)
    shapes = jax.eval_shape(again.init, jax.random.key(0), IDS)
    chex.assert_trees_all_equal_structs(shapes, variables)
    found, wanted = (
        jax.jit(jax.grad(loss_of(each)))(variables, IDS) for each in (again, model)
    )
    chex.assert_trees_all_close(found, wanted, rtol=1e-4, atol=1e-6)


def test_a_scanned_layer_keeps_what_goes_into_it():
    model, variables = model_of("llama", True, LAYERS)
    ids = np.tile(IDS, (16, 2))
    taken = {
        remat: temporaries(model.clone(remat=remat), variables, ids)
        for remat in (None, "full")
    }
    # eight layers' work is kept, or one layer's beside what goes into each
    assert taken["full"] < taken[None] / 3


def test_unrolled_layers_are_computed_again_one_by_one():
    # XLA's CPU backend undoes it where nothing is scanned, so its bytes tell nothing
    model, variables = model_of("llama", False, LAYERS)
    equations = jax.make_jaxpr(loss_of(model.clone(remat="full")))(variables, IDS).eqns
    again = [e for e in equations if e.params.get("policy") is REMAT["full"]]
    assert len(again) == LAYERS["num_hidden_layers"]
    assert not any(e.params["prevent_cse"] is False for e in again)


def test_roles_are_read_off_what_is_computed_again():
    model, variables = model_of("llama")

    def roles(model):
        found = trace_roles(lambda v, ids: model.apply(v, ids).logits, variables, IDS)
        return jax.tree.map(
            lambda role: role.role, found, is_leaf=lambda x: hasattr(x, "role")
        )

    assert roles(model.clone(remat="full")) == roles(model)


def test_an_unknown_policy_is_refused():
    model, variables = model_of("llama", remat="some")
    with pytest.raises(InputError) as caught:
        model.apply(variables, IDS)
    assert str(caught.value) == (
        "remat: 'some'; expected None or one of full, dots, dots_no_batch"
    )
