"""How long steps stand still for a checkpoint that is written beside them.

The peer is orbax's own save of the same state, waited for. What a stall holds at the least is a
copy of the state, since the next step takes over its memory.

    python benchmarks/checkpoint_stall.py [MB of parameters]
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp

from explorer.training import Arrays, Batches, Checkpoints, Trainer, fit

MB = int(sys.argv[1]) if sys.argv[1:] else 200
SAVES, STEPS = 4, 10


def loss_fn(params: Any, batch: Any, context: Any) -> jax.Array:
    """Return a loss with a gradient in every parameter."""
    return jnp.square(params["w"] * batch.mean() - 1).mean()


def main() -> None:
    """Print the seconds of a stall, and of a save that is waited for."""
    rows = MB * 1_000_000 // 4 // 1000
    params = {"w": np.ones((rows, 1000), np.float32)}
    trainer = Trainer(None, loss_fn, optax.adam(1e-3))
    state = trainer.init_from(params, jax.random.key(0))
    nbytes = sum(leaf.nbytes for leaf in jax.tree.leaves((state.params, state.opt_state)))
    batches = Batches(Arrays(np.ones((8, 1), np.float32)), 8)
    with tempfile.TemporaryDirectory() as folder:
        with Checkpoints(Path(folder) / "run", every=STEPS, keep=1) as checkpoints:
            steps = SAVES * STEPS + STEPS // 2  # and a save at the end
            done = fit(trainer, state, batches, steps=steps, checkpoints=checkpoints)
        stall = done.spent.saving / (SAVES + 1)
        waited = []
        with ocp.StandardCheckpointer() as peer:
            for number in range(SAVES):
                start = time.perf_counter()
                peer.save(
                    Path(folder) / f"peer{number}",
                    done.state.params | {"opt": done.state.opt_state},
                )
                peer.wait_until_finished()
                waited.append(time.perf_counter() - start)
    best = min(waited)
    print(f"state of {nbytes / 1e6:,.0f} MB: {done.spent}")
    print(
        f"a save holds steps up for {stall:.3f} s (the last is waited for); orbax, waited for:"
        f" {best:.3f} s, {stall / best:.2f}x its time"
    )


if __name__ == "__main__":
    main()
