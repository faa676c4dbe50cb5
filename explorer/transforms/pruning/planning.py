"""What pruning will change, from shapes alone: exact counts, no values, no JAX."""

from collections.abc import Iterable, Mapping

from explorer.document.words import counted
from explorer.errors import InputError
from explorer.inventory.tensor import TensorSpec
from explorer.transforms.pruning.matrices import MatrixView
from explorer.transforms.pruning.patterns import Pattern, Scope
from explorer.transforms.records import TensorChange

__all__ = ["check_groups", "planned_tensors", "zeros_of"]


def zeros_of(view: MatrixView, pattern: Pattern, scope: Scope) -> int:
    """Return how many entries of a kernel become zero.

    >>> from explorer.transforms.pruning.patterns import parse_pattern
    >>> view = MatrixView((10, 3), (), (1,), (0,))
    >>> [zeros_of(view, parse_pattern("0.25"), scope) for scope in ("tensor", "group")]
    [7, 6]
    """
    stack, inputs, outputs = view.matrix
    match pattern.kind:
        case "n:m":
            number = outputs * inputs // pattern.block * (pattern.block - pattern.kept)
        case "rows":
            number = pattern.number(outputs) * inputs
        case "columns":
            number = pattern.number(inputs) * outputs
        case _ if scope == "group":
            number = pattern.number(inputs) * outputs
        case _:
            number = pattern.number(inputs * outputs)
    return stack * number


def check_groups(name: str, view: MatrixView, pattern: Pattern) -> None:
    """Refuse n:m groups that do not divide the inputs of a kernel.

    >>> from explorer.transforms.pruning.patterns import parse_pattern
    >>> check_groups("up/kernel", MatrixView((10, 3), (), (1,), (0,)), parse_pattern("2:4"))
    Traceback (most recent call last):
    explorer.errors.InputError: up/kernel: 10 inputs, which groups of 4 do not divide; expected a \
multiple of 4; leave it out by select=
    """
    if pattern.block and view.channels % pattern.block:
        raise InputError(
            name,
            found=f"{counted(view.channels, 'input')}, which groups of {pattern.block} do not divide",
            expected=f"a multiple of {pattern.block}",
            cure="leave it out by select=",
        )


def planned_tensors(
    tensors: Iterable[TensorSpec],
    views: Mapping[str, MatrixView],
    pattern: Pattern,
    scope: Scope,
) -> tuple[TensorChange, ...]:
    """Return what pruning will change in each tensor.

    Args:
        tensors: of the model; second names are left out.
        views: the layouts of those that are pruned, by name.
        pattern: what is pruned.
        scope: where all entries are compared, zeros of one tensor are not known before: None.
    """
    return tuple(
        _planned(each, views.get(each.name), pattern, scope)
        for each in tensors
        if not each.alias and each.kind.is_parameter
    )


def _planned(
    tensor: TensorSpec, view: MatrixView | None, pattern: Pattern, scope: Scope
) -> TensorChange:
    zeros = None
    if view is not None and scope != "global":
        check_groups(tensor.name, view, pattern)
        zeros = zeros_of(view, pattern, scope)
    return TensorChange(
        name=tensor.name,
        component=tensor.kind.component,
        shape=tensor.shape,
        before=tensor.dtype,
        after=tensor.dtype,
        parameters_before=tensor.size,
        parameters_after=tensor.size,
        bytes_before=tensor.nbytes,
        bytes_after=tensor.nbytes,
        zeros=zeros,
    )
