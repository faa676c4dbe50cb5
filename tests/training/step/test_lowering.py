"""Every step lowers for every platform, whatever machine it is lowered on."""

import jax
import jax.numpy as jnp
import optax
import pytest

from explorer.training.step.evaluation import make_eval_step
from explorer.training.step.freezing import freeze
from explorer.training.step.state import create_state
from explorer.training.step.train_step import make_train_step
from tests.training import tiny

PLATFORMS = ("cpu", "cuda", "tpu")
ADAMW = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3))


def shape_of(tree):
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)


def state_of(module, optimizer, x, **kwargs):
    return jax.eval_shape(lambda: create_state(module, optimizer, tiny.KEY, x, **kwargs))


@pytest.mark.parametrize("scan", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compute_dtype": jnp.bfloat16, "accumulate": 2, "remat": "dots_no_batch"},
        {"steps_per_call": 2},
    ],
)
def test_a_transformer_lowers(scan, options):
    model = tiny.llama(scan)
    batch = tiny.tokens(4)
    if "steps_per_call" in options:
        batch = tiny.stacked([batch] * 2)
    step = make_train_step(tiny.next_token(model), ADAMW, **options)
    state = state_of(model, ADAMW, tiny.tokens(1))
    exported = jax.export.export(step, platforms=PLATFORMS)(state, shape_of(batch))
    assert exported.platforms == PLATFORMS


def test_a_frozen_classifier_and_a_batch_norm_lower():
    batch = shape_of(tiny.points(4))
    shapes = state_of(tiny.NETWORK, ADAMW, tiny.points(1)[0]).params
    found = freeze(ADAMW, shapes, roles=["bias"])
    state = state_of(tiny.NETWORK, found.optimizer, tiny.points(1)[0])
    loss_fn = tiny.squares(tiny.NETWORK)
    step = make_train_step(loss_fn, found.optimizer, labels=found.labels)
    jax.export.export(step, platforms=PLATFORMS)(state, batch)
    jax.export.export(make_eval_step(loss_fn), platforms=PLATFORMS)(state, batch)
    module, batch = tiny.Normalised(), tiny.points(4, outputs=1)
    state = state_of(module, ADAMW, batch[0], train=False)
    step = make_train_step(tiny.noisy(module), ADAMW)
    jax.export.export(step, platforms=PLATFORMS)(state, shape_of(batch))
