"""Orbax's CheckpointManager with the options of a run's folder.

Where several processes train one state, each writes its own shards and reads what it needs.
They wait for each other at barriers of jax.distributed, which have a time limit and use no
device, so that a process that fails can still report why.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import dtypes
from jax.sharding import SingleDeviceSharding

from explorer.errors import FormatError
from explorer.training.checkpoints.retention import Retention
from explorer.tree.types import PyTree

__all__ = ["open_manager", "restore", "save"]


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

    logger = logging.getLogger("absl")
    logger.addFilter(_is_not_of_metrics)  # not every step that is saved is measured
    try:
        manager.save(step, args=args.PyTreeSave(tree), metrics=metrics, force=True)
    finally:
        logger.removeFilter(_is_not_of_metrics)


def _is_not_of_metrics(record: logging.LogRecord) -> bool:
    return "did not provide metrics" not in record.getMessage()


def restore(manager: Any, step: int, like: PyTree, *, is_part: bool = False) -> PyTree:
    """Return the tree of a step with the dtypes and shardings of another of its shapes.

    Args:
        manager: of the folder.
        step: of the checkpoint.
        like: the tree.
        is_part: whether the checkpoint holds more, which is not read.

    Raises:
        FormatError: Orbax cannot read it.
    """
    from orbax.checkpoint import args, checkpoint_utils

    shapes = jax.tree.map(_placed, like)
    wanted = checkpoint_utils.construct_restore_args(shapes)
    try:
        read = args.PyTreeRestore(shapes, wanted, partial_restore=is_part)
        restored = manager.restore(step, args=read)
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
