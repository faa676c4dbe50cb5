"""Batches of several processes as those of all: as many steps on each, whatever each has.

A step on devices of several processes is taken by all of them at once: one that had a batch
more than another would wait for it for ever. So before some batches are used, each process
says which it has, and all decide the same from the answers: batches of one size are joined,
and others, as the last ones are, are sent to all and computed by all.
"""

from collections.abc import Iterator
from itertools import islice, zip_longest
from typing import Any

import jax
import msgspec
import numpy as np
from jax.sharding import Mesh

from explorer.errors import InputError, shown
from explorer.training.sharding.automatic import mesh_of
from explorer.training.sharding.batch_placement import (
    batch_devices,
    batch_sharding,
    place_batch,
)
from explorer.training.sharding.processes import bytes_of_all, on_every
from explorer.training.step.outcome import count_examples
from explorer.tree.arrays import check_arrays
from explorer.tree.types import Batch, PyTree

__all__ = ["joint_batches"]

_WINDOW = 8  # batches that are agreed on at once


class _LocalBatch(msgspec.Struct, frozen=True):
    """What the other processes have to know of a batch.

    Attributes:
        tree: its structure.
        leaves: shape and dtype of each array.
        examples: how many it has; 0 where it has no arrays.
        whole: whether it is an array of all processes already, of which this one has a part.
    """

    tree: str
    leaves: tuple[tuple[tuple[int, ...], str], ...]
    examples: int
    whole: bool


def joint_batches(batches: Iterator[Batch], state: PyTree) -> Iterator[Batch]:
    """Yield batches for steps that all processes take together, as many on each.

    Args:
        batches: of this process: its examples, in arrays of any sizes, or arrays of all
            processes, as `place_batch` returns them.
        state: what the steps are of. On the devices of one process the batches are as they are.

    Raises:
        InputError: on all processes: one has no batch, batches of another structure, or
            fewer of those in arrays of all processes.
    """
    mesh = mesh_of(state)
    if mesh is None or len({d.process_index for d in mesh.devices.flat}) == 1:
        yield from batches
        return
    parts, kind, tree = _own_parts(mesh), None, None
    while True:
        drawn: list[Batch] = []

        def draw(drawn: list[Batch] = drawn) -> list[_LocalBatch]:
            drawn += map(_local, islice(batches, _WINDOW))
            return [_described(batch) for batch in drawn]

        windows = on_every(draw, list[_LocalBatch])
        kind = _kind_of_all(windows, kind)
        tree = tree or (jax.tree.structure(drawn[0]) if drawn else None)
        for number, found in enumerate(zip_longest(*windows)):
            own = drawn[number] if number < len(drawn) else None
            yield from _joined(own, found, tree, mesh, parts)
        if max(map(len, windows)) < _WINDOW:
            return


def _joined(
    own: Batch | None,
    found: tuple[_LocalBatch | None, ...],
    tree: Any,
    mesh: Mesh,
    parts: int,
) -> Iterator[Batch]:
    """Yield the batches of one number, of all processes: joined, or one after the other."""
    first = found[0]
    if first is not None and first.whole:
        assert own is not None, "all have as many of these"
        yield own
    elif parts and first is not None and first.examples % parts == 0 and len({*found}) == 1:
        yield place_batch(own, mesh)
    else:
        yield from _sent(own, found, tree)


def _sent(
    own: Batch | None, found: tuple[_LocalBatch | None, ...], tree: Any
) -> Iterator[Batch]:
    """Yield the batch of each process that has one, on all processes."""
    leaves = [] if own is None else jax.tree.leaves(own)
    sent = bytes_of_all(b"".join(np.ascontiguousarray(leaf).tobytes() for leaf in leaves))
    for described, document in zip(found, sent, strict=True):
        if described is None:
            continue
        arrays, start = [], 0
        for shape, name in described.leaves:
            dtype = np.dtype(name)
            size = int(np.prod(shape, dtype=np.int64))
            flat = np.frombuffer(document, dtype, size, start)
            arrays.append(flat.reshape(shape))
            start += flat.nbytes
        yield jax.tree.unflatten(tree, arrays)


def _local(batch: Batch) -> Batch:
    """Return a batch in arrays of the host, or as it is if it is one of all processes."""

    def local(leaf: Any) -> Any:
        return leaf if _is_whole(leaf) else np.asarray(leaf)

    return jax.tree.map(local, batch)


def _is_whole(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and not leaf.is_fully_addressable


def _described(batch: Batch) -> _LocalBatch:
    check_arrays("the batch", batch)
    leaves, tree = jax.tree.flatten(batch)
    return _LocalBatch(
        str(tree),
        tuple((leaf.shape, leaf.dtype.name) for leaf in leaves),
        count_examples(batch) or 0,
        any(map(_is_whole, leaves)),
    )


def _kind_of_all(
    windows: list[list[_LocalBatch]], kind: tuple[str, bool] | None
) -> tuple[str, bool] | None:
    """Return the structure of all batches, and whether they are of all processes already.

    Raises:
        InputError: see `joint_batches`.
    """
    is_first = kind is None
    for number, window in enumerate(windows):
        place = f"batches of process {number}"
        if is_first and not window and any(windows):
            raise InputError(
                place,
                found="none, and other processes have some",
                expected="at least one on each",
                cure="take smaller batches, or fewer processes",
            )
        for each in window:
            kind = kind or (each.tree, each.whole)
            if (each.tree, each.whole) != kind:
                found, expected = _words(each.tree, each.whole), _words(*kind)
                raise InputError(place, found=found, expected=f"{expected}, as before")
        same = [each.leaves for each in window] == [each.leaves for each in windows[0]]
        if kind and kind[1] and not same:
            raise InputError(
                place,
                found=f"{len(window)} of arrays of all processes, or of other sizes",
                expected=f"{len(windows[0])}, as on process 0",
                cure="give each process's own examples as NumPy arrays, of any number",
            )
    return kind


def _words(tree: str, whole: bool) -> str:
    return f"{shown(tree, 100)}{', of all processes' if whole else ''}"


def _own_parts(mesh: Mesh) -> int:
    """Return how many parts of a batch are of one process alone; 0 where processes share one."""
    sharding = batch_sharding(mesh)
    holders: dict[str, set[int]] = {}
    for device, indices in sharding.devices_indices_map((batch_devices(mesh),)).items():
        holders.setdefault(str(indices), set()).add(device.process_index)
    if any(len(found) > 1 for found in holders.values()):
        return 0
    held = [process for found in holders.values() for process in found]
    counts = {held.count(process) for process in {*held}}
    return counts.pop() if len(counts) == 1 else 0
