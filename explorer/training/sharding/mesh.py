"""Where arrays are placed: a mesh of devices, with parameters and batches split over it.

The axes are "data" (a device has its part of a batch, and all parameters), "fsdp" (its
part of a batch, and of the parameters, which are gathered where they are used), "tensor"
(its part of each layer's heads and units) and, where it is asked for, "expert" (its part of
the experts of a mixture, all else as the others have it).
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from explorer.errors import InputError, check_number, check_type
from explorer.training.sharding.automatic import automatic
from explorer.training.sharding.rule import Rule, Rules, Spec
from explorer.training.sharding.rules import (
    DEFAULT_RULES,
    followed,
    rules_for,
    spec_for,
)
from explorer.tree.nesting import check_tree
from explorer.tree.walk import Path, names_of

__all__ = [
    "AXES",
    "DEFAULT_RULES",
    "Rule",
    "Rules",
    "check_mesh",
    "check_on_mesh",
    "make_mesh",
    "sharded_shapes",
    "shardings_of",
]

AXES = ("data", "fsdp", "tensor", "expert", "sequence")
_ALWAYS = ("data", "fsdp", "tensor")


def make_mesh(
    data: int = 1,
    fsdp: int = 1,
    tensor: int = 1,
    devices: Sequence[Any] | None = None,
    *,
    expert: int = 1,
    sequence: int = 1,
) -> Mesh:
    """Return a mesh with the axes "data", "fsdp" and "tensor", and others that are split.

    Args:
        data: copies of the model, each with its part of a batch.
        fsdp: parts of the parameters, each with its part of a batch as well.
        tensor: parts of each layer. One of all may be -1: as many as are left.
        devices: all there are, if None; the first are used.
        expert: parts of the experts of a mixture.
        sequence: parts of each sequence: what layers return, [batch, length, ...], is split
            along its length, and keys and values are gathered.

    Raises:
        InputError: a size that is none, or more devices than there are.

    >>> dict(make_mesh().shape)
    {'data': 1, 'fsdp': 1, 'tensor': 1}
    """
    devices = jax.devices() if devices is None else devices
    if not isinstance(devices, Sequence) or not all(
        hasattr(d, "platform") for d in devices
    ):
        check_type("devices", devices, (), "a list of devices, or None")
    given: dict[str, int] = dict(
        zip(AXES, (data, fsdp, tensor, expert, sequence), strict=True)
    )
    for axis, size in given.items():
        check_number(axis, size)
    axes = [axis for axis, size in given.items() if axis in _ALWAYS or size != 1]
    sizes = tuple(given[axis] for axis in axes)
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
    # axes that XLA splits, whatever the default of this JAX is
    automatic = (AxisType.Auto,) * len(sizes)
    return jax.make_mesh(sizes, tuple(axes), axis_types=automatic, devices=devices)


def shardings_of(
    tree: Any,
    mesh: Mesh,
    rules: Rule | Rules | None = None,
    annotated: Mapping[Path, Spec] | None = None,
) -> Any:
    """Return a tree of the same structure with the sharding of every leaf.

    The first rule that fits a parameter decides; without one, its largest axis that "fsdp"
    divides is split. An axis that does not divide is replicated. In a tree with `params` (a
    TrainState, explorer's or Flax's, the variables of a module), a leaf elsewhere is placed as the parameter
    does whose path its own ends in and whose shape it has (an optimizer's moments); what is
    left is replicated.

    Args:
        tree: arrays or shapes.
        mesh: any mesh. Of the default rules' axes it may lack some: nothing is split over
            those.
        rules: tried in order; None for DEFAULT_RULES.
        annotated: specs of some parameters, which come before all rules.

    Raises:
        InputError: a rule that is not a default names an axis that the mesh lacks, fits no
            parameter, or has more axes than a tensor that it fits.

    >>> dense = {"kernel": jax.ShapeDtypeStruct((4, 8), "float32")}
    >>> tuple(shardings_of(dense, make_mesh())["kernel"].spec)
    ()
    """
    check_mesh(mesh)
    check_tree(tree)
    mesh = automatic(mesh)
    params = _params_of(tree)
    leaves = _leaves(tree if params is None else params)
    rules = rules_for(rules, mesh.axis_names, leaves)
    sizes = dict(mesh.shape)
    known = annotated or {}
    spec_of = {
        (path, shape): known[path] if path in known else spec_for(path, shape, sizes, rules)
        for path, shape in leaves
    }
    specs = [followed(path, shape, spec_of) for path, shape in _leaves(tree)]
    shardings = [NamedSharding(mesh, PartitionSpec(*spec)) for spec in specs]
    return jax.tree.structure(tree).unflatten(shardings)


def sharded_shapes(tree: Any, mesh: Mesh, rules: Rule | Rules | None = None) -> Any:
    """Return the shapes of a tree, each with its sharding as of `shardings_of`.

    A step is compiled for them ahead of time, a checkpoint restored into them.

    >>> dense = {"kernel": jax.ShapeDtypeStruct((4, 8), "float32")}
    >>> shape = sharded_shapes(dense, make_mesh())["kernel"]
    >>> shape.shape, dict(shape.sharding.mesh.shape)
    ((4, 8), {'data': 1, 'fsdp': 1, 'tensor': 1})
    """

    def shaped(leaf: Any, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
        shape = getattr(leaf, "shape", None)
        if not (isinstance(shape, tuple) and hasattr(leaf, "dtype")):
            check_type("tree", leaf, (), "arrays or shapes")
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return jax.tree.map(shaped, tree, shardings_of(tree, mesh, rules))


def check_on_mesh(mesh: Mesh, state: Any) -> None:
    """Refuse a state, real or abstract, that is not placed on a mesh.

    Raises:
        InputError: it says how to make one that does.
    """
    own = automatic(mesh)
    for leaf in jax.tree.leaves(state):
        if getattr(getattr(leaf, "sharding", None), "mesh", None) != own:
            raise InputError(
                "the state",
                found="is not placed on the mesh of the step",
                cure="make it with Trainer(mesh=mesh).init or create_state(..., mesh=mesh)",
            )


def check_mesh(mesh: Any) -> None:
    """Refuse what is not a mesh, real or abstract."""
    kinds = (Mesh, jax.sharding.AbstractMesh)
    check_type("mesh", mesh, kinds, "a mesh", "make one with make_mesh(...)")


def _leaves(tree: Any) -> list[tuple[Path, tuple[int, ...]]]:
    found = jax.tree_util.tree_flatten_with_path(tree)[0]
    shapes = [getattr(leaf, "shape", ()) for _, leaf in found]
    return [
        (names_of(keys), shape if isinstance(shape, tuple) else ())
        for (keys, _), shape in zip(found, shapes, strict=True)
    ]


def _params_of(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return tree.get("params")
    return getattr(tree, "params", None)
