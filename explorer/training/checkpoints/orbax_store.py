"""Orbax's CheckpointManager with the options of a run's folder.

Where several processes train one state, each writes its own shards and reads what it needs.
They wait for each other at barriers of jax.distributed, which have a time limit and use no
device, so that a process that fails can still report why.
"""

from collections.abc import Callable, Mapping
from math import inf, isfinite
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import dtypes
from jax.sharding import SingleDeviceSharding

from explorer.errors import FormatError
from explorer.tree.types import PyTree

__all__ = ["Retention", "open_manager", "restore", "save"]


class Retention(NamedTuple):
    """Which checkpoints are kept: the newest, one every `period` steps, the best one."""

    newest: int
    period: int | None = None
    best: tuple[str, Literal["min", "max"]] | None = None

    def quality(self, metrics: Mapping[str, float]) -> float:
        """Return the metric that `best` names; the worst value if it was not measured."""
        assert self.best is not None, "asked only where a metric decides"
        name, mode = self.best
        return metrics.get(name, inf if mode == "min" else -inf)

    def measured(self, metrics: Mapping[str, Any] | None) -> dict[str, float] | None:
        """Return the metric to store with a checkpoint; None if it is missing or not finite."""
        if self.best is None or metrics is None or self.best[0] not in metrics:
            return None
        value = float(metrics[self.best[0]])
        return {self.best[0]: value} if isfinite(value) else None

    def policy(self) -> Any:
        """Return it as Orbax's preservation policy."""
        from orbax.checkpoint import checkpoint_managers as orbax

        kept: list[Any] = [orbax.LatestN(self.newest)]
        if self.period is not None:
            kept.append(orbax.EveryNSteps(self.period))
        if self.best is not None:
            best = orbax.BestN(
                get_metric_fn=self.quality,
                reverse=self.best[1] == "min",
                n=1,
                keep_checkpoints_without_metrics=False,
            )
            kept.append(best)
        return orbax.AnyPreservationPolicy(kept)


def open_manager(folder: Path, keep: Retention, before_commit: Callable[[], None]) -> Any:
    """Return the CheckpointManager of a folder that all processes see.

    Args:
        folder: of the run.
        keep: which checkpoints remain when a save has finished.
        before_commit: called on the first process when all have written, before the folder
            of the step gets its final name.
    """
    import orbax.checkpoint as orbax

    processes = jax.process_count()
    options = orbax.CheckpointManagerOptions(
        create=False,  # it has the lock by now
        save_root_metadata=False,  # run.json is that
        preservation_policy=keep.policy(),
        best_fn=keep.quality if keep.best else None,
        best_mode=keep.best[1] if keep.best else "max",
        async_options=orbax.options.AsyncOptions(post_finalization_callback=before_commit),
        multiprocessing_options=orbax.options.MultiprocessingOptions(
            # processes that are named wait for each other without the devices
            active_processes=set(range(processes)) if processes > 1 else None
        ),
    )
    return orbax.CheckpointManager(folder, options=options)


def save(manager: Any, step: int, tree: PyTree, metrics: dict[str, float] | None) -> None:
    """Start writing a tree, whose buffers may be donated to a step at once."""
    from orbax.checkpoint import args

    manager.save(step, args=args.PyTreeSave(tree), metrics=metrics, force=True)


def restore(manager: Any, step: int, like: PyTree) -> PyTree:
    """Return the tree of a step with the dtypes and shardings of another of its shapes.

    Raises:
        FormatError: Orbax cannot read it.
    """
    from orbax.checkpoint import args, checkpoint_utils

    shapes = jax.tree.map(_placed, like)
    wanted = checkpoint_utils.construct_restore_args(shapes)
    try:
        restored = manager.restore(step, args=args.PyTreeRestore(shapes, wanted))
    except (
        OSError,
        ValueError,
        RuntimeError,
    ) as error:  # also tensorstore's, and barriers'
        folder = manager.directory / str(step)
        raise FormatError(folder, found=f"Orbax cannot read it ({error})") from None
    return jax.tree.map(_with_key, restored, like)


def _placed(leaf: Any) -> jax.ShapeDtypeStruct:
    sharding = getattr(leaf, "sharding", None) or SingleDeviceSharding(jax.devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _with_key(leaf: jax.Array, like: Any) -> jax.Array:
    """Return a leaf as a typed key where one is wanted; older runs stored its words."""
    if not _is_key(like) or _is_key(leaf):
        return leaf
    impl = jax.random.key_impl(jnp.empty((), like.dtype))
    return jax.random.wrap_key_data(leaf, impl=impl)


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, dtypes.prng_key)
