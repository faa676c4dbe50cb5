"""What removing units leaves of an architecture: exact counts, no values, no JAX."""

from math import prod

from explorer import dtypes
from explorer.architectures.architecture import Architecture
from explorer.architectures.declaration import declare
from explorer.roles.names import classify
from explorer.transforms.pruning.patterns import PruneSettings
from explorer.transforms.pruning.structure.architectures import shrunk
from explorer.transforms.pruning.structure.configs import check_heads_divide
from explorer.transforms.records import Change, TensorChange

__all__ = ["planned_units"]


def planned_units(architecture: Architecture, name: str, settings: PruneSettings) -> Change:
    """Return what a pattern leaves of a model, by the names of its parameters.

    Which layers are removed is known from weights alone: here, the last ones.

    Raises:
        InputError: as `shrunk` and `check_heads_divide`.

    >>> from explorer.architectures.resolve import resolve
    >>> from explorer.transforms.pruning.patterns import settings_of
    >>> llama = resolve("llama-3.1-8b").architecture
    >>> planned_units(llama, "llama", settings_of("layers:0.25", "magnitude", None)).parameters_after
    6285365248
    """
    wanted = shrunk(architecture, settings.pattern)
    check_heads_divide(architecture, wanted, settings.pattern)
    after = {each.path: each.shape for each in declare(wanted)}
    nbytes = dtypes.find(architecture.dtype).nbytes
    rows = []
    for tensor in declare(architecture):
        left = after.get(tensor.path)
        number = 0 if left is None else prod(left)
        rows.append(
            TensorChange(
                name="/".join(tensor.path),
                component=classify(tensor.path, tensor.shape)[1],
                shape=() if left is None else left,
                before=architecture.dtype,
                after=architecture.dtype,
                parameters_before=prod(tensor.shape),
                parameters_after=number,
                bytes_before=nbytes(prod(tensor.shape)),
                bytes_after=nbytes(number),
                note="removed" if left is None else "",
            )
        )
    total, kept = (
        sum(getattr(row, f"parameters_{when}") for row in rows)
        for when in ("before", "after")
    )
    return Change(
        transform=f"prune {settings.pattern.text} by {settings.by}",
        target=name,
        tensors=tuple(rows),
        notes=(f"{total - kept:,} of {total:,} parameters are removed",),
    )
