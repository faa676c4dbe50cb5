"""Meshes whose axes XLA splits: what the programs of training are compiled for.

JAX has explicit axes too, whose splits are part of every array's type, and which a program has to
name at each product. A mesh of those is taken as one of the same devices and names whose axes
are automatic; a loss function that names splits itself can be wrapped in
`jax.sharding.explicit_axes`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
from jax.sharding import AbstractMesh, AxisType, Mesh, get_abstract_mesh

__all__ = ["automatic", "inside", "mesh_of"]


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


def mesh_of(tree: Any) -> Any:
    """Return the mesh that arrays are placed on; None where they are on none.

    >>> mesh_of({"kernel": jax.numpy.ones(2)}) is None
    True
    """
    shardings = (getattr(leaf, "sharding", None) for leaf in jax.tree.leaves(tree))
    meshes = (getattr(each, "mesh", None) for each in shardings)
    return next((mesh for mesh in meshes if isinstance(mesh, Mesh)), None)


@contextmanager
def inside(mesh: Any) -> Iterator[None]:
    """Compute with arrays of an automatic mesh where a mesh of explicit axes is set.

    Args:
        mesh: what `automatic` returned; None for none.
    """
    kinds = get_abstract_mesh().axis_types or ()
    if not isinstance(mesh, Mesh) or AxisType.Explicit not in kinds:
        yield
        return
    # its name before JAX 0.7
    enter = getattr(jax, "set_mesh", None) or jax.sharding.use_mesh  # pyright: ignore
    with enter(mesh):
        yield
