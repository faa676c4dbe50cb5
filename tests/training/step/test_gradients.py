"""Gradients: the same whatever is kept for them, and never of the future."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorer.models.remat import REMAT
from explorer.training.step.gradients import make_gradient_fn
from explorer.training.step.outcome import Context
from tests.training import tiny

IDS = np.arange(16, dtype=np.int32)[None]  # every token once: a row of the table each


def params_of(model):
    shapes = jax.eval_shape(model.init, tiny.KEY, IDS[:, :4])["params"]
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: rng.normal(0, 0.1, leaf.shape).astype("f4"), shapes)


@pytest.mark.parametrize("scan", [False, True])
def test_what_is_not_kept_is_computed_again(scan):
    model = tiny.llama(scan)
    args = (params_of(model), tiny.tokens(2), tiny.KEY, {})
    texts = {
        remat: str(
            jax.make_jaxpr(make_gradient_fn(tiny.next_token(model), remat=remat))(*args)
        )
        for remat in (None, *REMAT)
    }
    # of products all, some or none; of the rest all
    products = {remat: text.count("dot_general") for remat, text in texts.items()}
    assert products["full"] > products["dots_no_batch"] > products["dots"] == products[None]
    assert texts["dots"].count(" = ") > texts[None].count(" = ")


def test_and_the_gradients_are_the_same():
    model = tiny.llama(scan=True, layers=1)
    args = (params_of(model), tiny.tokens(2), tiny.KEY, {})
    kept, again = (
        jax.jit(make_gradient_fn(tiny.next_token(model), remat=remat))(*args).grads
        for remat in (None, "dots_no_batch")
    )
    chex.assert_trees_all_close(again, kept, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("scan", [False, True])
def test_a_loss_has_no_gradient_in_the_future(scan):
    model, at = tiny.llama(scan, layers=1 + scan), 9
    params = params_of(model)

    @jax.jit
    def by_embedding(table):
        logits = model.apply({"params": {**params, "embed": table}}, IDS).logits
        return jax.nn.logsumexp(logits[0, at])

    grads = np.array(jax.grad(by_embedding)(params["embed"])["embedding"])
    assert np.all(grads[at + 1 : 16] == 0)
    assert np.all(np.abs(grads[: at + 1]).sum(-1) > 0)


def test_evaluation_and_training_are_reported_separately():
    seen = []

    def loss_fn(params, batch, context: Context):
        seen.append(context.train)
        return jnp.square(params["a"]).mean()

    make_gradient_fn(loss_fn)({"a": jnp.ones(2)}, (), tiny.KEY, {})
    # a plain bool also where the loss is rematerialised
    make_gradient_fn(loss_fn, remat="full")({"a": jnp.ones(2)}, (), tiny.KEY, {})
    assert seen == [True, True]
