"""Where batches are placed: their axis of examples over the axes "data" and "fsdp" of a mesh."""

from math import prod
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from explorer.errors import InputError, check_number, shown
from explorer.training.sharding.automatic import automatic
from explorer.training.sharding.mesh import AXES, check_mesh
from explorer.tree.arrays import (
    check_arrays,
    check_concrete,
    check_not_donated,
)

__all__ = [
    "batch_devices",
    "batch_sharding",
    "check_divides",
    "place_batch",
    "split_over_mesh",
]

_BATCH_AXES = ("data", "fsdp")
_MAX_RANK = 64


def batch_sharding(mesh: Mesh, axis: int = 0) -> NamedSharding:
    """Return how a batch is placed: its axis of examples over "data" and "fsdp".

    Of a mesh with one of the two it is split over that, of one with neither over none.

    Args:
        mesh: of `make_mesh`, or another one.
        axis: which axis is that of examples: 1 of the batches of several steps.

    Raises:
        InputError: the mesh has neither of the two, and axes of names that are not explorer's.

    >>> from explorer.training.sharding.mesh import make_mesh
    >>> tuple(batch_sharding(make_mesh(), axis=1).spec)
    (None, ('data', 'fsdp'))
    """
    check_mesh(mesh)
    check_number("axis", axis)
    if not 0 <= axis < _MAX_RANK:
        raise InputError("axis", found=shown(axis, 30), expected=f"0 to {_MAX_RANK - 1}")
    over = _batch_axes(mesh)
    entry = over if over[1:] else over[0] if over else None
    return NamedSharding(automatic(mesh), PartitionSpec(*(None,) * axis, entry))


def place_batch(batch: Any, mesh: Mesh, axis: int = 0) -> Any:
    """Return a batch as global arrays, of what this process has of it.

    Args:
        batch: a tree of arrays: the whole batch where there is one process, else its part.
        mesh: of `make_mesh`.
        axis: which axis is that of examples: 1 of the batches of several steps.

    Raises:
        InputError: the examples cannot be divided among the devices.

    >>> from explorer.training.sharding.mesh import make_mesh
    >>> placed = place_batch({"x": np.zeros((8, 2), "float32")}, make_mesh())["x"]
    >>> placed.shape, tuple(placed.sharding.spec)
    ((8, 2), (('data', 'fsdp'),))
    """
    check_arrays("the batch", batch)
    check_not_donated("the batch", batch)
    sharding = batch_sharding(mesh, axis)
    whole = (1,) * axis + (batch_devices(mesh),)
    parts = sharding.addressable_devices_indices_map(whole).values()
    # devices that split a layer see the same examples
    here = len({str(indices) for indices in parts})

    def place(leaf: Any) -> jax.Array:
        check_concrete("the batch", leaf)
        local = np.asarray(leaf)
        check_divides(local.shape, axis, here)
        return jax.make_array_from_process_local_data(sharding, local)

    return jax.tree.map(place, batch)


def split_over_mesh(batch: Any, mesh: Mesh | None, axis: int = 0) -> Any:
    """Return a batch that is split over a mesh by its axis of examples; made to be traced.

    Args:
        batch: a tree of arrays, the whole batch.
        mesh: of `make_mesh`; None for the batch as it is.
        axis: which axis is that of examples.

    Raises:
        InputError: the examples cannot be divided among the devices.
    """
    if mesh is None or not jax.tree.leaves(batch):
        return batch
    for leaf in jax.tree.leaves(batch):
        check_divides(np.shape(leaf), axis, batch_devices(mesh))
    return lax.with_sharding_constraint(batch, batch_sharding(mesh, axis))


def batch_devices(mesh: Mesh) -> int:
    """Return into how many parts a batch is divided."""
    return prod(mesh.shape[name] for name in _batch_axes(mesh))


def _batch_axes(mesh: Mesh) -> tuple[str, ...]:
    """Return the axes of a mesh that batches are split over."""
    found = tuple(name for name in _BATCH_AXES if name in mesh.shape)
    foreign = [
        name for name in mesh.axis_names if name not in AXES and mesh.shape[name] > 1
    ]
    if foreign and not found:
        raise InputError(
            "the mesh",
            found=f"has no axis that splits batches, among {shown(mesh.axis_names, 60)}",
            expected='an axis "data" or "fsdp"',
            cure=f'name one of its axes so, as "data" for {shown(foreign[0], 30)}',
        )
    return found


def check_divides(shape: tuple[int, ...], axis: int, devices: int) -> None:
    """Refuse a batch whose examples cannot be divided among devices.

    Raises:
        InputError: it says how many examples there are.
    """
    if len(shape) <= axis:
        found = f"an array of shape {shape}, without an axis {axis} of examples"
    elif shape[axis] % devices:
        found = f"{shape[axis]} examples"
    else:
        return
    wanted = f'a multiple of {devices}, the devices on "data" and "fsdp"'
    raise InputError("the batch", found=found, expected=wanted)
