"""Meshes whose axes XLA splits: what programs are compiled for that train and run models.

JAX has explicit axes too, whose splits are part of every array's type, and which a program has to
name at each product. A mesh of those is taken as one of the same devices and names whose axes
are automatic; a loss function that names splits itself can be wrapped in
`jax.sharding.explicit_axes`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import (
    AbstractMesh,
    AxisType,
    Mesh,
    NamedSharding,
    get_abstract_mesh,
)

__all__ = ["automatic", "automatic_axes", "inside", "mesh_of", "on_automatic"]


def automatic(mesh: Any) -> Any:
    """Return a mesh, real or abstract, with the same devices and names and automatic axes.

    >>> explicit = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Explicit,))
    >>> [each.name for each in automatic(explicit).axis_types]
    ['Auto']
    """
    types = (AxisType.Auto,) * len(mesh.axis_names)
    if tuple(mesh.axis_types) == types:
        return mesh
    if isinstance(mesh, AbstractMesh):
        return AbstractMesh(mesh.axis_sizes, mesh.axis_names, axis_types=types)
    return Mesh(mesh.devices, mesh.axis_names, axis_types=types)


def on_automatic(tree: Any) -> Any:
    """Return arrays that are placed on meshes of explicit axes as on automatic ones.

    Each device keeps what it has; nothing is copied. Other leaves are returned as they are.

    >>> mesh = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Explicit,))
    >>> split = jax.device_put(jnp.ones(2), NamedSharding(mesh, jax.P("data")))
    >>> [each.name for each in on_automatic(split).sharding.mesh.axis_types]
    ['Auto']
    """

    def placed(leaf: Any) -> Any:
        sharding = getattr(leaf, "sharding", None)
        if not isinstance(leaf, jax.Array) or not isinstance(sharding, NamedSharding):
            return leaf
        mesh = automatic(sharding.mesh)
        if mesh is sharding.mesh:
            return leaf
        kind = sharding.memory_kind
        return jax.device_put(leaf, NamedSharding(mesh, sharding.spec, memory_kind=kind))

    return jax.tree.map(placed, tree)


def mesh_of(tree: Any) -> Any:
    """Return the mesh that arrays are placed on; None where they are on none.

    >>> mesh_of({"kernel": jax.numpy.ones(2)}) is None
    True
    """
    shardings = (getattr(leaf, "sharding", None) for leaf in jax.tree.leaves(tree))
    meshes = (getattr(each, "mesh", None) for each in shardings)
    return next((mesh for mesh in meshes if isinstance(mesh, Mesh)), None)


@contextmanager
def automatic_axes() -> Iterator[None]:
    """Compute with the same devices and automatic axes where a mesh of explicit axes is set.

    >>> explicit = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Explicit,))
    >>> with jax.set_mesh(explicit), automatic_axes():
    ...     [each.name for each in get_abstract_mesh().axis_types]
    ['Auto']
    """
    if not _is_explicit():
        yield
        return
    # what is made is placed on the mesh that is set: `get_mesh` is not in every JAX
    with inside(automatic(mesh_of(jnp.zeros(())))):
        yield


@contextmanager
def inside(mesh: Any) -> Iterator[None]:
    """Compute with arrays of an automatic mesh where a mesh of explicit axes is set.

    Args:
        mesh: what `automatic` returned; None for none.
    """
    if not isinstance(mesh, Mesh) or not _is_explicit():
        yield
        return
    # its name before JAX 0.7
    enter = getattr(jax, "set_mesh", None) or jax.sharding.use_mesh  # pyright: ignore
    with enter(mesh):
        yield


def _is_explicit() -> bool:
    """Return whether the mesh that is set has explicit axes."""
    return AxisType.Explicit in (get_abstract_mesh().axis_types or ())
