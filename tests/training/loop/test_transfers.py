"""The loop moves nothing to the device but the batches, and those only where nobody placed them."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from explorer.models.small import LinearRegression
from explorer.training import (
    Arrays,
    Batches,
    Checkpoints,
    Epoch,
    Trainer,
    Watch,
    evaluate,
    fit,
)

MODEL = LinearRegression()
X = np.linspace(-1, 1, 8, dtype=np.float32)[:, None]


def loss_fn(params: Any, batch: Any, context: Any) -> jax.Array:
    return jnp.square(MODEL.apply({"params": params}, batch[0]) - batch[1]).mean()


def test_only_batches_are_moved_to_the_device(tmp_path: Path):
    trainer = Trainer(MODEL, loss_fn, optax.adam(0.1), watch=Watch(every=5))
    held_out = [jax.device_put(batch) for batch in Epoch(Arrays((X, 2 * X)), 4)]
    state = trainer.init(jax.random.key(0), X)
    placed = Batches(Arrays((X, 2 * X)), 4, place=jax.device_put)
    history = trainer.history(state)
    with (
        Checkpoints(tmp_path / "run", every=7) as checkpoints,
        jax.transfer_guard("disallow"),
    ):
        done = fit(
            trainer, state, placed, steps=20, history=history, checkpoints=checkpoints,
            evaluate=lambda state: evaluate(trainer, state, held_out), eval_every=6,
        )  # fmt: skip
        assert done.stopped == "steps"
        # the guard would have seen it
        with pytest.raises(Exception, match="Disallowed host-to-device transfer"):
            fit(trainer, done.state, Batches(Arrays((X, 2 * X)), 4), steps=21)
