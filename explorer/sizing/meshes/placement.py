"""Where things are placed: the axes of a mesh, and what the fullest device holds of a tensor.

By the very rules that training places its state by (`explorer.training.sharding.rules`). They
never pad: an axis that does not divide is replicated.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from math import prod

import msgspec

from explorer.errors import InputError
from explorer.sizing.records import Workload
from explorer.training.sharding.rule import Spec, names_in
from explorer.training.sharding.rules import DEFAULT_RULES, spec_for

__all__ = ["Placement", "mesh_text", "placement_of"]


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """A mesh of devices, by the sizes of its axes.

    Attributes:
        mesh: sizes of "data", "fsdp", "tensor", "expert" and "sequence".
        scan: whether equal layers are stacked, as `build_model(scan=True)` does.
        implied: whether the axes follow from a number of devices alone.

    >>> Placement(mesh={"fsdp": 4, "tensor": 2}).devices
    8
    """

    mesh: dict[str, int] = {}
    scan: bool = True
    implied: bool = False

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

    def spec(self, path: tuple[str, ...], shape: tuple[int, ...]) -> Spec:
        """Return the axes of the mesh that each axis of a parameter is split over.

        >>> Placement(mesh={"fsdp": 4}).spec(("mlp", "up_proj", "kernel"), (64, 96))
        ('fsdp',)
        """
        return _spec(path, shape, tuple(self.mesh.items()))

    def shards(self, path: tuple[str, ...], shape: tuple[int, ...]) -> int:
        """Return over how many devices the elements of a tensor are split.

        >>> mesh = Placement(mesh={"data": 2, "fsdp": 4})
        >>> mesh.shards(("embed", "embedding"), (50257, 768)), mesh.shards(("norm", "scale"), (8,))
        (4, 1)
        """
        if self.devices == 1:  # 10^5 tensors of a file are asked about, several times
            return 1
        spec = self.spec(path, shape)
        return self.size(*(name for entry in spec for name in names_in(entry)))

    def on_fullest(self, path: tuple[str, ...], shape: tuple[int, ...], nbytes: int) -> int:
        """Return the bytes that the fullest device holds of a tensor of so many.

        >>> Placement(mesh={"fsdp": 4}).on_fullest(("embed", "embedding"), (32, 8), 1024)
        256
        """
        return -(-nbytes // self.shards(path, shape))

    def rounded(self, batch: int) -> int:
        """Return a batch raised to what "data" and "fsdp" divide, as training demands.

        >>> Placement(mesh={"fsdp": 4}).rounded(1), Placement(mesh={"fsdp": 4}).rounded(9)
        (4, 12)
        """
        parts = self.size("data", "fsdp")
        return -(-batch // parts) * parts


@lru_cache(maxsize=65_536)
def _spec(
    path: tuple[str, ...], shape: tuple[int, ...], mesh: tuple[tuple[str, int], ...]
) -> Spec:
    return spec_for(path, shape, dict(mesh), DEFAULT_RULES)


def mesh_text(mesh: Mapping[str, int]) -> str:
    """Return a mesh as the command line takes it.

    >>> mesh_text({"fsdp": 8, "tensor": 2})
    'fsdp=8,tensor=2'
    """
    return ",".join(f"{axis}={size}" for axis, size in mesh.items())


def placement_of(workload: Workload, devices: int | None = None) -> Placement:
    """Return the mesh of a workload; without one, that which a number of devices implies.

    Devices alone are "tensor" for inference, where each token should be made fast, and
    "fsdp" for training, where everything that is kept is divided; with a stage of ZeRO, which
    divides what copies of the model would hold each, they are "data".

    Args:
        workload: with its mesh.
        devices: how many are asked about ("h200:8"); None where the mesh or the topology
            says it.

    Raises:
        InputError: a mesh of another number of devices, or ZeRO without the axis "data".

    >>> placement_of(Workload(), 8).mesh, placement_of(Workload(train=True), 8).mesh
    ({'tensor': 8}, {'fsdp': 8})
    """
    found = _placement_of(workload, devices)
    if workload.zero and found.size("data") == 1:
        raise InputError(
            "zero",
            found=f"is {workload.zero}, and nothing is copied over data",
            expected="what several devices hold of the same model",
            cure="--mesh data=8",
        )
    return found


def _placement_of(workload: Workload, devices: int | None) -> Placement:
    mesh = workload.mesh
    if devices is None and workload.topology is not None:
        devices = prod(map(int, re.findall(r"\d+", workload.topology)))
    if not mesh:
        if devices is None or devices == 1:
            return Placement()
        axis = "fsdp" if workload.train else "tensor"
        axis = "data" if workload.zero else axis
        return Placement(mesh={axis: devices}, implied=True)
    if devices is not None and prod(mesh.values()) != devices:
        raise InputError(
            "mesh",
            found=f"{mesh_text(mesh)} is {prod(mesh.values())} devices",
            expected=f"axes whose sizes multiply to {devices}, the number of devices",
        )
    return Placement(mesh=mesh)
