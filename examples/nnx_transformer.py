"""A transformer of NNX whose axes are annotated, trained from a grain loader on all devices.

    python examples/nnx_transformer.py FOLDER [STEPS]

It learns to write like Python's json module. When it is interrupted, or killed, the same command
goes on from the last checkpoint in FOLDER, with the same numbers. `pip install grain`, first.
"""

import json
import sys
from pathlib import Path

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from explorer.training import Checkpoints, LineProgress, Trainer, fit, make_mesh

WIDTH, HEADS, LAYERS, WINDOW = 64, 4, 2, 64
TEXT = "".join(file.read_text() for file in sorted(Path(json.__file__).parent.glob("*.py")))
CHARACTERS = sorted(set(TEXT))


def kernels(*axes: str | None):
    """Return an initializer of kernels whose axes are split over these axes of a mesh."""
    return nnx.with_partitioning(nnx.initializers.lecun_normal(), axes)


class Block(nnx.Module):
    """Attention and an MLP; their heads and units are split over "tensor"."""

    def __init__(self, *, rngs: nnx.Rngs):
        self.norm_1 = nnx.LayerNorm(WIDTH, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(
            HEADS,
            WIDTH,
            decode=False,
            rngs=rngs,
            kernel_init=kernels(None, "tensor", None),
            out_kernel_init=kernels("tensor", None, None),
        )
        self.norm_2 = nnx.LayerNorm(WIDTH, rngs=rngs)
        self.up = nnx.Linear(
            WIDTH, 4 * WIDTH, kernel_init=kernels(None, "tensor"), rngs=rngs
        )
        self.down = nnx.Linear(
            4 * WIDTH, WIDTH, kernel_init=kernels("tensor", None), rngs=rngs
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        mask = nnx.make_causal_mask(x[..., 0])
        x = x + self.attention(self.norm_1(x), mask=mask)
        return x + self.down(nnx.gelu(self.up(self.norm_2(x))))


class Writer(nnx.Module):
    """Says what character comes next."""

    def __init__(self, *, rngs: nnx.Rngs):
        self.embed = nnx.Embed(len(CHARACTERS), WIDTH, rngs=rngs)
        self.positions = nnx.Embed(WINDOW, WIDTH, rngs=rngs)
        self.blocks = nnx.List([Block(rngs=rngs) for _ in range(LAYERS)])
        self.norm = nnx.LayerNorm(WIDTH, rngs=rngs)

    def __call__(self, tokens: jax.Array) -> jax.Array:
        x = self.embed(tokens) + self.positions(jnp.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.embed.attend(self.norm(x))


def loss_fn(writer: Writer, batch: jax.Array, context) -> jax.Array:
    """Return the cross-entropy of each next character."""
    logits = writer(batch[:, :-1])
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch[:, 1:]).mean()


def make_loader():
    """Return windows of the text in a random order, without end; its position is saved."""
    ids = np.array([CHARACTERS.index(character) for character in TEXT], np.int32)
    starts = range(0, len(ids) - WINDOW - 1, WINDOW // 2)
    windows = [ids[start : start + WINDOW + 1] for start in starts]
    ordered = grain.MapDataset.source(windows).shuffle(seed=0).repeat()
    return iter(ordered.batch(32, drop_remainder=True).to_iter_dataset())


@nnx.jit
def next_character(writer: Writer, tokens: jax.Array, at: jax.Array) -> jax.Array:
    """Return the likeliest character after a position."""
    return writer(tokens)[0, at].argmax()


def write(writer: Writer, text: str, count: int = 40) -> str:
    """Return a text and what the model continues it with."""
    for _ in range(count):
        window = [CHARACTERS.index(character) for character in text[-WINDOW:]]
        tokens = jnp.array([window + [0] * (WINDOW - len(window))])
        text += CHARACTERS[int(next_character(writer, tokens, len(window) - 1))]
    return text


def main(folder: str, steps: int = 300) -> None:
    """Train, or go on with it, and print what the best model writes."""
    parts = 2 if jax.device_count() % 2 == 0 else 1
    mesh = make_mesh(fsdp=-1, tensor=parts)
    trainer = Trainer(Writer, loss_fn, optax.adamw(3e-3), mesh=mesh)
    state, batches = trainer.init(jax.random.key(0)), make_loader()
    print(trainer.plan())
    with Checkpoints(folder, every=max(1, steps // 6), best=("loss", "min")) as checkpoints:
        if saved := checkpoints.restore(state, batches=batches):
            state = saved.state
            print(f"going on from step {saved.step}")
        result = fit(
            trainer,
            state,
            batches,
            steps=steps,
            checkpoints=checkpoints,
            history=trainer.history(state),
            progress=LineProgress(),
        )
        best = checkpoints.restore(result.state, step=checkpoints.best_step())
    assert best is not None
    print(f"best: step {best.step}")
    writer = trainer.module(best.state)
    print(write(writer, "    def decode("))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
