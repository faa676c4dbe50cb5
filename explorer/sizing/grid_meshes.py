"""The meshes of a grid of plans: sizes of each axis that a model can have."""

from collections.abc import Sequence

from explorer.errors import InputError
from explorer.sizing.meshes.placed import check_axes
from explorer.sizing.meshes.placement import Placement
from explorer.sizing.subject import Subject

__all__ = ["DATA", "EXPERT", "FSDP", "TENSOR", "dividing", "is_placed", "mesh_of"]

FSDP = (1, 2, 4, 8, 16, 32, 64)
TENSOR = (1, 2, 4, 8)  # the devices of one machine
DATA = (1, 2, 4, 8, 16, 32, 64)
EXPERT = (1, 2, 8, 32)  # few: weights are placed anew for each
_MOST_PLACED = 1500  # tensors that are placed on many devices: each takes microseconds


def is_placed(subject: Subject) -> bool:
    """Return whether a grid of a subject has meshes: its layers are known, its tensors few."""
    return subject.architecture is not None and len(subject.inventory) <= _MOST_PLACED


def dividing(subject: Subject, axis: str, sizes: Sequence[int]) -> tuple[int, ...]:
    """Return the sizes of an axis that divide a parameter, 1 among them.

    >>> from explorer.api.plans import subject_of
    >>> dividing(subject_of("mixtral-8x7b", ()), "expert", EXPERT)
    (1, 2, 8)
    """
    found = [1]
    for size in sizes[1:]:
        try:
            check_axes(subject, Placement(mesh={axis: size}))
        except InputError:  # as `plan` refuses it
            continue
        found.append(size)
    return tuple(found)


def mesh_of(**axes: int) -> dict[str, int]:
    """Return a mesh without the axes of one device.

    >>> mesh_of(fsdp=1, tensor=4)
    {'tensor': 4}
    """
    return {name: size for name, size in axes.items() if size > 1}
