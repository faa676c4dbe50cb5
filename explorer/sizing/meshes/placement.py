"""Where things are placed: the axes of a mesh, and what the fullest device holds of a tensor."""

from math import prod

import msgspec

__all__ = ["Placement"]


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """A mesh of devices, by the sizes of its axes.

    >>> Placement(mesh={"fsdp": 4, "tensor": 2}).devices
    8
    """

    mesh: dict[str, int] = {}

    @property
    def devices(self) -> int:
        """Number of devices."""
        return prod(self.mesh.values())

    def size(self, *axes: str) -> int:
        """Return the product of the sizes of axes, 1 for those that the mesh lacks.

        >>> Placement(mesh={"fsdp": 4}).size("data", "fsdp")
        4
        """
        return prod(self.mesh.get(axis, 1) for axis in axes)

    def shards(self, path: tuple[str, ...], shape: tuple[int, ...]) -> int:
        """Return over how many devices the elements of a tensor are split."""
        return self.devices
