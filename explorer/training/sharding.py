"""Where arrays lie: a mesh of devices, parameters and batches laid over it.

The axes are "data" (a device has its part of a batch, and all parameters), "fsdp" (its
part of a batch, and of the parameters, which are gathered where they are used) and
"tensor" (its part of each layer's heads and units).
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from explorer.errors import InputError, printable
from explorer.training.rules import DEFAULT_RULES, Entry, Rule, Rules, names_in
from explorer.tree.walk import Path, names_of, place_of

__all__ = [
    "AXES",
    "DEFAULT_RULES",
    "Rule",
    "Rules",
    "batch_devices",
    "batch_sharding",
    "check_divides",
    "make_mesh",
    "place_batch",
    "sharded_shapes",
    "shardings_of",
]

AXES = ("data", "fsdp", "tensor")
_BATCH_AXES = ("data", "fsdp")


def make_mesh(
    data: int = 1,
    fsdp: int = 1,
    tensor: int = 1,
    devices: Sequence[Any] | None = None,
) -> Mesh:
    """Return a mesh with the axes "data", "fsdp" and "tensor".

    Args:
        data: copies of the model, each with its part of a batch.
        fsdp: parts of the parameters, each with its part of a batch as well.
        tensor: parts of each layer. One of the three may be -1: as many as are left.
        devices: all there are, if None; the first are used.

    Raises:
        InputError: a size that is none, or more devices than there are.

    >>> dict(make_mesh().shape)
    {'data': 1, 'fsdp': 1, 'tensor': 1}
    """
    devices = jax.devices() if devices is None else devices
    sizes = (data, fsdp, tensor)
    if sizes.count(-1) > 1 or any(size < 1 and size != -1 for size in sizes):
        raise InputError(
            "the mesh",
            found=" x ".join(map(str, sizes)),
            expected="positive sizes, at most one of them -1 for the rest",
        )
    rest = max(1, len(devices) // prod(size for size in sizes if size > 0))
    sizes = tuple(rest if size == -1 else size for size in sizes)
    if prod(sizes) > len(devices):
        raise InputError(
            "the mesh",
            found=f"{' x '.join(map(str, sizes))} devices",
            expected=f"at most {len(devices)} in all, as many as there are",
        )
    # axes that XLA sees to, whatever the default of this JAX is
    automatic = (AxisType.Auto,) * len(AXES)
    return jax.make_mesh(sizes, AXES, axis_types=automatic, devices=devices)


def shardings_of(tree: Any, mesh: Mesh, rules: Rules | None = None) -> Any:
    """Return a tree of the same structure with the sharding of every leaf.

    The first rule that fits a parameter decides; without one, its largest axis that "fsdp"
    divides is split. An axis that does not divide is replicated. In a tree with `params` (a
    State, a TrainState, the variables of a module), a leaf elsewhere lies as the parameter
    does whose path its own ends in and whose shape it has (an optimizer's moments); what is
    left is replicated.

    Args:
        tree: arrays or shapes.
        mesh: any mesh with the axes that the rules name.
        rules: tried in order; None for DEFAULT_RULES.

    Raises:
        InputError: a rule names an axis that the mesh has not; or one that is no default
            has more axes than a tensor that it fits.

    >>> dense = {"kernel": jax.ShapeDtypeStruct((4, 8), "float32")}
    >>> tuple(shardings_of(dense, make_mesh())["kernel"].spec)
    ()
    """
    rules = DEFAULT_RULES if rules is None else tuple(rules)
    _check_axes(rules, mesh)
    params = _params_of(tree)
    spec_of = {
        (path, shape): _spec(path, shape, mesh, rules)
        for path, shape in _leaves(tree if params is None else params)
    }
    specs = [_followed(path, shape, spec_of) for path, shape in _leaves(tree)]
    shardings = [NamedSharding(mesh, spec) for spec in specs]
    return jax.tree.structure(tree).unflatten(shardings)


def sharded_shapes(tree: Any, mesh: Mesh, rules: Rules | None = None) -> Any:
    """Return the shapes of a tree, each with its sharding as of `shardings_of`.

    A step is compiled for them ahead of time, a checkpoint restored into them.
    """

    def shaped(leaf: Any, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return jax.tree.map(shaped, tree, shardings_of(tree, mesh, rules))


def batch_sharding(mesh: Mesh, axis: int = 0) -> NamedSharding:
    """Return how a batch lies: its axis of examples over "data" and "fsdp".

    Args:
        mesh: of `make_mesh`.
        axis: which axis is that of examples: 1 of the batches of several steps.
    """
    return NamedSharding(mesh, PartitionSpec(*(None,) * axis, _BATCH_AXES))


def place_batch(batch: Any, mesh: Mesh, axis: int = 0) -> Any:
    """Return a batch as global arrays, of what this process has of it.

    Args:
        batch: a tree of arrays: the whole batch where there is one process, else its part.
        mesh: of `make_mesh`.
        axis: which axis is that of examples: 1 of the batches of several steps.

    Raises:
        InputError: the examples cannot be divided among the devices.
    """
    sharding = batch_sharding(mesh, axis)
    whole = (1,) * axis + (batch_devices(mesh),)
    parts = sharding.addressable_devices_indices_map(whole).values()
    # devices that split a layer see the same examples
    here = len({str(indices) for indices in parts})

    def place(leaf: Any) -> jax.Array:
        local = np.asarray(leaf)
        check_divides(local.shape, axis, here)
        return jax.make_array_from_process_local_data(sharding, local)

    return jax.tree.map(place, batch)


def batch_devices(mesh: Mesh) -> int:
    """Return into how many parts a batch is divided."""
    return prod(mesh.shape[name] for name in _BATCH_AXES)


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


def _leaves(tree: Any) -> list[tuple[Path, tuple[int, ...]]]:
    found = jax.tree_util.tree_flatten_with_path(tree)[0]
    return [(names_of(keys), tuple(getattr(leaf, "shape", ()))) for keys, leaf in found]


def _params_of(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return tree.get("params")
    return getattr(tree, "params", None)


def _followed(
    path: Path, shape: tuple[int, ...], spec_of: dict[Any, PartitionSpec]
) -> PartitionSpec:
    """Return the spec of the parameter whose path a path ends in, or that of no axis."""
    ends = ((path[start:], shape) for start in range(len(path) + 1))
    return next((spec_of[end] for end in ends if end in spec_of), PartitionSpec())


def _spec(path: Path, shape: tuple[int, ...], mesh: Mesh, rules: Rules) -> PartitionSpec:
    for rule in rules:
        if rule.fits(path, shape):
            if len(rule.spec) <= len(shape):
                entries = (None,) * (len(shape) - len(rule.spec)) + rule.spec
                return _divided(entries, shape, mesh)
            if rule not in DEFAULT_RULES:
                raise InputError(
                    place_of(path),
                    found=f"a rule of {len(rule.spec)} axes, {rule.spec}",
                    expected=f"at most {len(shape)}, as its shape {shape} has",
                )
    return _divided(_largest(shape, mesh), shape, mesh)


def _largest(shape: tuple[int, ...], mesh: Mesh) -> tuple[str | None, ...]:
    """Return entries with "fsdp" at the largest axis that it divides; vectors stay whole."""
    parts = mesh.shape.get("fsdp", 1)
    fit = [axis for axis, size in enumerate(shape) if size % parts == 0]
    if len(shape) < 2 or not fit:
        return ()
    largest = max(fit, key=lambda axis: shape[axis])
    return tuple("fsdp" if axis == largest else None for axis in range(len(shape)))


def _divided(entries: Sequence[Any], shape: tuple[int, ...], mesh: Mesh) -> PartitionSpec:
    """Return entries as a spec, without axes of one device and those that do not divide."""
    kept: list[Entry] = []
    for entry, size in zip(entries, shape):
        names = tuple(name for name in names_in(entry) if mesh.shape[name] > 1)
        divides = size % prod(mesh.shape[name] for name in names) == 0
        kept.append((names if names[1:] else names[0]) if names and divides else None)
    while kept and kept[-1] is None:
        kept.pop()
    return PartitionSpec(*kept)


def _check_axes(rules: Rules, mesh: Mesh) -> None:
    for rule in rules:
        for name in (name for entry in rule.spec for name in names_in(entry)):
            if name not in mesh.shape:
                raise InputError(
                    "the rules",
                    found=f"an axis {printable(repr(name), 60)}",
                    expected=f"one of the mesh's: {', '.join(mesh.axis_names)}",
                )
