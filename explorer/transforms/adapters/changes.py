"""What adapters change, as the record of a transform."""

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

import msgspec

from explorer.roles.names import classify
from explorer.transforms.measure import distance
from explorer.transforms.records import Change, TensorChange

if TYPE_CHECKING:
    from explorer.transforms.adapters.trees import ParameterLeaves

__all__ = ["change_of_adding", "change_of_extracting", "change_of_merging"]

Path = tuple[str, ...]


def change_of_adding(leaves: "ParameterLeaves", adapters: Any, transform: str) -> Change:
    """Return the change that adapters beside parameters are: nothing else changes.

    The copies of parameters that are trained whole are parameters of their own, as in peft.
    """
    from explorer.transforms.adapters.trees import adapters_in, replaced_in

    rows = [_row(path, leaf, leaf) for path, leaf in leaves.items()]
    trained = 0
    for path, adapter in adapters_in(adapters):
        for name in ("lora_a", "lora_b", "magnitude"):
            array = getattr(adapter, name)
            if array is not None:
                trained += prod(array.shape)
                rows.append(_new((*path, name), array, adapter.kernels[0].path))
    for path, array in replaced_in(adapters).items():
        trained += prod(array.shape)
        rows.append(_new((*path, "saved"), array, path))
    return Change(
        transform=transform, target="params", tensors=tuple(rows), trainable=trained
    )


def change_of_merging(
    leaves: "ParameterLeaves", new: Mapping[Path, Any], wanted: Mapping[Path, Any]
) -> Change:
    """Return what merging changed; of quantised kernels also what their format lost.

    Args:
        leaves: of the parameters before.
        new: what replaces some of them.
        wanted: the exact sums, of those that were quantised again.
    """
    import numpy as np

    from explorer.transforms.adapters.trees import unpacked

    rows = []
    for path, leaf in leaves.items():
        after = new.get(path, leaf)
        note = ""
        if path in wanted:
            lost = distance(wanted[path], np.asarray(unpacked(after)))
            note = f"quantised again: {lost.relative_error or 0:.3g} from the exact sum"
        rows.append(_row(path, leaf, after, note))
    return Change(transform="lora merge", target="params", tensors=tuple(rows))


def change_of_extracting(
    before: "ParameterLeaves",
    after: "ParameterLeaves",
    adapters: Any,
    notes: tuple[str, ...],
) -> Change:
    """Return adapters beside the base, and for each kernel what they leave of the tuned one."""
    import numpy as np

    from explorer.transforms.adapters.sums import merged_kernel
    from explorer.transforms.adapters.trees import adapters_in, unpacked

    left: dict[str, TensorChange] = {}
    for _, adapter in adapters_in(adapters):
        for part in adapter.parts():
            path = part.kernel.path
            wanted = np.asarray(unpacked(after[path]))
            made = merged_kernel(np.asarray(unpacked(before[path])), part, adapter.scale)
            row = _row(path, before[path], before[path], f"rank {adapter.rank}")
            errors = distance(wanted, made.astype(wanted.dtype))._asdict()
            left[row.name] = msgspec.structs.replace(row, **errors)
    change = change_of_adding(before, adapters, "lora extract")
    rows = tuple(left.get(row.name, row) for row in change.tensors)
    return msgspec.structs.replace(change, tensors=rows, notes=notes)


def _row(path: Path, leaf: Any, after: Any, note: str = "") -> TensorChange:
    import numpy as np

    from explorer.transforms.adapters.trees import bytes_of, dtype_name, unpacked

    shape = tuple(leaf.shape)
    errors: dict[str, Any] = {}
    if after is not leaf:
        before = np.asarray(unpacked(leaf))
        errors = distance(before, np.asarray(unpacked(after)))._asdict()
    return TensorChange(
        name="/".join(path),
        component=classify(path, shape)[1],
        shape=shape,
        before=dtype_name(leaf),
        after=dtype_name(after),
        parameters_before=prod(shape),
        parameters_after=prod(shape),
        bytes_before=bytes_of(leaf),
        bytes_after=bytes_of(after),
        note=note,
        **errors,
    )


def _new(path: Path, array: Any, beside: Path) -> TensorChange:
    """Return the row of a tensor that was not there before."""
    shape = tuple(array.shape)
    return TensorChange(
        name="/".join(path),
        component=classify(beside, shape)[1],
        shape=shape,
        before="",
        after=str(array.dtype),
        parameters_before=0,
        parameters_after=prod(shape),
        bytes_before=0,
        bytes_after=prod(shape) * array.dtype.itemsize,
        note="new",
    )
