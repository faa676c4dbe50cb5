"""A checkpoint as a state, whatever is watched now and was when it was saved."""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from explorer.training.checkpoints import orbax_store
from explorer.training.checkpoints.manifest import Manifest, describe, is_of_watch
from explorer.training.sharding.processes import together
from explorer.tree.types import PyTree

__all__ = ["restored"]


def restored(
    manager: Any, manifest: Manifest, like: PyTree
) -> tuple[PyTree, tuple[str, ...]]:
    """Return the state of a checkpoint, and remarks.

    What a watch compares with does not identify a model: where the watch is another one,
    distances are those from the parameters that are restored.

    Args:
        manager: of the folder.
        manifest: of the checkpoint, whose other tensors are those of `like`.
        like: a state of the shapes, dtypes and shardings to restore into.

    Raises:
        FormatError: Orbax cannot read it.
    """
    there, here = (
        {path: each for path, each in tensors.items() if is_of_watch(path)}
        for tensors in (manifest.tensors, describe(like))
    )
    if there == here:
        read = partial(orbax_store.restore, manager, manifest.step, like)
        return together(read), ()
    fields = {f.name: getattr(like, f.name) for f in dataclasses.fields(like)}
    del fields["watch"]
    read = partial(orbax_store.restore, manager, manifest.step, fields, is_part=True)
    state = like.replace(**together(read), watch=())
    if not here:
        return state, ()
    remark = (
        f"distances are measured from step {manifest.step:,}: the run had another watch"
    )
    return state.replace(watch=_copied(like.watch, state.params)), (remark,)


def _copied(watched: Any, params: Any) -> Any:
    """Return copies of the parameters that are watched, None for the others."""
    leaves, treedef = jax.tree.flatten(params)
    kept = jax.tree.leaves(watched, is_leaf=lambda leaf: leaf is None)
    return treedef.unflatten(
        None if old is None else jnp.copy(leaf)
        for old, leaf in zip(kept, leaves, strict=True)
    )
