"""A scheme for linear layers, applied to a subject: which tensors it changes, what they take."""

from explorer import dtypes
from explorer.errors import InputError
from explorer.inventory.inventory import Inventory
from explorer.sizing.meshes.placement import Placement
from explorer.sizing.subject import Subject
from explorer.sizing.weights.groups import (
    LOGICAL,
    TensorGroup,
    declared,
    groups_of,
    is_packed,
    is_routed,
    matrix_of,
    share_of,
)
from explorer.sizing.weights.schemes import LinearScheme
from explorer.sizing.weights.totals import Piece, Tally, Weights

__all__ = ["linear_weights"]


def linear_weights(
    subject: Subject,
    scheme: LinearScheme,
    dtype: str | None,
    placement: Placement,
    experts_only: bool = False,
) -> Weights:
    """Return the bytes of a subject's weights where a scheme stores its linear layers.

    Args:
        subject: the model; packed weights count by their logical shapes.
        scheme: the format.
        dtype: of what the scheme leaves; None for the model's own.
        placement: of tensors over devices.
        experts_only: whether only routed experts are changed.

    Raises:
        InputError: no tensor is a kernel of a linear layer, or the format cannot store one.
    """
    inventory, tally = declared(subject), Tally(placement)
    changed = False
    for group in groups_of(inventory, placement.devices > 1):
        if not group.kind.is_parameter:
            continue
        only = not experts_only or group.kind.component == "experts"
        piece = _packed(group, inventory, scheme) if only else None
        changed = changed or piece is not None
        piece = piece or _kept(group, dtype)
        share = share_of(group, inventory)
        tally.add(piece, group.path, group.kind.shape, group.number, share)
    if not changed:
        raise InputError(
            subject.name,
            found=f"has no kernel of a linear layer that {scheme.name} could store",
            expected="attention, feed-forward or expert matrices",
        )
    logical = f"; {LOGICAL}" if is_packed(subject.inventory) else ""
    note = f"{scheme.note}{logical}"
    return tally.weights("exact", note, routed=is_routed(inventory))


def _packed(group: TensorGroup, inventory: Inventory, scheme: LinearScheme) -> Piece | None:
    matrix = matrix_of(group, inventory, scheme.heads)
    sizes = None if matrix is None else scheme.sizes(matrix)
    if matrix is None or sizes is None:
        return None
    size, stack = group.kind.size, matrix.stack
    return Piece(scheme.name, size, stack * sizes.values, stack * sizes.scales)


def _kept(group: TensorGroup, dtype: str | None) -> Piece:
    name = dtype or group.kind.dtype
    return Piece(name, group.kind.size, dtypes.find(name).nbytes(group.kind.size))
