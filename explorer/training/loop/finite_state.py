"""Whether a state may be saved: all that it holds is finite."""

from typing import Any

import jax
import jax.numpy as jnp

from explorer.training.loop.metric_queue import MetricQueue
from explorer.training.sharding.automatic import inside, mesh_of
from explorer.training.step.finite import MAX_NAMED, names_of_bad
from explorer.training.step.state import TrainState

__all__ = ["wrong_with"]


def wrong_with(state: TrainState, queue: MetricQueue) -> str:
    """Return in words what is not finite of the steps, which are drained; empty where all is."""
    # an update that caused it comes before the loss that shows it
    with inside(mesh_of(state.params)):
        bad = _not_finite(state.params)
    if names := names_of_bad(state.params, bad):
        where = ", ".join(names)
        return f"step {int(state.step):,}: parameters are not finite in {where}"
    return "" if queue.fault is None else queue.describe_fault(state.params)


@jax.jit
def _not_finite(params: Any) -> jax.Array:
    """Return the indices of the first leaves that are not finite, for `names_of_bad`."""
    bad = jnp.stack([~jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(params)])
    return jnp.nonzero(bad, size=MAX_NAMED, fill_value=-1)[0]
