"""Where each tensor of a state is placed on a mesh, and why: records without JAX."""

import msgspec

from explorer.document.exporting import Exportable

__all__ = ["PlacedTensor", "PlacementTable"]


class PlacedTensor(msgspec.Struct, frozen=True, kw_only=True):
    """Where one tensor is.

    Attributes:
        name: its path.
        shape, dtype: of the whole.
        spec: the axis of the mesh, or several, that each of its axes is split over; empty
            where every device holds the whole.
        why: what decided: an annotation, a rule, or that its largest axis divides.
        nbytes: of the whole.
        device_bytes: of the part that each device holds.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    spec: str
    why: str
    nbytes: int
    device_bytes: int


class PlacementTable(Exportable, frozen=True, kw_only=True):
    """Where each parameter is placed, and what the whole state takes on a device.

    Attributes:
        mesh: the sizes of its axes.
        tensors: the parameters.
        state_bytes, device_bytes: of the whole state with its optimizer: in all, and of the
            part that each device holds.
    """

    mesh: dict[str, int]
    tensors: tuple[PlacedTensor, ...]
    state_bytes: int
    device_bytes: int
