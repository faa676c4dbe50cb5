"""What adapters would add to a model, from its architecture alone: no weights, JAX or NumPy."""

from math import prod

from explorer import dtypes
from explorer.architectures.architecture import Architecture
from explorer.errors import InputError, printable, shown
from explorer.inventory.inventory import Inventory
from explorer.inventory.tensor import Kind
from explorer.paths import name_of
from explorer.roles.names import classify
from explorer.sizing.settings import Lora
from explorer.sizing.training.lora import adapted_matrices, adapter_shapes
from explorer.transforms.records import Change, TensorChange

__all__ = ["planned_change"]


def planned_change(
    inventory: Inventory, architecture: Architecture, lora: Lora, variant: str
) -> Change:
    """Return the change that adapters beside a model are: its tensors, and theirs as new ones.

    Raises:
        InputError: a target that names no linear layer, a rank that no adapted matrix can have,
            or another variant.
    """
    if variant not in ("lora", "rslora", "dora"):
        raise InputError(
            "variant", found=shown(variant, 40), expected="lora, rslora or dora"
        )
    for each in adapted_matrices(architecture, lora.targets):
        least = min(each.inputs, each.outputs)
        if type(lora.rank) is not int or not 1 <= lora.rank <= least:
            raise InputError(
                printable(each.name),
                found=f"a rank of {printable(lora.rank, 20)} for "
                f"[{each.outputs}, {each.inputs}]",
                expected=f"1 to {least}, the smaller side",
            )
    columns = inventory.columns
    rows = [
        _row(name_of(key), columns.kind(index))
        for index, key in enumerate(columns.keys)
        if index not in columns.aliases and columns.kind(index).is_parameter
    ]
    dtype = dtypes.parse("dtype", lora.dtype).name
    rows += [
        _new("/".join(path), shape, dtype)
        for path, shape in adapter_shapes(architecture, lora).items()
    ]
    trainable = sum(row.parameters_after for row in rows if not row.before)
    return Change(
        transform=f"lora add {variant} rank {lora.rank}",
        target=inventory.target,
        tensors=tuple(rows),
        trainable=trainable,
    )


def _row(name: str, kind: Kind) -> TensorChange:
    return TensorChange(
        name=name,
        component=kind.component,
        shape=kind.shape,
        before=kind.dtype,
        after=kind.dtype,
        parameters_before=kind.size,
        parameters_after=kind.size,
        bytes_before=kind.nbytes,
        bytes_after=kind.nbytes,
    )


def _new(name: str, shape: tuple[int, ...], dtype: str) -> TensorChange:
    size = prod(shape)
    return TensorChange(
        name=name,
        component=classify(tuple(name.split("/")), shape)[1],
        shape=shape,
        before="",
        after=dtype,
        parameters_before=0,
        parameters_after=size,
        bytes_before=0,
        bytes_after=dtypes.find(dtype).nbytes(size),
    )
