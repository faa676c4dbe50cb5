"""A run of two processes with two devices each, told by `python -m ... PORT NUMBER`.

Both begin alike and each reads its half of every batch. The first prints what they found.
"""

import json
import sys

import jax
import numpy as np
import optax
from jax.experimental import multihost_utils

from explorer.training.sharding import make_mesh, place_batch
from explorer.training.state import create_state
from explorer.training.step import make_train_step

OPTIMIZER = optax.adamw(1e-2)


def main(port: str, number: int) -> None:
    """Train over both processes."""
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"localhost:{port}", 2, number)
    from tests.training import tiny  # its key is an array, which is made by then

    # batches cross processes along "data", parameters along "fsdp" stay within one
    mesh = make_mesh(data=2, fsdp=2)
    state = create_state(tiny.NETWORK, OPTIMIZER, tiny.KEY, tiny.points(1)[0], mesh=mesh)
    step = make_train_step(tiny.squares(tiny.NETWORK), OPTIMIZER, mesh=mesh, accumulate=2)
    losses = []
    for whole in tiny.batches(3, count=16):
        mine = jax.tree.map(lambda leaf: np.split(leaf, 2)[number], whole)
        state, metrics = step(state, place_batch(mine, mesh))
        losses.append(float(metrics["loss"]))
    params = multihost_utils.process_allgather(state.params, tiled=True)
    if number == 0:
        found = [np.asarray(leaf).tolist() for leaf in jax.tree.leaves(params)]
        told = {"losses": losses, "params": found, "devices": jax.device_count()}
        print("\n" + json.dumps(told))  # on a line of its own, for Gloo talks as well
    jax.distributed.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
