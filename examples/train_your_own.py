"""Any Flax module, trained and watched: one layer frozen, the run saved and explored."""

import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

import explorer as ex
from explorer.training import (
    Arrays,
    Batches,
    Checkpoints,
    Context,
    Freezing,
    LineProgress,
    Trainer,
    Watch,
    fit,
)


class Rings(nn.Module):
    """Classifies points of a plane: inside the ring or not."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        # random waves, of which a ring is nearly a weighted sum; they need no training
        wave = nn.initializers.normal(3.0)
        x = jnp.sin(nn.Dense(64, kernel_init=wave, bias_init=wave, name="features")(x))
        x = nn.tanh(nn.Dense(32, name="hidden")(x))
        return nn.Dense(1, name="head")(x)[:, 0]


def draw_points(count: int) -> dict[str, np.ndarray]:
    """Return points, and 1 for those between the circles of radius 0.5 and 0.9."""
    points = np.random.default_rng(0).uniform(-1, 1, (count, 2)).astype(np.float32)
    radius = np.hypot(*points.T)
    return {"point": points, "inside": ((radius > 0.5) & (radius < 0.9)).astype(np.float32)}


def loss_fn(params, batch, context: Context):
    """Return the cross-entropy of a batch, and the accuracy."""
    logits = Rings().apply({"params": params}, batch["point"])
    right = ((logits > 0) == (batch["inside"] > 0.5)).mean()
    losses = optax.sigmoid_binary_cross_entropy(logits, batch["inside"])
    return losses.mean(), {"accuracy": right}


points = draw_points(4096)
# the waves keep their values: no gradient is computed for them, no moment kept, no decay
waves = Freezing("features/**")
trainer = Trainer(
    Rings(),
    loss_fn,
    optax.adamw(1e-2),
    watch=Watch(every=50, distance=True),
    freeze=waves,
)
state = trainer.init(jax.random.key(0), jax.ShapeDtypeStruct((1, 2), jnp.float32))
trained, frozen = waves.count(state.params)
print(f"{trained:,} of {trained + frozen:,} parameters are trained")

history, batches = trainer.history(state), Batches(Arrays(points), 256)
with tempfile.TemporaryDirectory() as folder:  # for a run that is to be resumed: its name
    with Checkpoints(folder, every=200) as checkpoints:
        saved = checkpoints.restore(state)
        if saved is not None:  # the folder holds a part of the run: go on where it stopped
            state = saved.state
            batches.restore(saved.data)
        result = fit(
            trainer,
            state,
            batches,
            steps=600,
            checkpoints=checkpoints,
            history=history,
            progress=LineProgress(),
        )
    print(result.reason)
    print(history.table(), end="\n\n")
    print(ex.explore(folder))

names, moved = history.watched("distance")
still = [name for name, far in zip(names, moved.values[-1]) if far == 0]
assert still == ["features/bias", "features/kernel"], still
assert history.records[-1].metrics["accuracy"] > 0.95
