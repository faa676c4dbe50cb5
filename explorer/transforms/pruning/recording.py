"""The record of what pruning changed, and what its zeros would save."""

from collections.abc import Mapping, Sequence

from explorer.transforms.pruning.matrices import MatrixView
from explorer.transforms.pruning.patterns import PruneSettings
from explorer.transforms.pruning.storage import PrunedMatrices, storage_note
from explorer.transforms.records import Change, TensorChange

__all__ = ["change_of"]


def change_of(
    name: str,
    settings: PruneSettings,
    tensors: Sequence[TensorChange],
    views: Mapping[str, MatrixView],
) -> Change:
    """Return the record of what pruning changed."""
    pattern = settings.pattern
    pruned = [
        PrunedMatrices(views[each.name].matrix, each.after, each.zeros)
        for each in tensors
        if each.zeros is not None
    ]
    zeros, number = (
        sum(each.zeros for each in pruned),
        sum(each.matrix.stack * each.matrix.size for each in pruned),
    )
    notes = [
        f"{zeros:,} of {number:,} entries of {len(pruned):,} kernels are zero",
        storage_note(pruned, pattern),
    ]
    return Change(
        transform=f"prune {pattern.text} by {settings.by}",
        target=name,
        tensors=tuple(tensors),
        notes=tuple(notes),
    )
